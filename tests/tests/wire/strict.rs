//! Packets that no connected client may send, and those that only clients of 3.1 may.

use roommq_tests::broker::Broker;
use roommq_tests::wire::{
    BOTH, Client, Connect, Message, Packet, Subscribe, Value, Version, frame, property,
};

/// The code of the server's DISCONNECT, which only 5.0 has.
fn told(version: Version, code: u8) -> Option<u8> {
    (version == Version::V5).then_some(code)
}

/// The packet id of the next packet, which must be a PUBLISH. It is not acknowledged.
fn unacknowledged(client: &mut Client) -> [u8; 2] {
    match client.packet() {
        Packet::Publish(message) => message.id.to_be_bytes(),
        other => panic!("instead of a message came {other:?}"),
    }
}

/// 4.3: [3.1.1 MQTT-4.8.0-1], [5.0 MQTT-4.13.1-1].
#[test]
fn an_acknowledgement_of_the_wrong_kind_ends_the_connection() {
    const PUBACK: u8 = 0x40;
    const PUBREC: u8 = 0x50;
    const PUBCOMP: u8 = 0x70;
    let server = Broker::start();
    let mut watcher = Connect::v5("watcher").to(server.address());
    watcher.subscribe("will", 0);
    let mut sender = Connect::v5("sender").to(server.address());
    for version in BOTH {
        for (qos, wrong) in [(1, PUBREC), (1, PUBCOMP), (2, PUBACK), (2, PUBCOMP)] {
            let connect = Connect::new(version, "mixed up").will(Message::new("will", "gone"));
            let mut client = connect.to(server.address());
            client.subscribe("t", 2);
            sender.publish(&Message::new("t", "x").qos(qos));
            let id = unacknowledged(&mut client);
            client.send(&frame(wrong, &id));
            let code = told(version, 0x82);
            assert_eq!(client.closed(), code, "{version:?} QoS {qos}: {wrong:#x}");
            assert_eq!(watcher.message().text(), "gone");
        }
        let mut client = Connect::new(version, "too early").to(server.address());
        client.subscribe("t", 2);
        sender.publish(&Message::new("t", "x").qos(2));
        let id = unacknowledged(&mut client);
        // PUBREC may be repeated. The server ignores an acknowledgement that it does not expect.
        for packet in [PUBREC, PUBREC] {
            client.send(&frame(packet, &id));
            assert!(matches!(client.packet(), Packet::PubRel { code: 0, .. }));
        }
        client.send(&frame(PUBACK, &[0xFF, 0xFF]));
        client.send(&frame(PUBCOMP, &[0xFF, 0xFF]));
        client.ping();
        client.send(&frame(PUBACK, &id));
        assert_eq!(client.closed(), told(version, 0x82), "{version:?}");
    }
}

/// [MQTT-4.7.3-1], and 3.1.1 1.5.3, 5.0 1.5.4: malformed, like a null character.
#[test]
fn empty_filters_and_control_characters_end_the_connection() {
    let server = Broker::start();
    for version in BOTH {
        let properties: &[u8] = if version == Version::V5 { &[0] } else { &[] };
        let empty = [&[0, 9], properties, &[0, 1, b'a', 0, 0]].concat();
        for bytes in [
            Subscribe::to("", 0).bytes(9, version),
            Subscribe::to("a", 0).and("", 0).bytes(9, version),
            Subscribe::to("a\u{1}", 0).bytes(9, version),
            frame(0xA2, &empty),
            Message::new("a/\u{1b}[2J", "x").bytes(version),
            Message::new("a/\u{9f}", "x").bytes(version),
        ] {
            let mut client = Connect::new(version, "a").to(server.address());
            client.send(&bytes);
            let code = told(version, 0x81);
            assert_eq!(client.closed(), code, "{version:?}: {bytes:02x?}");
        }
    }
    let mut client = Connect::v5("a").to(server.address());
    let nowhere = Value::Text(String::new());
    client.start_publish(&Message::new("a", "x").property(property::RESPONSE_TOPIC, nowhere));
    assert_eq!(client.closed(), Some(0x81));
}

/// 3.1 2.1 has DUP on requests, and 3.1.1 reserves the bit [MQTT-3.6.1-1, MQTT-3.8.1-1, MQTT-3.10.1-1].
#[test]
fn a_3_1_client_may_repeat_its_requests() {
    let server = Broker::start();
    let mut client = Connect::new(Version::V31, "a").to(server.address());
    client.send(b"\x8a\x06\x00\x07\x00\x01t\x00");
    assert!(matches!(client.packet(), Packet::SubAck { id: 7, .. }));
    let id = client.start_publish(&Message::new("t", "x").qos(2));
    client.pubrec(id);
    assert_eq!(client.message().text(), "x");
    client.send(&frame(0x6A, &id.to_be_bytes()));
    assert!(matches!(client.packet(), Packet::PubComp { .. }));
    client.send(b"\xaa\x05\x00\x08\x00\x01t");
    assert!(matches!(client.packet(), Packet::UnsubAck { id: 8, .. }));
    client.ping();

    // 3.1 3.1: a client id has at least one character, and the lowest connect flag no meaning.
    Connect::new(Version::V31, "").refused(server.address(), 2);
    let mut bytes = Connect::new(Version::V31, "b").bytes();
    bytes[11] |= 1;
    let mut client = Client::open(server.address(), Version::V31);
    client.send(&bytes);
    assert!(matches!(client.packet(), Packet::ConnAck { code: 0, .. }));
}

/// [MQTT-3.1.2-24]: the client would wait for its CONNACK for ever. The session's current client is not affected.
#[test]
fn a_client_too_small_for_connack_is_closed() {
    let server = Broker::start();
    let mut before = Connect::v5("a").to(server.address());
    let mut client = Client::open(server.address(), Version::V5);
    let most = Value::Four(15);
    let connect = Connect::v5("a").property(property::MAXIMUM_PACKET_SIZE, most);
    client.send(&connect.bytes());
    assert_eq!(client.raw_until_closed(), b"");
    server.log().line_with("maximum packet size");
    before.ping();
    let most = Value::Four(16);
    let connect = Connect::v5("a").property(property::MAXIMUM_PACKET_SIZE, most);
    connect.to(server.address()).ping();
}

/// 3.14.2.2.2: the DISCONNECT is a protocol error, so the will is sent [MQTT-3.1.2-8].
#[test]
fn disconnect_cannot_extend_a_session_with_expiry_0() {
    let server = Broker::start();
    let mut watcher = Connect::v5("watcher").to(server.address());
    watcher.subscribe("will", 0);
    let none = Value::Four(0);
    for connect in [
        Connect::v5("a"),
        Connect::v5("a").property(property::SESSION_EXPIRY, none),
    ] {
        let connect = connect.will(Message::new("will", "gone"));
        let mut client = connect.to(server.address());
        client.send(b"\xe0\x07\x00\x05\x11\x00\x00\x00\x01");
        assert_eq!(client.closed(), Some(0x82));
        assert_eq!(watcher.message().text(), "gone");
    }
}
