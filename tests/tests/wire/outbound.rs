//! Outgoing packets: packet ids, the order of PUBREC and a client's own copy, and a full queue.

use roommq_tests::broker::Broker;
use roommq_tests::wire::{BOTH, Client, Connect, Message, Packet, Value, Version, property};

/// Lanes are idle, since no other client publishes.
const QUIET: &str = "[sys]\ninterval = \"0s\"\n";

/// A client with a persistent session.
fn kept(version: Version, id: &str) -> Connect {
    let connect = Connect::new(version, id).clean(false);
    match version {
        Version::V5 => connect.property(property::SESSION_EXPIRY, Value::Four(3600)),
        Version::V311 | Version::V31 => connect,
    }
}

/// The next packet, which must be a PUBLISH; not acknowledged.
fn publish(client: &mut Client) -> Message {
    match client.packet() {
        Packet::Publish(message) => message,
        other => panic!("{other:?}"),
    }
}

#[test]
fn packet_ids_wrap_around_and_a_message_dropped_for_its_size_used_one() {
    let server = Broker::start();
    let connect = Connect::v5("small").property(property::MAXIMUM_PACKET_SIZE, Value::Four(100));
    let mut client = connect.to(server.address());
    client.subscribe("ids/of", 2);
    let mut sender = Connect::v311("sender").to(server.address());
    for qos in [1, 2] {
        sender.publish(&Message::new("ids/of", [b'x'; 200]).qos(qos));
    }
    for expected in 3..6 {
        sender.publish(&Message::new("ids/of", "fits").qos(1));
        let message = publish(&mut client);
        assert_eq!(message.id, expected, "acknowledged or not");
        client.acknowledge(&message);
        client.ping();
    }
}

#[test]
fn a_message_that_expires_in_the_queue_used_a_packet_id() {
    let server = Broker::start();
    for version in BOTH {
        let mut client = kept(version, "absent").to(server.address());
        client.subscribe("ids/late", 1);
        client.disconnect(0);
        let mut sender = Connect::v5("sender").to(server.address());
        let expiring = |topic| {
            let message = Message::new(topic, "late").qos(1).retained();
            message.property(property::MESSAGE_EXPIRY, Value::Four(1))
        };
        sender.publish(&expiring("ids/late"));
        // This message expires no later than the other.
        sender.publish(&expiring("ids/clock"));
        let mut clock = Connect::v5("clock").to(server.address());
        let deadline = std::time::Instant::now() + roommq_tests::PATIENCE;
        loop {
            clock.subscribe("ids/clock", 0);
            clock.publish(&Message::new("ids/clock", "end"));
            if clock.messages_until("end").is_empty() {
                break;
            }
            assert!(std::time::Instant::now() < deadline, "it is still there");
        }
        sender.publish(&Message::new("ids/late", "in time").qos(1));
        let mut client = kept(version, "absent").to(server.address());
        let message = publish(&mut client);
        assert_eq!((message.text(), message.id), ("in time", 2));
        client.acknowledge(&message);
        client.unsubscribe("ids/late");
        drop(Connect::new(version, "absent").to(server.address()));
    }
}

#[test]
fn a_resumed_session_continues_its_packet_ids() {
    let server = Broker::start();
    let mut sender = Connect::v5("sender").to(server.address());
    let mut client = kept(Version::V311, "slow").to(server.address());
    client.subscribe("ids/on", 1);
    for expected in [1, 2, 3] {
        sender.publish(&Message::new("ids/on", "x").qos(1));
        let message = publish(&mut client);
        assert_eq!(message.id, expected);
        if expected != 2 {
            client.acknowledge(&message);
        }
    }
    client.ping();
    drop(client);
    let mut client = kept(Version::V311, "slow").to(server.address());
    let again = publish(&mut client);
    assert_eq!((again.id, again.dup), (2, true));
    sender.publish(&Message::new("ids/on", "x").qos(1));
    assert_eq!(publish(&mut client).id, 4);
}

/// The packets in their order: `R` (PUBREC) and `A` (PUBACK) with a packet id, or a payload.
fn next(client: &mut Client) -> String {
    match client.packet() {
        Packet::PubRec { id, code: 0, .. } => format!("R{id}"),
        Packet::PubAck { id, code: 0, .. } => format!("A{id}"),
        Packet::Publish(message) => message.text().to_owned(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn pubrec_comes_before_the_copy_and_the_copy_before_puback() {
    let server = Broker::with(QUIET);
    for version in BOTH {
        for granted in 0..=2 {
            let mut client = Connect::new(version, "own").to(server.address());
            client.subscribe("own/copy", granted);
            let id = client.start_publish(&Message::new("own/copy", "x").qos(2));
            assert_eq!(next(&mut client), format!("R{id}"));
            assert_eq!(next(&mut client), "x");
            let id = client.start_publish(&Message::new("own/copy", "y").qos(1));
            assert_eq!(next(&mut client), "y");
            assert_eq!(next(&mut client), format!("A{id}"));
            // Packets of one read are answered as if each came alone.
            let mut bytes = Vec::new();
            for (id, qos) in (10..).zip([1, 2, 2, 1]) {
                let message = Message::new("own/copy", id.to_string()).qos(qos);
                bytes.extend(Message { id, ..message }.bytes(version));
            }
            client.send(&bytes);
            let got = [(); 8].map(|()| next(&mut client));
            assert_eq!(got, ["10", "A10", "R11", "R12", "11", "12", "13", "A13"]);
            client.disconnect(0);
        }
    }
}

#[test]
fn pubrecs_of_one_read_come_in_order_each_before_its_copy() {
    let server = Broker::with(QUIET);
    let mut client = Connect::v5("own").to(server.address());
    client.subscribe("#", 0);
    // In several lanes, and back and forth between them.
    let mut bytes = Vec::new();
    let topics = ["a/1", "b/2", "c/3", "a/1", "c/3", "c/3", "b/2", "d/4"];
    for (id, topic) in (1..).zip(topics) {
        let message = Message {
            id,
            ..Message::new(topic, id.to_string()).qos(2)
        };
        bytes.extend(message.bytes(Version::V5));
    }
    // The policy refuses a topic that is reserved for the server.
    let refused = Message {
        id: 9,
        ..Message::new("$SYS/x", "x").qos(2)
    };
    bytes.extend(refused.bytes(Version::V5));
    client.send(&bytes);
    let (mut receipts, mut copies) = (Vec::new(), Vec::new());
    while receipts.len() < 9 || copies.len() < 8 {
        match client.packet() {
            Packet::PubRec { id, code, .. } => {
                assert_eq!(code >= 0x80, id == 9);
                receipts.push(id);
            }
            Packet::Publish(message) => {
                let id: u16 = message.text().parse().unwrap();
                assert!(receipts.contains(&id), "{id} before its PUBREC");
                copies.push(id);
            }
            other => panic!("{other:?}"),
        }
    }
    assert!(receipts.iter().copied().eq(1..=9), "{receipts:?}");
    for lane in [&[1, 4][..], &[2, 7], &[3, 5, 6]] {
        let of_lane = copies.iter().filter(|id| lane.contains(id));
        assert!(of_lane.eq(lane), "{copies:?}");
    }
}

#[test]
fn a_slow_persistent_session_loses_only_the_oldest_messages() {
    let limits = "[limits]\noutbox_messages = 50\ninflight = 10\n";
    let server = Broker::with(&format!("{limits}[sys]\ninterval = \"1s\"\n"));
    let mut sender = Connect::v5("sender").to(server.address());
    for version in BOTH {
        let mut slow = kept(version, "slow").to(server.address());
        slow.subscribe("slow/reader", 1);
        let mut send = |from: u32, to: u32| {
            for n in from..to {
                sender.publish(&Message::new("slow/reader", n.to_string()).qos(1));
            }
        };
        send(0, 100);
        let told = (version == Version::V5).then_some(0x97);
        assert_eq!(slow.closed(), told);
        send(100, 105);
        // The messages in flight, and the newest that fit. More messages arrive while the client reads; it stays connected.
        let mut slow = kept(version, "slow").to(server.address());
        send(105, 107);
        for n in (0..10).chain(57..107) {
            let message = slow.message();
            assert_eq!((message.text(), message.dup), (&*n.to_string(), n < 10));
        }
        slow.unsubscribe("slow/reader");
        slow.disconnect(0);
        drop(Connect::new(version, "slow").to(server.address()));
    }
    let mut watcher = Connect::v5("watcher").to(server.address());
    watcher.subscribe("$SYS/broker/publish/messages/dropped/queue_full", 0);
    let lost = 2 * (57 - 10);
    watcher.message_where(|m| m.text() == lost.to_string());
}
