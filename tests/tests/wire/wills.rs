//! Will messages.

use crate::ONE_LANE;
use roommq_tests::broker::Broker;
use roommq_tests::wire::{BOTH, Client, Connect, Message, Value, Version, property};

fn watcher(server: &Broker) -> Client {
    let mut watcher = Connect::v5("watcher").to(server.address());
    watcher.subscribe("will/+", 1);
    watcher
}

fn mourned(version: Version) -> Connect {
    Connect::new(version, "mourned").will(Message::new("will/of", "gone").qos(1))
}

#[test]
fn a_will_is_sent_when_the_connection_is_lost() {
    let server = Broker::start();
    let mut watcher = watcher(&server);
    for version in BOTH {
        drop(mourned(version).to(server.address()));
        // [MQTT-3.1.2-8]
        let will = watcher.message();
        assert_eq!((will.topic.as_str(), will.text()), ("will/of", "gone"));
        assert_eq!(will.qos, 1);
        assert!(!will.retain);
    }
}

#[test]
fn a_will_is_sent_after_a_protocol_error_and_a_passed_keep_alive() {
    let server = Broker::start();
    let mut watcher = watcher(&server);
    let connect = mourned(Version::V5);
    let mut client = connect.to(server.address());
    client.send(&connect.bytes());
    assert_eq!(watcher.message().text(), "gone");
    let mut client = mourned(Version::V311).keep_alive(1).to(server.address());
    assert_eq!(client.closed(), None);
    assert_eq!(watcher.message().text(), "gone");
}

#[test]
fn a_will_is_dropped_by_disconnect() {
    let server = Broker::with(ONE_LANE);
    let mut watcher = watcher(&server);
    for version in BOTH {
        mourned(version).to(server.address()).disconnect(0);
        // The session has ended when another connection with its client id is accepted.
        let mut after = Connect::new(version, "mourned").to(server.address());
        after.publish(&Message::new("will/end", "end").qos(1));
        // [MQTT-3.1.2-10], [MQTT-3.14.4-3]
        assert_eq!(watcher.messages_until("end"), [], "{version:?}");
    }
}

/// The server may accept the new connection before it notices the end of the old one.
#[test]
fn a_quick_reconnect_after_disconnect_sends_no_will() {
    let server = Broker::with(ONE_LANE);
    let mut watcher = watcher(&server);
    for n in 0..100 {
        let version = BOTH[n % 2];
        mourned(version).to(server.address()).disconnect(0);
        let after = Connect::new(version, "mourned").to(server.address());
        after.disconnect(0);
    }
    let mut last = Connect::v5("last").to(server.address());
    last.publish(&Message::new("will/end", "end").qos(1));
    assert_eq!(watcher.messages_until("end"), []);
}

#[test]
fn disconnect_with_0x04_sends_the_will() {
    let server = Broker::start();
    let mut watcher = watcher(&server);
    mourned(Version::V5).to(server.address()).disconnect(4);
    assert_eq!(watcher.message().text(), "gone");
}

#[test]
fn a_takeover_sends_the_will() {
    let server = Broker::start();
    let mut watcher = watcher(&server);
    let mut old = mourned(Version::V5).to(server.address());
    let _new = Connect::v5("mourned").to(server.address());
    assert_eq!(old.closed(), Some(0x8E));
    assert_eq!(watcher.message().text(), "gone");
}

#[test]
fn a_retained_will_is_retained_with_its_properties() {
    let server = Broker::start();
    let mut watcher = watcher(&server);
    let will = Message::new("will/kept", "gone")
        .qos(1)
        .retained()
        .property(property::CONTENT_TYPE, Value::Text("text/plain".to_owned()))
        .user("colour", "black");
    drop(Connect::v5("mourned").will(will).to(server.address()));
    watcher.message();
    let mut later = Connect::v5("later").to(server.address());
    later.subscribe("will/kept", 1);
    let kept = later.message();
    assert!(kept.retain);
    assert_eq!(kept.text(), "gone");
    assert_eq!(kept.properties.user("colour"), Some("black"));
    assert_eq!(
        kept.properties.text(property::CONTENT_TYPE),
        Some("text/plain")
    );
}

#[test]
fn a_will_is_sent_only_where_its_client_may_publish() {
    let config = "[[room]]\nmatch = \"staff-*\"\naccess = \"list\"\nmembers = [\"alice\"]\n";
    let server = Broker::with(config);
    for topic in [
        "rooms/staff-1",
        "rooms/lobby/_events",
        "rooms/lobby/_presence/alice",
        "rooms/lobby/_info",
        "inbox/alice/error",
    ] {
        let with_will = |version| {
            let will = Message::new(topic, "forged").retained();
            Connect::new(version, "mourned").will(will)
        };
        // 3.1.1 has only one code.
        with_will(Version::V311).refused(server.address(), 5);
        let reason = with_will(Version::V5).refused(server.address(), 0x87);
        assert!(reason.reason().contains("will"), "{topic}: {reason:?}");
    }
}
