//! Stamps: user properties that the server adds to a message, and those that it removes.

use roommq_tests::broker::Broker;
use roommq_tests::room;
use roommq_tests::wire::{BOTH, Connect, Message, Properties, Value, Version, property};

/// `from`, `at`, `seq` of a message.
fn stamps(message: &Message) -> (String, String, String) {
    let stamp = |name| message.properties.user(name).unwrap_or("(none)").to_owned();
    (stamp("from"), stamp("at"), stamp("seq"))
}

#[test]
fn room_messages_have_sender_time_and_sequence_number() {
    let server = Broker::start();
    let mut client = Connect::v5("a").to(server.address());
    client.subscribe("rooms/lobby/t", 1);
    let mut last: Option<(String, u64)> = None;
    for (n, version) in [BOTH, BOTH].into_iter().flatten().enumerate() {
        let mut sender = Connect::new(version, &format!("s{n}")).to(server.address());
        sender.publish(&Message::new("rooms/lobby/t", "x").qos(1));
        let (from, at, seq) = stamps(&client.message());
        assert_eq!(from, format!("~s{n}"));
        assert!(
            at.len() == 24 && at.ends_with('Z') && at.as_bytes()[10] == b'T',
            "{at}"
        );
        let (epoch, offset) = seq.rsplit_once(':').expect("epoch:offset");
        let offset: u64 = offset.parse().unwrap();
        if let Some((last_epoch, last_offset)) = last {
            assert_eq!(epoch, last_epoch);
            assert_eq!(offset, last_offset + 1);
        }
        last = Some((epoch.to_owned(), offset));
    }
}

#[test]
fn forged_stamps_are_removed_and_other_properties_stay() {
    let server = Broker::start();
    let mut client = Connect::v5("a").to(server.address());
    client.subscribe("rooms/lobby/#", 0);
    let mut sender = Connect::v5("s").to(server.address());
    let mut message = Message::new("rooms/lobby/t", "x")
        .user("from", "boss")
        .user("colour", "red")
        .user("at", "yesterday")
        .user("seq", "0:0")
        .user("replay", "1")
        .user("from", "boss again");
    message.retain = true;
    sender.publish(&message.qos(1));
    let live = client.message_where(|m| m.payload == b"x");
    let mut later = Connect::v5("b").to(server.address());
    later.subscribe("rooms/lobby/t", 0);
    let kept = later.message_where(|m| m.payload == b"x");
    assert!(kept.retain);
    for got in [live, kept] {
        // `user` panics if a name occurs twice.
        let (from, at, seq) = stamps(&got);
        assert_eq!(from, "~s");
        assert!(at.ends_with('Z') && seq != "0:0", "{at} {seq}");
        assert_eq!(got.properties.user("replay"), None);
        assert_eq!(got.properties.user("colour"), Some("red"));
    }
}

#[test]
fn a_will_in_a_room_is_stamped() {
    let server = Broker::start();
    let mut client = Connect::v5("a").to(server.address());
    client.subscribe("rooms/lobby/t", 0);
    let will = Message::new("rooms/lobby/t", "gone").user("from", "boss");
    drop(Connect::v5("mourned").will(will).to(server.address()));
    assert_eq!(client.message().properties.user("from"), Some("~mourned"));
}

#[test]
fn the_servers_messages_have_no_user_stamp() {
    let server = Broker::start();
    let mut client = Connect::v5("a").to(server.address());
    client.subscribe("rooms/lobby/#", 0);
    let event = client.message_where(|m| room::is_event(m, "joined", "~a"));
    assert_eq!(event.properties.user("from"), None);
}

#[test]
fn messages_outside_rooms_have_no_stamps() {
    let server = Broker::start();
    let mut client = Connect::v5("a").to(server.address());
    client.subscribe("out/side", 0);
    let sent = Message::new("out/side", "x")
        .user("from", "me")
        .user("seq", "7");
    Connect::v5("s").to(server.address()).publish(&sent);
    assert_eq!(client.message().properties, sent.properties);
}

#[test]
fn subscribers_of_3_1_1_get_the_payload_unchanged() {
    let server = Broker::start();
    let mut client = Connect::v311("a").to(server.address());
    client.subscribe("rooms/lobby/t", 0);
    let sent = Message::new("rooms/lobby/t", "x").user("colour", "red");
    Connect::v5("s").to(server.address()).publish(&sent);
    let got = client.message();
    assert_eq!(got.text(), "x");
    assert_eq!(got.properties, Properties::default());
}

#[test]
fn other_properties_of_a_room_message_are_forwarded() {
    let server = Broker::start();
    let mut client = Connect::v5("a").to(server.address());
    client.subscribe("rooms/lobby/t", 1);
    let sent = Message::new("rooms/lobby/t", "x")
        .qos(1)
        .property(property::CONTENT_TYPE, Value::Text("text/plain".to_owned()))
        .property(property::CORRELATION_DATA, Value::Binary(vec![0, 255]));
    Connect::new(Version::V5, "s")
        .to(server.address())
        .publish(&sent);
    let got = client.message();
    for wanted in &sent.properties.0 {
        assert!(got.properties.0.contains(wanted), "{wanted:?}");
    }
    assert_eq!(got.properties.user("from"), Some("~s"));
}
