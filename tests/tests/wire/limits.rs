//! Limits that either side sets.

use crate::ONE_LANE;
use roommq_tests::broker::Broker;
use roommq_tests::room;
use roommq_tests::wire::{BOTH, Connect, Message, Packet, Subscribe, Value, Version, property};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

#[test]
fn a_client_that_exceeds_the_receive_maximum_is_disconnected_with_0x93() {
    let server = Broker::with("[limits]\ninflight = 5\n");
    let (mut client, connack) = Connect::v5("a").attempt(server.address());
    let Packet::ConnAck { properties, .. } = connack else {
        panic!("{connack:?}");
    };
    assert_eq!(properties.number(property::RECEIVE_MAXIMUM), Some(5));
    for _ in 0..6 {
        // QoS 2 without PUBREL, so they stay in flight.
        client.start_publish(&Message::new("a/b", "x").qos(2));
    }
    for _ in 0..5 {
        assert!(matches!(client.packet(), Packet::PubRec { code, .. } if code < 0x80));
    }
    // [MQTT-3.3.4-7]
    assert_eq!(client.closed(), Some(0x93));
}

#[test]
fn a_message_above_the_clients_maximum_packet_size_is_not_sent() {
    let server = Broker::with(ONE_LANE);
    let small = Value::Four(200);
    let connect = Connect::v5("small").property(property::MAXIMUM_PACKET_SIZE, small);
    let mut client = connect.to(server.address());
    client.subscribe("size/of", 1);
    let mut other = Connect::v5("other").to(server.address());
    other.subscribe("size/of", 1);
    let mut sender = Connect::v311("s").to(server.address());
    sender.publish(&Message::new("size/of", vec![b'x'; 500]).qos(1));
    sender.publish(&Message::new("size/of", "end").qos(1));
    // [MQTT-3.1.2-24], [MQTT-3.1.2-25]
    assert_eq!(client.messages_until("end"), []);
    assert_eq!(other.messages_until("end").len(), 1);
}

#[test]
fn a_client_may_refuse_reason_strings() {
    let server = Broker::start();
    let mut client = Connect::v5("a")
        .property(property::REQUEST_PROBLEM_INFORMATION, Value::Byte(0))
        .to(server.address());
    let (codes, properties) = client.subscribe_with(&Subscribe::to("inbox/somebody/#", 0));
    // [MQTT-3.1.2-29]
    assert_eq!((codes, properties.0.len()), (vec![0x87], 0));
}

#[test]
fn a_retained_message_expires() {
    let server = Broker::start();
    let mut sender = Connect::v5("s").to(server.address());
    let message = Message::new("ex/piry", "x").qos(1).retained();
    sender.publish(&message.property(property::MESSAGE_EXPIRY, Value::Four(1)));
    let deadline = Instant::now() + roommq_tests::PATIENCE;
    let mut client = Connect::v5("c").to(server.address());
    client.subscribe("ex/end", 0);
    loop {
        client.subscribe("ex/piry", 0);
        client.unsubscribe("ex/piry");
        client.publish(&Message::new("ex/end", "end"));
        if client.messages_until("end").is_empty() {
            break;
        }
        assert!(Instant::now() < deadline, "it is still there");
    }
}

#[test]
fn a_client_that_joins_a_busy_room_misses_and_repeats_nothing() {
    let server = Broker::start();
    let address = server.address();
    let stop = Arc::new(AtomicBool::new(false));
    let stopped = Arc::clone(&stop);
    let speaker = thread::spawn(move || {
        let mut speaker = Connect::v5("speaker").to(address);
        let mut n = 0_u64;
        while !stopped.load(Ordering::Relaxed) {
            // The messages are retained and live. The retained one is the one before the first live one.
            let message = Message::new("rooms/busy/n", n.to_string()).retained();
            speaker.publish(&message.qos(1));
            n += 1;
        }
    });
    for round in 0..40 {
        let version = BOTH[round % 2];
        let mut client = Connect::new(version, &format!("c{round}")).to(address);
        let id = client.packet_id();
        client.send(&Subscribe::to("rooms/busy/#", 0).bytes(id, version));
        assert!(
            matches!(client.packet(), Packet::SubAck { .. }),
            "SUBACK first"
        );
        let mut last: Option<u64> = None;
        let mut heard = 0;
        while heard < 20 {
            let message = client.message();
            if room::is_reserved(&message) {
                continue;
            }
            let n: u64 = message.text().parse().unwrap();
            assert!(
                !message.retain || last.is_none(),
                "retained messages come first"
            );
            if let Some(last) = last {
                assert_eq!(n, last + 1, "round {round}");
            }
            last = Some(n);
            heard += 1;
        }
        client.disconnect(0);
    }
    stop.store(true, Ordering::Relaxed);
    speaker.join().unwrap();
}

#[test]
fn a_subscriber_that_acknowledges_nothing_is_closed_when_its_queue_is_full() {
    let server = Broker::with("[limits]\noutbox_messages = 50\ninflight = 10\n");
    let mut stuck = Connect::v5("stuck").to(server.address());
    stuck.subscribe("queue/of", 1);
    let mut reader = Connect::v5("reader").to(server.address());
    reader.subscribe("queue/of", 1);
    let mut sender = Connect::v311("s").to(server.address());
    for n in 0..200 {
        sender.publish(&Message::new("queue/of", n.to_string()).qos(1));
        assert_eq!(reader.message().text(), n.to_string());
    }
    let code = stuck.closed();
    assert!(code.is_some_and(|code| code >= 0x80), "{code:?}");
    server.log().line_with("too slowly");
}

#[test]
fn a_thousand_clients_connect_and_disconnect() {
    let server = Broker::start();
    let address = server.address();
    let threads: Vec<_> = (0..4)
        .map(|t| {
            thread::spawn(move || {
                for n in 0..250 {
                    let version = BOTH[n % 2];
                    let mut client = Connect::new(version, &format!("{t}-{n}")).to(address);
                    client.subscribe(&format!("rooms/r{}/#", n % 10), 1);
                    if n % 2 == 0 {
                        client.disconnect(0);
                    }
                }
            })
        })
        .collect();
    for thread in threads {
        thread.join().unwrap();
    }
    Connect::new(Version::V5, "after").to(address).ping();
}

#[test]
fn a_lost_connection_is_detected_while_messages_wait() {
    let server = Broker::with("[presence]\ngrace = \"100ms\"\n");
    let mut watcher = Connect::v5("watcher").to(server.address());
    watcher.subscribe("rooms/lobby/#", 0);
    let mut gone = Connect::v5("gone").to(server.address());
    gone.subscribe("rooms/lobby/#", 1);
    room::event(&mut watcher, "joined", "~gone");
    let mut sender = Connect::v5("s").to(server.address());
    for n in 0..100 {
        sender.publish(&Message::new("rooms/lobby/t", n.to_string()).qos(1));
    }
    drop(gone);
    let dropped = Instant::now();
    room::event(&mut watcher, "lost", "~gone");
    assert!(dropped.elapsed() < Duration::from_secs(1));
    room::event(&mut watcher, "left", "~gone");
}

#[test]
fn an_answer_above_the_clients_maximum_packet_size_closes_the_connection() {
    let server = Broker::start();
    for unsubscribe in [false, true] {
        let connect = Connect::v5("small").property(property::MAXIMUM_PACKET_SIZE, Value::Four(24));
        let mut client = connect.to(server.address());
        let mut bytes = vec![0x82, 83, 0, 1, 0];
        let mut filter = vec![0, 1, b'x', 0];
        if unsubscribe {
            (bytes, filter) = (vec![0xA2, 63, 0, 1, 0], vec![0, 1, b'x']);
        }
        bytes.extend(filter.repeat(20));
        client.send(&bytes);
        // [MQTT-3.1.2-24]: the server cannot send it, and the client would wait for ever.
        assert_eq!(client.closed(), Some(0x95));
    }
}

#[test]
fn clients_of_3_1_1_have_no_receive_maximum() {
    let server = Broker::with("[limits]\ninflight = 5\n");
    let mut client = Connect::v311("a").to(server.address());
    let ids: Vec<u16> = (0..20)
        .map(|_| client.start_publish(&Message::new("a/b", "x").qos(2)))
        .collect();
    for id in ids {
        assert_eq!(client.pubrec(id).0, 0);
    }
    client.ping();
}

#[test]
fn a_client_may_set_topic_aliases_up_to_the_limit() {
    for (limit, told) in [("10", Some(10)), ("65535", Some(65_535)), ("0", None)] {
        let server = Broker::with(&format!("[limits]\ntopic_aliases = {limit}\n"));
        let (mut client, connack) = Connect::v5("a").attempt(server.address());
        let Packet::ConnAck { properties, .. } = connack else {
            panic!("{connack:?}");
        };
        // Absent is 0 (3.2.2.3.8).
        assert_eq!(properties.number(property::TOPIC_ALIAS_MAXIMUM), told);
        let alias = |topic: &str, number| {
            let message = Message::new(topic, "x").qos(1);
            message.property(property::TOPIC_ALIAS, Value::Two(number))
        };
        if let Some(most) = told.and_then(|most| u16::try_from(most).ok()) {
            client.publish(&alias("a/b", most));
            client.publish(&alias("", most));
        }
        if limit != "65535" {
            client.start_publish(&alias("a/b", 11));
            assert_eq!(client.closed(), Some(0x94), "{limit}");
        }
    }
}

#[test]
fn the_limit_on_rooms_holds() {
    let rule = "[[room]]\nmatch = \"lobby\"\n";
    let server = Broker::with(&format!("{ONE_LANE}[limits]\nrooms = 2\n{rule}"));
    let full = "full: the server has 2 rooms";
    let mut first = Connect::v5("first").to(server.address());
    first.subscribe("rooms/a/#", 0);
    first.subscribe("rooms/b/#", 0);
    let mut new = Connect::v5("new").to(server.address());
    let (codes, properties) = new.subscribe_with(&Subscribe::to("rooms/c/#", 0));
    assert_eq!(codes, [0x97]);
    assert!(properties.reason().starts_with(full), "{properties:?}");
    let mut old = Connect::v311("old").to(server.address());
    old.subscribe("inbox/me/error", 0);
    assert_eq!(old.subscribe("rooms/c/#", 0), 0x80);
    let error = old.message();
    assert_eq!(
        (error.field("error"), error.json()["code"].as_u64()),
        ("full".to_owned(), Some(0x97))
    );
    assert!(error.field("reason").starts_with(full));
    // Only the lane knows that a retained message would create one room too many.
    new.subscribe("inbox/me/error", 0);
    new.publish(&Message::new("rooms/d/x", "kept").qos(1).retained());
    let error = new.message();
    assert_eq!(error.field("topic"), "rooms/d/x");
    assert!(error.field("reason").starts_with(full));
    // An existing room, and one that the config names, are open.
    assert_eq!(new.subscribe("rooms/a/x", 0), 0);
    assert_eq!(new.subscribe("rooms/lobby/x", 0), 0);
    new.unsubscribe("rooms/lobby/x");
    first.unsubscribe("rooms/b/#");
    assert_eq!(new.subscribe("rooms/c/x", 0), 0);
}

#[test]
fn a_packet_of_the_largest_size_is_delivered_live_retained_and_queued() {
    let server = Broker::with("[limits]\npacket_bytes = '12MiB'\noutbox_bytes = 12652543\n");
    let mut live = Connect::v5("live").to(server.address());
    live.subscribe("big", 1);
    let mut away = Connect::v311("away");
    away.clean = false;
    let mut gone = away.to(server.address());
    gone.subscribe("big", 1);
    gone.disconnect(0);
    let mut sender = Connect::v5("sender").to(server.address());
    // The fixed header, the topic, the packet id and no property take 13 bytes.
    let payload = vec![b'x'; (12 << 20) - 13];
    let message = Message::new("big", payload.clone()).qos(1).retained();
    assert_eq!(sender.publish(&message).0 & 0x80, 0);
    let mut late = Connect::v5("late").to(server.address());
    late.subscribe("big", 1);
    let mut back = away.to(server.address());
    for client in [&mut live, &mut late, &mut back] {
        assert!(client.message().payload == payload);
    }
}
