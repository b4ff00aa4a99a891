//! A client library that others wrote, in both versions.

use bytes::Bytes;
use roommq_tests::broker::Broker;
use rumqttc::{Client, Event, Incoming, MqttOptions, QoS, v5};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

fn options(server: SocketAddr, id: &str) -> MqttOptions {
    let mut options = MqttOptions::new(id, server.ip().to_string(), server.port());
    options.set_keep_alive(Duration::from_secs(30));
    options
}

fn options_v5(server: SocketAddr, id: &str) -> v5::MqttOptions {
    let mut options = v5::MqttOptions::new(id, server.ip().to_string(), server.port());
    options.set_keep_alive(Duration::from_secs(30));
    options
}

/// Runs the connection until a message for which `wanted` says yes has come.
fn until(connection: &mut rumqttc::Connection, wanted: impl Fn(&str, &[u8]) -> bool) {
    let deadline = Instant::now() + roommq_tests::PATIENCE;
    while let Ok(event) = connection.recv_timeout(deadline - Instant::now()) {
        match event.expect("the connection holds") {
            Event::Incoming(Incoming::Publish(p)) if wanted(&p.topic, &p.payload) => return,
            _ => {}
        }
    }
    panic!("the message did not come");
}

/// The same for 5.0; the user properties of the message.
fn until_v5(
    connection: &mut v5::Connection,
    wanted: impl Fn(&[u8], &[u8]) -> bool,
) -> Vec<(String, String)> {
    use v5::mqttbytes::v5::Packet;
    let deadline = Instant::now() + roommq_tests::PATIENCE;
    while let Ok(event) = connection.recv_timeout(deadline - Instant::now()) {
        match event.expect("the connection holds") {
            v5::Event::Incoming(Packet::Publish(p)) if wanted(&p.topic, &p.payload) => {
                return p.properties.map(|p| p.user_properties).unwrap_or_default();
            }
            _ => {}
        }
    }
    panic!("the message did not come");
}

#[test]
fn both_versions_meet_in_a_room() {
    let server = Broker::start();
    let (old, mut old_connection) = Client::new(options(server.address(), "old"), 10);
    let (new, mut new_connection) = v5::Client::new(options_v5(server.address(), "new"), 10);
    old.subscribe("rooms/lobby/#", QoS::AtLeastOnce).unwrap();
    until(&mut old_connection, |topic, _| {
        topic.ends_with("_presence/~old")
    });
    new.subscribe("rooms/lobby/#", v5::mqttbytes::QoS::AtLeastOnce)
        .unwrap();
    until_v5(&mut new_connection, |topic, _| {
        topic.ends_with(b"_presence/~new")
    });
    until(&mut old_connection, |topic, payload| {
        topic.ends_with("_events") && payload.windows(4).any(|part| part == b"~new")
    });
    old.publish("rooms/lobby", QoS::AtLeastOnce, false, "from 3.1.1")
        .unwrap();
    // Publishing is done by whoever runs the connection.
    until(&mut old_connection, |_, payload| payload == b"from 3.1.1");
    let stamps = until_v5(&mut new_connection, |_, payload| payload == b"from 3.1.1");
    assert!(
        stamps.contains(&("from".to_owned(), "~old".to_owned())),
        "{stamps:?}"
    );
    let hello = Bytes::from_static(b"from 5.0");
    new.publish("rooms/lobby", v5::mqttbytes::QoS::AtLeastOnce, false, hello)
        .unwrap();
    until_v5(&mut new_connection, |_, payload| payload == b"from 5.0");
    until(&mut old_connection, |_, payload| payload == b"from 5.0");
    // The event loop is dropped without a DISCONNECT: a loss.
    drop(new_connection);
    until(&mut old_connection, |topic, payload| {
        topic.ends_with("_events") && payload.windows(6).any(|part| part == b"\"lost\"")
    });
}
