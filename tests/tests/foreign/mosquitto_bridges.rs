//! Two mosquitto servers that are bridged to RoomMQ, each in both directions.

use roommq_tests::PATIENCE;
use roommq_tests::broker::Broker;
use roommq_tests::program::Program;
use roommq_tests::wire::{Client, Connect, Message};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

/// Not in the PATH of every user.
const MOSQUITTO: &str = "/usr/sbin/mosquitto";

const USERS: &str = "[auth]\nusers_file = \"@users@\"\n";

/// A mosquitto server with a bridge.
struct Mosquitto {
    program: Program,
    address: SocketAddr,
}

impl Mosquitto {
    fn start(server: &Broker, name: &str, version: &str) -> Mosquitto {
        // Free again when the listener is dropped.
        let address = TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap();
        // A bridge that is refused waits so long that the test fails.
        let config = format!(
            "user root\nlistener {} 127.0.0.1\nallow_anonymous true\nlog_dest stderr\n\
             connection {name}\naddress {}\nlocal_clientid local-{name}\nremote_clientid {name}\n\
             bridge_protocol_version {version}\nrestart_timeout 120\n\
             remote_username {name}\nremote_password pw\ntopic # both 1\n",
            address.port(),
            server.address(),
        );
        let file = server.file(&format!("{name}.conf"), &config);
        let program = Program::start(Command::new(MOSQUITTO).arg("-c").arg(file));
        let deadline = Instant::now() + PATIENCE;
        while TcpStream::connect(address).is_err() {
            assert!(Instant::now() < deadline, "{}", program.stderr.text());
            thread::yield_now();
        }
        Mosquitto { program, address }
    }
}

/// Receives all messages up to one with this payload, which is not among them.
fn texts_until(client: &mut Client, last: &str) -> Vec<String> {
    let messages = client.messages_until(last);
    messages.iter().map(|m| m.text().to_owned()).collect()
}

#[test]
fn bridges_in_both_directions_have_no_loops_no_duplicates_and_no_delay() {
    const MESSAGES: usize = 50;
    for version in ["mqttv311", "mqttv50"] {
        let server = Broker::with_users(USERS, &[("north", "pw"), ("south", "pw")]);
        let mut between = Connect::v5("between").to(server.address());
        between.publish(&Message::new("probe", "linked").qos(1).retained());
        let north = Mosquitto::start(&server, "north", version);
        let south = Mosquitto::start(&server, "south", version);
        let (mut clients, mut senders) = (Vec::new(), vec![between]);
        for place in [&north, &south] {
            let mut client = Connect::v311("client").to(place.address);
            client.subscribe("#", 1);
            // It comes when the bridge has subscribed.
            let probe = client.message();
            assert_eq!(probe.text(), "linked");
            clients.push(client);
            senders.push(Connect::v311("sender").to(place.address));
        }
        let mut states = Connect::v311("states").to(server.address());
        states.subscribe("$SYS/broker/connection/+/state", 1);
        let told = [states.message(), states.message()];
        assert!(told.iter().all(|m| m.text() == "1"), "{told:?}");
        let mut middle = Connect::v5("middle").to(server.address());
        middle.subscribe("#", 1);
        assert_eq!(middle.message().text(), "linked");
        clients.push(middle);

        let begun = Instant::now();
        for (from, sender) in senders.iter_mut().enumerate() {
            let sent: Vec<String> = (0..MESSAGES).map(|n| format!("{from}-{n}")).collect();
            for text in &sent {
                let message = Message::new(&format!("from/{from}"), text);
                sender.start_publish(&message.qos(1));
            }
            sender.start_publish(&Message::new("from/end", format!("end {from}")).qos(1));
            for client in &mut clients {
                assert_eq!(
                    texts_until(client, &format!("end {from}")),
                    sent,
                    "{version}"
                );
            }
        }
        // What came twice or went round would be before this.
        senders[0].start_publish(&Message::new("from/end", "last").qos(1));
        for client in &mut clients {
            assert!(texts_until(client, "last").is_empty(), "{version}");
        }
        let took = begun.elapsed();
        assert!(took < Duration::from_secs(5), "{version}: {took:?}");

        // Retained on the other side as well.
        senders[1].start_publish(&Message::new("kept/here", "kept").qos(1).retained());
        assert_eq!(clients[1].messages_until("kept").len(), 0);
        let mut later = Connect::v311("later").to(south.address);
        later.subscribe("kept/here", 0);
        let kept = later.message();
        assert!(kept.retain && kept.text() == "kept", "{version}");

        let Mosquitto { mut program, .. } = north;
        program.kill();
        let state = states.message();
        assert_eq!(
            (state.topic.as_str(), state.text()),
            ("$SYS/broker/connection/north/state", "0")
        );
    }
}
