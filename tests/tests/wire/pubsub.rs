//! PUBLISH in both directions.

use crate::ONE_LANE;
use roommq_tests::broker::Broker;
use roommq_tests::wire::{
    BOTH, Client, Connect, Message, Packet, Value, Version, frame, property, put_string,
};
use std::thread;

#[test]
fn delivery_is_at_the_lower_qos_in_every_pair_of_versions() {
    let server = Broker::start();
    for from in BOTH {
        for to in BOTH {
            let mut sender = Connect::new(from, "sender").to(server.address());
            let mut receiver = Connect::new(to, "receiver").to(server.address());
            for sent in 0..=2 {
                for wanted in 0..=2 {
                    let topic = format!("pair/one/{sent}/{wanted}");
                    assert_eq!(receiver.subscribe(&topic, wanted), wanted);
                    sender.publish(&Message::new(&topic, "hello").qos(sent));
                    let got = receiver.message();
                    // [MQTT-3.8.4-6], [MQTT-3.8.4-8]
                    assert_eq!(got.qos, sent.min(wanted), "{from:?} to {to:?}");
                    assert_eq!(got.topic, topic);
                    assert_eq!(got.text(), "hello");
                    assert!(!got.dup && !got.retain);
                    assert_eq!(got.id == 0, got.qos == 0);
                }
            }
        }
    }
}

#[test]
fn payloads_and_topics_of_any_form_arrive_unchanged() {
    let server = Broker::start();
    let long = "level/".repeat(100) + "end";
    let topics = ["a", "/", "/a", "a//b", "ä/ö", "日/本", "🚀", "a b", &long];
    let large = vec![7; 100_000];
    let payloads: [&[u8]; 4] = [b"", b"\0\xff\x80", &large, "ünï".as_bytes()];
    for version in BOTH {
        let mut client = Connect::new(version, "a").to(server.address());
        for topic in topics {
            assert_eq!(client.subscribe(topic, 1), 1);
            for payload in payloads {
                client.start_publish(&Message::new(topic, payload).qos(1));
                let got = wait_for_message(&mut client);
                assert_eq!((got.topic.as_str(), &got.payload[..]), (topic, payload));
            }
            client.unsubscribe(topic);
        }
    }
}

/// The next message. Acknowledgements before it are skipped.
fn wait_for_message(client: &mut Client) -> Message {
    loop {
        match client.packet() {
            Packet::Publish(message) => {
                client.acknowledge(&message);
                return message;
            }
            Packet::PubAck { code, .. } => assert_eq!(code & 0x80, 0),
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn every_subscriber_receives_the_publishers_order() {
    const COUNT: usize = 2_000;
    let server = Broker::start();
    let mut receivers: Vec<Client> = (0..4)
        .map(|n| {
            let version = BOTH[n % 2];
            let mut client = Connect::new(version, &format!("r{n}")).to(server.address());
            client.subscribe("order/of/+", 1);
            client
        })
        .collect();
    let address = server.address();
    let sender = thread::spawn(move || {
        let mut sender = Connect::v5("sender").to(address);
        for n in 0..COUNT {
            let message = Message::new("order/of/things", n.to_string());
            sender.start_publish(&message.qos(u8::from(n % 2 == 0)));
        }
        // Every second message had QoS 1.
        for n in 1..=COUNT / 2 {
            sender.puback(u16::try_from(n).unwrap());
        }
    });
    for receiver in &mut receivers {
        for n in 0..COUNT {
            let got = receiver.message();
            assert_eq!(got.text(), n.to_string());
            assert!(!got.dup);
        }
    }
    sender.join().unwrap();
}

#[test]
fn the_clients_receive_maximum_limits_messages_in_flight() {
    let server = Broker::start();
    let mut receiver = Connect::v5("r").receive_maximum(2).to(server.address());
    receiver.subscribe("window/of", 1);
    let mut sender = Connect::v311("s").to(server.address());
    for n in 0..5 {
        sender.publish(&Message::new("window/of", n.to_string()).qos(1));
    }
    let mut waiting = Vec::new();
    for n in 0..5 {
        let Packet::Publish(got) = receiver.packet() else {
            panic!("not a message");
        };
        assert_eq!(got.text(), n.to_string());
        waiting.push(got);
        if waiting.len() == 2 {
            // [MQTT-3.3.4-9]: with two messages in flight the server answers a ping, and sends no third message.
            receiver.send(&[0xC0, 0]);
            assert_eq!(receiver.packet(), Packet::PingResp);
            let acknowledged = waiting.remove(0);
            receiver.acknowledge(&acknowledged);
        }
    }
}

#[test]
fn properties_travel_with_the_message() {
    let server = Broker::start();
    let mut receiver = Connect::v5("r").to(server.address());
    receiver.subscribe("with/properties", 1);
    let sent = Message::new("with/properties", "x")
        .qos(1)
        .property(property::PAYLOAD_FORMAT, Value::Byte(1))
        .property(property::CONTENT_TYPE, Value::Text("text/plain".to_owned()))
        .property(
            property::RESPONSE_TOPIC,
            Value::Text("answer/to".to_owned()),
        )
        .property(property::CORRELATION_DATA, Value::Binary(vec![0, 1, 255]))
        .user("b", "1")
        .user("a", "2")
        .user("b", "3");
    Connect::v5("s").to(server.address()).publish(&sent);
    let got = receiver.message();
    let mut expected = sent.properties.0;
    let mut there = got.properties.0;
    // [MQTT-3.3.2-18]: user properties have an order, others have none.
    expected.sort_by_key(|(id, _)| *id);
    there.sort_by_key(|(id, _)| *id);
    assert_eq!(there, expected);
}

#[test]
fn message_expiry_is_forwarded() {
    let server = Broker::start();
    let mut receiver = Connect::v5("r").to(server.address());
    receiver.subscribe("with/expiry", 0);
    let sent =
        Message::new("with/expiry", "x").property(property::MESSAGE_EXPIRY, Value::Four(100));
    Connect::v5("s").to(server.address()).publish(&sent);
    // [MQTT-3.3.2-6]
    let left = receiver
        .message()
        .properties
        .number(property::MESSAGE_EXPIRY);
    assert!(matches!(left, Some(90..=100)), "{left:?}");
}

#[test]
fn a_topic_alias_replaces_a_topic() {
    let server = Broker::start();
    let (mut sender, connack) = Connect::v5("s").attempt(server.address());
    let Packet::ConnAck { properties, .. } = connack else {
        panic!("{connack:?}");
    };
    let aliases = properties
        .number(property::TOPIC_ALIAS_MAXIMUM)
        .unwrap_or(0);
    let mut receiver = Connect::v311("r").to(server.address());
    receiver.subscribe("an/alias", 0);
    let with_alias = |topic, alias: usize| {
        let alias = Value::Two(u16::try_from(alias).unwrap());
        Message::new(topic, "x").property(property::TOPIC_ALIAS, alias)
    };
    if aliases > 0 {
        sender.publish(&with_alias("an/alias", 1));
        sender.publish(&with_alias("", 1));
        for _ in 0..2 {
            assert_eq!(receiver.message().topic, "an/alias");
        }
    }
    sender.publish(&with_alias("an/alias", aliases + 1));
    // [MQTT-3.3.2-9]
    assert_eq!(sender.closed(), Some(0x94));
}

#[test]
fn malformed_publishes_end_the_connection() {
    let server = Broker::start();
    let bad_topic = |topic: &[u8]| {
        let mut body = Vec::new();
        put_string(&mut body, topic);
        body
    };
    for version in BOTH {
        let rows = [
            ("[MQTT-3.3.2-2] a wildcard", 0x30, bad_topic(b"a/+")),
            ("[MQTT-3.3.2-2] a wildcard", 0x30, bad_topic(b"#")),
            ("[MQTT-1.5.3-2] a NUL", 0x30, bad_topic(b"a\0b")),
            ("[MQTT-1.5.3-1] not UTF-8", 0x30, bad_topic(b"a\xffb")),
            ("[MQTT-4.7.3-1] no topic", 0x30, bad_topic(b"")),
            (
                "[MQTT-3.3.1-4] QoS 3",
                0x36,
                [bad_topic(b"a"), vec![0, 1]].concat(),
            ),
            (
                "[MQTT-2.3.1-1] packet id 0",
                0x32,
                [bad_topic(b"a"), vec![0, 0]].concat(),
            ),
            ("[MQTT-3.3.1-2] DUP with QoS 0", 0x38, bad_topic(b"a")),
        ];
        for (clause, first, mut body) in rows {
            if version == Version::V5 {
                body.push(0); // no properties
            }
            let mut client = Connect::new(version, "bad").to(server.address());
            client.send(&frame(first, &body));
            let code = client.closed();
            match version {
                Version::V5 => assert!(code.is_some_and(|c| c >= 0x80), "{clause}: {code:?}"),
                _ => assert_eq!(code, None, "{clause}"),
            }
        }
    }
}

#[test]
fn reserved_flags_and_unknown_packets_end_the_connection() {
    let server = Broker::start();
    for version in BOTH {
        for bytes in [
            &[0xC1, 0][..],                        // PINGREQ with a flag
            &[0x00, 0],                            // type 0
            &[0x80, 5, 0, 1, 0, 0, 0],             // SUBSCRIBE without its flag
            &[0x20, 2, 0, 0],                      // CONNACK is the server's
            &[0xD0, 0],                            // PINGRESP is the server's
            &[0x30, 0xFF, 0xFF, 0xFF, 0xFF, 0x7F], // five bytes of length
        ] {
            let mut client = Connect::new(version, "bad").to(server.address());
            client.send(bytes);
            client.closed();
        }
    }
}

#[test]
fn an_acknowledgement_of_an_unknown_packet_id_is_ignored() {
    let server = Broker::start();
    for version in BOTH {
        let mut client = Connect::new(version, "a").to(server.address());
        for (first, answer) in [(0x40, false), (0x50, true), (0x62, true), (0x70, false)] {
            client.send(&frame(first, &77_u16.to_be_bytes()));
            match (first, answer.then(|| client.packet())) {
                (0x50, Some(Packet::PubRel { id: 77, code, .. }))
                | (0x62, Some(Packet::PubComp { id: 77, code, .. })) => {
                    // [MQTT-4.3.3-11]
                    let expected = if version == Version::V5 { 0x92 } else { 0 };
                    assert_eq!(code, expected, "{first:#x}");
                }
                (_, None) => client.ping(),
                other => panic!("{other:?}"),
            }
        }
    }
}

#[test]
fn messages_of_a_client_that_disconnects_at_once_are_delivered() {
    let server = Broker::with(ONE_LANE);
    let mut receiver = Connect::v5("r").to(server.address());
    receiver.subscribe("last/words", 0);
    for n in 0..20 {
        let mut sender = Connect::new(BOTH[n % 2], "s").to(server.address());
        sender.publish(&Message::new("last/words", n.to_string()));
        sender.disconnect(0);
        assert_eq!(receiver.message().text(), n.to_string());
    }
}

#[test]
fn a_repeated_message_of_qos_2_is_delivered_once() {
    let server = Broker::with(ONE_LANE);
    for version in BOTH {
        let mut receiver = Connect::v5("r").to(server.address());
        receiver.subscribe("exactly/once", 2);
        let mut sender = Connect::new(version, "s").to(server.address());
        let mut message = Message::new("exactly/once", "x").qos(2);
        message.id = sender.packet_id();
        for dup in [false, true, true] {
            message.dup = dup;
            sender.send(&message.bytes(version));
            assert_eq!(sender.pubrec(message.id).0, 0);
        }
        // [MQTT-4.3.3-10]
        sender.send(&frame(0x62, &message.id.to_be_bytes()));
        assert!(matches!(sender.packet(), Packet::PubComp { code: 0, .. }));
        sender.publish(&Message::new("exactly/once", "end").qos(2));
        assert_eq!(receiver.messages_until("end").len(), 1);
    }
}
