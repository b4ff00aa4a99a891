//! Clients that announce themselves as bridges, and the topic where bridges tell their state.

use roommq_tests::broker::Broker;
use roommq_tests::wire::{Client, Connect, Message, Version};
use std::net::SocketAddr;

const STATE: &str = "$SYS/broker/connection/office/state";

const USERS: &str = "[auth]\nusers_file = \"@users@\"\n";

/// Connects with the bridge bit in the protocol level, as mosquitto does.
fn bridge(connect: &Connect, server: SocketAddr) -> Client {
    let mut bytes = connect.bytes();
    // Behind the header of two bytes and the protocol name `MQTT`.
    assert_eq!(bytes[8], 4);
    bytes[8] |= 0x80;
    let mut client = Client::open(server, Version::V311);
    client.send(&bytes);
    let answer = client.packet();
    assert!(
        matches!(answer, roommq_tests::wire::Packet::ConnAck { code: 0, .. }),
        "{answer:?}"
    );
    client
}

#[test]
fn a_bridge_receives_nothing_of_its_own_and_retain_as_published() {
    let server = Broker::start();
    let mut bridge = bridge(&Connect::v311("office"), server.address());
    bridge.subscribe("sensors/#", 1);
    bridge.subscribe("#", 1);
    let mut other = Connect::v311("other").to(server.address());
    bridge.publish(&Message::new("sensors/a", "own").qos(1).retained());
    other.publish(&Message::new("sensors/b", "retained").qos(1).retained());
    other.publish(&Message::new("sensors/c", "not").qos(1));
    let got: Vec<_> = [bridge.message(), bridge.message()].into();
    let got: Vec<_> = got.iter().map(|m| (m.text(), m.retain)).collect();
    assert_eq!(got, [("retained", true), ("not", false)]);
}

#[test]
fn the_state_of_a_bridge_is_taken_from_users_and_by_rules() {
    let rule = "[[access]]\ntopics = [\"$SYS/broker/connection/+/state\"]\n";
    let rules = format!(
        "{USERS}{rule}users = [\"~allowed\"]\npublish = \"allow\"\n{rule}users = [\"denied\"]\npublish = \"deny\"\n"
    );
    let users = [("office", "pw"), ("denied", "pw")];
    let server = Broker::with_users(&rules, &users);
    let mut reader = Connect::v5("reader").to(server.address());
    reader.subscribe("$SYS/broker/connection/#", 1);
    let will = Message::new(STATE, "0").qos(1).retained();
    for version in [Version::V311, Version::V5] {
        let refused = if version == Version::V5 { 0x87 } else { 5 };
        let connect = |id: &str| Connect::new(version, id).will(will.clone());
        for connect in [connect("office").user("office", "pw"), connect("allowed")] {
            let mut client = connect.to(server.address());
            client.publish(&Message::new(STATE, "1").qos(1).retained());
            assert_eq!(reader.message().text(), "1");
            drop(client);
            let last = reader.message();
            assert_eq!((last.topic.as_str(), last.text()), (STATE, "0"));
        }
        let why = connect("stranger").refused(server.address(), refused);
        if version == Version::V5 {
            assert!(
                why.reason().contains("notifications false"),
                "{}",
                why.reason()
            );
        }
        let denied = connect("denied").user("denied", "pw");
        denied.refused(server.address(), refused);
        let mut office = Connect::v5("o").user("office", "pw").to(server.address());
        for other in [
            "$SYS/broker/uptime",
            "$SYS/broker/connection/state",
            "$SYS/x/state",
        ] {
            assert_eq!(
                office.publish(&Message::new(other, "x").qos(1)).0,
                0x87,
                "{other}"
            );
        }
    }
    // It is retained.
    let mut later = Connect::v311("later").to(server.address());
    later.subscribe(STATE, 0);
    assert!(later.message().retain);
}
