//! Sessions that outlive their connections.

use crate::ONE_LANE;
use roommq_tests::broker::Broker;
use roommq_tests::room;
use roommq_tests::wire::{BOTH, Client, Connect, Message, Packet, Value, Version, property};

/// A client with a persistent session.
fn keeps(version: Version, id: &str) -> Connect {
    let connect = Connect::new(version, id).clean(false);
    if version == Version::V5 {
        connect.property(property::SESSION_EXPIRY, Value::Four(3600))
    } else {
        connect
    }
}

/// Connects. Returns the client and the session present flag.
fn come(connect: &Connect, server: &Broker) -> (Client, bool) {
    match connect.clone().attempt(server.address()) {
        (
            client,
            Packet::ConnAck {
                session_present,
                code: 0,
                ..
            },
        ) => (client, session_present),
        (_, other) => panic!("{other:?}"),
    }
}

fn payload(packet: Packet) -> (String, bool, u16) {
    match packet {
        Packet::Publish(message) => (message.text().to_owned(), message.dup, message.id),
        other => panic!("{other:?}"),
    }
}

#[test]
fn messages_for_an_offline_session_wait_in_order() {
    let server = Broker::start();
    for version in BOTH {
        let connect = keeps(version, "absent");
        let (mut client, present) = come(&connect, &server);
        assert!(!present);
        client.subscribe("kept/1", 1);
        client.subscribe("kept/2", 2);
        client.subscribe("kept/0", 0);
        drop(client);
        let mut sender = Connect::v5("sender").to(server.address());
        for n in 0..20 {
            let topic = format!("kept/{}", n % 3);
            sender.publish(&Message::new(&topic, n.to_string()).qos(u8::try_from(n % 3).unwrap()));
        }
        let (mut client, present) = come(&connect, &server);
        assert!(present, "[MQTT-3.2.2-2]");
        client.subscribe("kept/end", 1);
        sender.publish(&Message::new("kept/end", "end").qos(1));
        let got = client.messages_until("end");
        let got: Vec<_> = got.iter().map(|m| m.text().to_owned()).collect();
        // QoS 0 messages may be lost, others may not. Each topic keeps its order.
        for qos in [1, 2] {
            let of = |n: &u32| n % 3 == qos;
            let expected: Vec<_> = (0..20).filter(of).map(|n| n.to_string()).collect();
            let seen: Vec<_> = got
                .iter()
                .filter(|n| of(&n.parse().unwrap()))
                .cloned()
                .collect();
            assert_eq!(seen, expected);
        }
        client.disconnect(0);
        let (client, present) = come(&Connect::new(version, "absent"), &server);
        assert!(!present, "clean");
        drop(client);
        assert!(!come(&connect, &server).1, "[MQTT-3.1.2-4] clean ended it");
        drop(Connect::new(version, "absent").to(server.address()));
    }
}

#[test]
fn unacknowledged_messages_are_resent_with_dup() {
    let server = Broker::start();
    for version in BOTH {
        let connect = keeps(version, "slow");
        let (mut client, _) = come(&connect, &server);
        client.subscribe("again/#", 2);
        let mut sender = Connect::v5("sender").to(server.address());
        sender.publish(&Message::new("again/1", "one").qos(1));
        sender.publish(&Message::new("again/2", "two").qos(2));
        sender.publish(&Message::new("again/3", "three").qos(2));
        let (one, two, three) = (
            payload(client.packet()),
            payload(client.packet()),
            payload(client.packet()),
        );
        assert_eq!((one.0.as_str(), one.1), ("one", false));
        let id = three.2;
        client.send(&[0x50, 2, id.to_be_bytes()[0], id.to_be_bytes()[1]]);
        assert!(matches!(client.packet(), Packet::PubRel { id: released, .. } if released == id));
        drop(client);
        for _ in 0..2 {
            let (mut client, present) = come(&connect, &server);
            assert!(present);
            // [MQTT-4.4.0-1], with the same packet ids.
            assert!(
                matches!(client.packet(), Packet::PubRel { id: released, .. } if released == id)
            );
            assert_eq!(payload(client.packet()), ("one".into(), true, one.2));
            assert_eq!(payload(client.packet()), ("two".into(), true, two.2));
            client.ping();
        }
        drop(Connect::new(version, "slow").to(server.address()));
    }
}

#[test]
fn a_qos_2_message_resent_on_another_connection_is_delivered_once() {
    let server = Broker::start();
    for version in BOTH {
        let mut watcher = Connect::v5("watcher").to(server.address());
        watcher.subscribe("once", 2);
        let connect = keeps(version, "sender");
        let (mut client, _) = come(&connect, &server);
        let message = Message::new("once", "x").qos(2);
        let id = client.start_publish(&message);
        assert_eq!(client.pubrec(id).0, 0);
        // After a loss, and after a takeover.
        let held;
        if version == Version::V5 {
            held = Some(client);
        } else {
            held = None;
            drop(client);
        }
        let (mut client, present) = come(&connect, &server);
        assert!(present);
        drop(held);
        let again = Message {
            id,
            dup: true,
            ..message
        };
        client.send(&again.bytes(version));
        assert_eq!(client.pubrec(id).0, 0);
        client.send(&[0x62, 2, id.to_be_bytes()[0], id.to_be_bytes()[1]]);
        assert!(matches!(client.packet(), Packet::PubComp { .. }));
        client.publish(&Message::new("once", "end").qos(2));
        let got = watcher.messages_until("end");
        assert_eq!(got.len(), 1, "{got:?}");
        drop(Connect::new(version, "sender").to(server.address()));
    }
}

#[test]
fn a_session_expires_and_its_will_is_sent() {
    let server = Broker::start();
    let mut watcher = Connect::v5("watcher").to(server.address());
    watcher.subscribe("wills/#", 0);
    let will = Message::new("wills/late", "x").property(property::WILL_DELAY, Value::Four(3600));
    let connect = Connect::v5("brief")
        .clean(false)
        .property(property::SESSION_EXPIRY, Value::Four(1))
        .will(will);
    let (client, _) = come(&connect, &server);
    drop(client);
    // The session's end comes before the delay does (3.1.3.2.2).
    assert_eq!(watcher.message().topic, "wills/late");
    let (client, present) = come(&connect, &server);
    assert!(!present);
    client.disconnect(0);
}

#[test]
fn a_delayed_will_is_dropped_when_the_client_reconnects() {
    let server = Broker::start();
    let mut watcher = Connect::v5("watcher").to(server.address());
    watcher.subscribe("wills/#", 0);
    let with = |delay, topic: &str| {
        let will = Message::new(topic, "x").property(property::WILL_DELAY, Value::Four(delay));
        keeps(Version::V5, "delayed").will(will)
    };
    drop(come(&with(1, "wills/never"), &server).0);
    // [MQTT-3.1.3-9]
    drop(come(&with(1, "wills/second"), &server).0);
    assert_eq!(watcher.message().topic, "wills/second");
    // A clean start ends the session, and so the delay.
    drop(come(&with(3600, "wills/third"), &server).0);
    let mut client = Connect::v5("delayed").to(server.address());
    assert_eq!(watcher.message().topic, "wills/third");
    // If the session ends with its connection, the will is not delayed.
    let will = Message::new("wills/fourth", "x").property(property::WILL_DELAY, Value::Four(3600));
    client.ping();
    drop(Connect::v5("delayed").will(will).to(server.address()));
    assert_eq!(watcher.message().topic, "wills/fourth");
}

#[test]
fn disconnect_changes_the_session_expiry() {
    let server = Broker::start();
    let leave = |seconds: u32| {
        let mut bytes = vec![0xE0, 7, 0, 5, 0x11];
        bytes.extend(seconds.to_be_bytes());
        bytes
    };
    let (mut client, _) = come(&keeps(Version::V5, "d"), &server);
    client.send(&leave(0));
    assert_eq!(client.closed(), None);
    let (mut client, present) = come(&keeps(Version::V5, "d"), &server);
    assert!(!present);
    client.send(&leave(100));
    client.closed();
    assert!(come(&keeps(Version::V5, "d"), &server).1);
    // A session expiry of 0 cannot be raised (3.14.2.2.2).
    let mut client = Connect::v5("e").to(server.address());
    client.send(&leave(100));
    assert_eq!(client.closed(), Some(0x82));
}

#[test]
fn a_session_is_resumed_by_the_other_version() {
    let server = Broker::start();
    let (mut client, _) = come(&keeps(Version::V5, "both"), &server);
    client.subscribe("both", 1);
    drop(client);
    let mut sender = Connect::v5("sender").to(server.address());
    let message = Message::new("both", "x").qos(1).user("k", "v");
    sender.publish(&message);
    let (mut client, present) = come(&keeps(Version::V311, "both"), &server);
    assert!(present);
    let got = client.packet();
    drop(client);
    assert_eq!(payload(got).0, "x");
    let (mut client, _) = come(&keeps(Version::V5, "both"), &server);
    assert_eq!(payload(client.packet()), ("x".into(), true, 1));
}

#[test]
fn the_queue_of_an_offline_session_has_a_limit() {
    let server = Broker::with("[limits]\noutbox_messages = 3\n");
    let (mut client, _) = come(&keeps(Version::V311, "full"), &server);
    client.subscribe("full", 1);
    drop(client);
    let mut sender = Connect::v5("sender").to(server.address());
    // Another connection finds that the session has ended.
    come(&keeps(Version::V311, "full"), &server).0.disconnect(0);
    while !come(&keeps(Version::V311, "full"), &server).1 {}
    for n in 0..10 {
        sender.publish(&Message::new("full", n.to_string()).qos(1));
    }
    let (mut client, _) = come(&keeps(Version::V311, "full"), &server);
    sender.publish(&Message::new("full", "end").qos(1));
    let got = client.messages_until("end");
    let got: Vec<_> = got.iter().map(Message::text).collect();
    assert_eq!(got, ["7", "8", "9"]);
}

#[test]
fn with_session_expiry_0_no_session_outlives_its_connection() {
    let server = Broker::with("[limits]\nsession_expiry = \"0s\"\n");
    for _ in 0..2 {
        let (mut client, present) = come(&keeps(Version::V311, "keeps"), &server);
        assert!(!present);
        client.subscribe("kept/session", 1);
        client.disconnect(0);
    }
    let (mut client, connack) = keeps(Version::V5, "keeps5").attempt(server.address());
    let Packet::ConnAck { properties, .. } = connack else {
        panic!("{connack:?}");
    };
    // [MQTT-3.2.2-21]: the server's value.
    assert_eq!(properties.number(property::SESSION_EXPIRY), Some(0));
    // (3.14.2.2.2) The CONNECT had an expiry above 0, so this DISCONNECT is no error. The session still ends.
    client.send(b"\xE0\x07\x00\x05\x11\x00\x00\x00\x09");
    assert_eq!(client.closed(), None);
}

#[test]
fn a_session_lives_as_long_as_its_client_asks() {
    let ever = || Value::Four(u32::MAX);
    let told = |server: &Broker| {
        let connect = Connect::v5("ever").clean(false);
        let (client, connack) = connect
            .property(property::SESSION_EXPIRY, ever())
            .attempt(server.address());
        client.disconnect(0);
        match connack {
            Packet::ConnAck { properties, .. } => properties.number(property::SESSION_EXPIRY),
            other => panic!("{other:?}"),
        }
    };
    // (3.2.2.3.2) CONNACK has no expiry if the client's value holds.
    assert_eq!(told(&Broker::start()), None);
    let capped = Broker::with("[limits]\nsession_expiry = \"1s\"\n[sys]\ninterval = \"30ms\"\n");
    assert_eq!(told(&capped), Some(1));
    // A persistent session of 3.1.1 expires too.
    come(&keeps(Version::V311, "old"), &capped).0.disconnect(0);
    let mut watcher = Connect::v5("watcher").to(capped.address());
    watcher.subscribe("$SYS/broker/clients/expired", 0);
    watcher.message_where(|m| m.text() == "2");
    assert!(!come(&keeps(Version::V311, "old"), &capped).1);
}

#[test]
fn an_offline_member_leaves_its_room_and_receives_missed_messages_later() {
    let server = Broker::with("[presence]\ngrace = \"50ms\"\n");
    let mut watcher = Connect::v5("watcher").to(server.address());
    watcher.subscribe("rooms/den/#", 0);
    let (mut client, _) = come(&keeps(Version::V311, "away"), &server);
    client.subscribe("rooms/den", 1);
    room::event(&mut watcher, "joined", "~away");
    drop(client);
    room::event(&mut watcher, "lost", "~away");
    room::event(&mut watcher, "left", "~away");
    watcher.publish(&Message::new("rooms/den", "missed").qos(1));
    let (mut client, present) = come(&keeps(Version::V311, "away"), &server);
    assert!(present);
    room::event(&mut watcher, "joined", "~away");
    assert_eq!(client.message().text(), "missed");
}

/// A client with a persistent session, in a room for one member and with one more filter, disconnects. Another client joins
/// the room and publishes a secret. The first client resumes its session, and the room refuses it.
fn refused_on_its_way_back(server: &Broker, also: &str) -> (Client, Client) {
    let mut other = Connect::v5("other").to(server.address());
    other.subscribe("rooms/tiny/_info", 0);
    let (mut client, _) = come(&keeps(Version::V311, "first"), server);
    client.subscribe("rooms/tiny/#", 1);
    client.subscribe(also, 1);
    other.message_where(|m| m.text().contains("\"count\":1"));
    client.disconnect(0);
    let left = |m: &Message| m.text().is_empty() || m.text().contains("\"count\":0");
    other.message_where(left);
    assert_eq!(other.subscribe("rooms/tiny/#", 1), 1);
    other.publish(&Message::new("rooms/tiny", "secret").qos(1));
    let (client, present) = come(&keeps(Version::V311, "first"), server);
    assert!(present);
    (client, other)
}

fn with_a_room_for_one() -> Broker {
    let rule = "[presence]\ngrace = \"50ms\"\n[[room]]\nmatch = \"tiny\"\nmax_members = 1\n";
    Broker::with(&format!("{ONE_LANE}{rule}"))
}

#[test]
fn a_client_that_may_not_join_again_loses_subscription_and_queue() {
    let server = with_a_room_for_one();
    let (mut client, mut other) = refused_on_its_way_back(&server, "inbox/me/#");
    let error = client.message();
    assert_eq!(error.topic, "inbox/me/error");
    assert!(error.text().contains("full, 1 of 1"), "{}", error.text());
    other.publish(&Message::new("rooms/tiny", "more").qos(1));
    client.subscribe("quiet", 1);
    client.publish(&Message::new("quiet", "end").qos(1));
    assert_eq!(client.messages_until("end"), []);
}

#[test]
fn a_resumed_spanning_filter_delivers_nothing_of_a_room_that_refuses() {
    let server = with_a_room_for_one();
    let (mut client, _other) = refused_on_its_way_back(&server, "#");
    client.publish(&Message::new("quiet", "end").qos(1));
    let got = client.messages_until("end");
    assert!(got.iter().all(|m| m.text() != "secret"), "{got:?}");
}

#[test]
fn clients_of_3_1_resume_without_the_session_present_flag() {
    let server = Broker::start();
    let connect = keeps(Version::V31, "old");
    let (mut client, present) = come(&connect, &server);
    assert!(!present);
    client.subscribe("old/news", 1);
    drop(client);
    let mut sender = Connect::v5("sender").to(server.address());
    sender.publish(&Message::new("old/news", "x").qos(1));
    let (mut client, present) = come(&connect, &server);
    // The second byte of CONNACK is reserved in 3.1 (3.2).
    assert!(!present);
    assert_eq!(client.message().text(), "x");
}
