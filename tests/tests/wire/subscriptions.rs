//! SUBSCRIBE, UNSUBSCRIBE, filters.

use crate::ONE_LANE;
use roommq_tests::broker::Broker;
use roommq_tests::room;
use roommq_tests::wire::{BOTH, Connect, Message, Subscribe, Version, frame, property, put_string};

/// Options of a subscription (3.8.3.1).
const NO_LOCAL: u8 = 4;

#[test]
fn filters_match_as_the_standard_says() {
    // 4.7: filter, topic, whether it matches.
    const TABLE: [(&str, &str, bool); 18] = [
        ("sport/#", "sport", true),
        ("sport/#", "sport/tennis/p1", true),
        ("sport/+", "sport", false),
        ("sport/+", "sport/", true),
        ("sport/+", "sport/a/b", false),
        ("+", "/finance", false),
        ("+/+", "/finance", true),
        ("/+", "/finance", true),
        ("#", "/finance", true),
        ("+/tennis/#", "sport/tennis", true),
        ("sport/+/p1", "sport/tennis/p1", true),
        ("sport/+/p1", "sport/tennis/p2", false),
        ("sport", "Sport", false),
        ("sport", "/sport", false),
        ("sport/", "sport", false),
        ("a//b", "a//b", true),
        ("a/+/b", "a//b", true),
        ("ä/+", "ä/日", true),
    ];
    let server = Broker::with(ONE_LANE);
    for version in BOTH {
        let mut client = Connect::new(version, "a").to(server.address());
        client.subscribe("end", 0);
        for (filter, topic, matches) in TABLE {
            assert_eq!(client.subscribe(filter, 0), 0, "{filter}");
            client.publish(&Message::new(topic, "x"));
            client.publish(&Message::new("end", "end"));
            let mut got = client.messages_until("end");
            got.retain(|m| m.payload == b"x");
            assert_eq!(got.len(), usize::from(matches), "{filter} and {topic}");
            client.unsubscribe(filter);
            // `#` also matches the end. The client receives one copy, so no message is left.
        }
    }
}

#[test]
fn wildcards_do_not_match_topics_of_the_server() {
    let server = Broker::with(ONE_LANE);
    let mut client = Connect::v5("a").to(server.address());
    client.subscribe("#", 0);
    client.subscribe("+/own", 0);
    let mut sender = Connect::v5("s").to(server.address());
    sender.publish(&Message::new("$x/own", "hidden").retained());
    sender.publish(&Message::new("end/own", "end"));
    // [MQTT-4.7.2-1]
    assert_eq!(client.messages_until("end"), []);
    client.subscribe("+/own", 0);
    sender.publish(&Message::new("end/own", "end"));
    assert_eq!(client.messages_until("end"), []);
    // A filter that names the topic matches it.
    assert_eq!(client.subscribe("$x/+", 0), 0);
    assert_eq!(client.message().text(), "hidden");
}

#[test]
fn malformed_filters_are_refused() {
    let server = Broker::start();
    for filter in ["", "a/#/b", "a#", "a+/b", "+a", "#/", "a/b#"] {
        let subscribe = Subscribe::to(filter, 0);
        let mut client = Connect::v5("a").to(server.address());
        let id = client.packet_id();
        client.send(&subscribe.bytes(id, Version::V5));
        // [MQTT-4.7.1-1]: 0x8F in the SUBACK, or a close as for any malformed packet.
        match client.packet() {
            roommq_tests::wire::Packet::SubAck { codes, .. } => assert_eq!(codes, [0x8F]),
            roommq_tests::wire::Packet::Disconnect { code, .. } => assert!(code >= 0x80),
            other => panic!("{filter:?}: {other:?}"),
        }
        let mut client = Connect::v311("b").to(server.address());
        let id = client.packet_id();
        client.send(&subscribe.bytes(id, Version::V311));
        match client.poll(roommq_tests::PATIENCE) {
            Ok(roommq_tests::wire::Packet::SubAck { codes, .. }) => assert_eq!(codes, [0x80]),
            Err(roommq_tests::wire::Missing::Closed) => {}
            other => panic!("{filter:?}: {other:?}"),
        }
    }
}

#[test]
fn a_subscribe_without_filters_is_malformed() {
    let server = Broker::start();
    let mut client = Connect::v311("a").to(server.address());
    client.send(&frame(0x82, &[0, 1]));
    // [MQTT-3.8.3-3]
    assert_eq!(client.closed(), None);
}

#[test]
fn every_filter_has_its_code_in_order() {
    let server = Broker::start();
    for version in BOTH {
        let mut client = Connect::new(version, "a").to(server.address());
        let subscribe = Subscribe::to("a/one", 1)
            .and("rooms/bad name", 0)
            .and("b/two", 0)
            .and("+/three", 1);
        let refused = if version == Version::V5 { 0x8F } else { 0x80 };
        let (codes, _) = client.subscribe_with(&subscribe);
        // [MQTT-3.8.4-6]; an invalid room name is refused with 0x8F or 0x87.
        assert_eq!(codes.len(), 4);
        assert_eq!((codes[0], codes[2], codes[3]), (1, 0, 1));
        assert!(codes[1] == refused || codes[1] == 0x87, "{codes:02x?}");
    }
}

#[test]
fn overlapping_filters_give_one_copy_at_the_highest_qos_with_all_identifiers() {
    let server = Broker::with(ONE_LANE);
    for version in BOTH {
        let mut client = Connect::new(version, "a").to(server.address());
        let v5 = version == Version::V5;
        for (identifier, (filter, qos)) in
            (1..).zip([("lap/over", 0), ("lap/+", 1), ("#", 0), ("lap/#", 0)])
        {
            let subscribe = Subscribe::to(filter, qos);
            let subscribe = if v5 {
                subscribe.identifier(identifier)
            } else {
                subscribe
            };
            client.subscribe_with(&subscribe);
        }
        let mut sender = Connect::v311("s").to(server.address());
        sender.publish(&Message::new("lap/over", "x").qos(1));
        sender.publish(&Message::new("lap/end", "end"));
        let got = client.messages_until("end");
        // [MQTT-3.3.5-1]
        assert_eq!(got.len(), 1, "{version:?}: {got:#?}");
        assert_eq!(got[0].qos, 1);
        let mut identifiers = got[0].properties.numbers(property::SUBSCRIPTION_IDENTIFIER);
        identifiers.sort_unstable();
        // [MQTT-3.3.4-4]
        assert_eq!(identifiers, if v5 { vec![1, 2, 3, 4] } else { vec![] });
    }
}

#[test]
fn subscribing_again_replaces_the_subscription() {
    let server = Broker::with(ONE_LANE);
    let mut client = Connect::v5("a").to(server.address());
    client.subscribe_with(&Subscribe::to("again/and", 0).identifier(7));
    client.subscribe_with(&Subscribe::to("again/and", 1).identifier(9));
    let mut sender = Connect::v5("s").to(server.address());
    sender.publish(&Message::new("again/and", "x").qos(1));
    sender.publish(&Message::new("again/and", "end"));
    let got = client.messages_until("end");
    // [MQTT-3.8.4-3]
    assert_eq!(got.len(), 1);
    assert_eq!(got[0].qos, 1);
    assert_eq!(
        got[0].properties.numbers(property::SUBSCRIPTION_IDENTIFIER),
        [9]
    );
}

#[test]
fn unsubscribing_ends_delivery_and_each_filter_has_its_code() {
    let server = Broker::with(ONE_LANE);
    for version in BOTH {
        let mut client = Connect::new(version, "a").to(server.address());
        client.subscribe("un/sub", 0);
        client.subscribe("un/end", 0);
        let mut body = client.packet_id().to_be_bytes().to_vec();
        if version == Version::V5 {
            body.push(0);
        }
        put_string(&mut body, "un/sub");
        put_string(&mut body, "never/subscribed");
        client.send(&frame(0xA2, &body));
        let roommq_tests::wire::Packet::UnsubAck { codes, .. } = client.packet() else {
            panic!("not an UNSUBACK");
        };
        // [MQTT-3.11.3-1], [MQTT-3.11.3-2]
        let expected: &[u8] = if version == Version::V5 {
            &[0, 0x11]
        } else {
            &[]
        };
        assert_eq!(codes, expected);
        let mut sender = Connect::v5("s").to(server.address());
        sender.publish(&Message::new("un/sub", "x"));
        sender.publish(&Message::new("un/end", "end"));
        assert_eq!(client.messages_until("end"), []);
    }
}

#[test]
fn no_local_suppresses_own_messages() {
    let server = Broker::with(ONE_LANE);
    let mut client = Connect::v5("a").to(server.address());
    client.subscribe("local/talk", NO_LOCAL);
    client.publish(&Message::new("local/talk", "mine"));
    let mut other = Connect::v5("b").to(server.address());
    // The first is in the log before the second, since it was acknowledged.
    client.publish(&Message::new("local/talk", "mine too").qos(1));
    other.publish(&Message::new("local/talk", "end"));
    // [MQTT-3.8.3-3]
    assert_eq!(client.messages_until("end"), []);
}

#[test]
fn shared_subscriptions_are_refused_in_rooms() {
    let server = Broker::start();
    let mut client = Connect::v5("a").to(server.address());
    assert_eq!(client.subscribe("$share/group/rooms/a/#", 0), 0x9E);
    let mut client = Connect::v311("b").to(server.address());
    assert_eq!(client.subscribe("$share/group/rooms/a/b", 0), 0x80);
    // A shared subscription that spans rooms receives only topics outside.
    let mut member = Connect::v5("m").to(server.address());
    assert_eq!(member.subscribe("rooms/a/#", 0), 0);
    assert_eq!(member.subscribe("$share/group/#", 0), 0);
    member.publish(&Message::new("rooms/a", "room").qos(1));
    member.publish(&Message::new("outside", "end").qos(1));
    let texts: Vec<_> = room::said_until(&mut member, "end");
    assert_eq!(texts.iter().filter(|m| m.text() == "room").count(), 1);
}

#[test]
fn topics_outside_rooms_can_be_denied() {
    let server = Broker::with("[topics]\noutside_rooms = \"deny\"\n");
    let mut client = Connect::v5("a").to(server.address());
    assert_eq!(client.subscribe("home/lamp", 0), 0x87);
    assert_eq!(
        client.publish(&Message::new("home/lamp", "on").qos(1)).0,
        0x87
    );
    assert_eq!(client.subscribe("rooms/lobby/#", 0), 0);
    let mut client = Connect::v311("b").to(server.address());
    assert_eq!(client.subscribe("home/lamp", 0), 0x80);
}

#[test]
fn the_limit_on_bytes_of_filters_holds() {
    let server = Broker::with("[limits]\nsubscription_bytes = \"1KiB\"\n");
    let half = format!("a/{}", "b".repeat(510));
    for version in BOTH {
        let mut client = Connect::new(version, "a").to(server.address());
        let refused = if version == Version::V5 { 0x97 } else { 0x80 };
        assert_eq!(client.subscribe(&half, 0), 0);
        assert_eq!(client.subscribe(&format!("{half}c"), 0), refused);
        assert_eq!(client.subscribe(&half.replace('a', "c"), 0), 0);
        assert_eq!(client.subscribe(&half, 0), 0, "no more than before");
        assert_eq!(client.subscribe("a", 0), refused);
        client.unsubscribe(&half);
        assert_eq!(client.subscribe("a", 0), 0);
    }
}

#[test]
fn the_limit_on_filters_of_a_session_holds() {
    let server = Broker::with("[limits]\nsubscriptions = 2\n");
    let mut client = Connect::v5("a").to(server.address());
    assert_eq!(client.subscribe("a/1", 0), 0);
    assert_eq!(client.subscribe("a/2", 0), 0);
    assert_eq!(client.subscribe("a/3", 0), 0x97);
    // A repeated filter does not count twice.
    assert_eq!(client.subscribe("a/2", 1), 1);
    client.unsubscribe("a/1");
    assert_eq!(client.subscribe("a/3", 0), 0);
}
