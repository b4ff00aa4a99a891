//! A member of the room `cellar`: prints what is said there, and says hello once.

use rumqttc::v5::mqttbytes::QoS;
use rumqttc::v5::mqttbytes::v5::Packet;
use rumqttc::v5::{Client, Event, MqttOptions};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let port = std::env::args().nth(1).unwrap_or("1883".to_owned());
    let options = MqttOptions::new("boiler", "127.0.0.1", port.parse()?);
    let (client, mut connection) = Client::new(options, 10);
    client.subscribe("rooms/cellar/#", QoS::AtLeastOnce)?;
    for event in connection.iter() {
        match event? {
            Event::Incoming(Packet::SubAck(_)) => {
                client.publish("rooms/cellar", QoS::AtLeastOnce, false, "hello from Rust")?;
            }
            Event::Incoming(Packet::Publish(message)) => {
                let topic = String::from_utf8_lossy(&message.topic);
                if !topic.contains("/_") {
                    println!("{topic} {}", String::from_utf8_lossy(&message.payload));
                }
            }
            _ => {}
        }
    }
    Ok(())
}
