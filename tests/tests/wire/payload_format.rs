//! A payload that is declared as UTF-8 (3.3.2.3.2, 3.1.3.2.3).

use crate::ONE_LANE;
use roommq_tests::broker::Broker;
use roommq_tests::wire::{Connect, Message, Subscribe, Value, property};

const TEXT: (u8, Value) = (property::PAYLOAD_FORMAT, Value::Byte(1));

fn said_to_be_text(payload: &[u8]) -> Message {
    Message::new("t", payload).property(TEXT.0, TEXT.1)
}

#[test]
fn a_payload_declared_as_utf_8_must_be_valid() {
    let server = Broker::with(ONE_LANE);
    let mut subscriber = Connect::v5("s").to(server.address());
    subscriber.subscribe("t", 0);
    let mut client = Connect::v5("c").to(server.address());
    client.subscribe("inbox/me/error", 0);
    for bad in [b"\xff".as_slice(), b"abc\xc3", b"\xed\xa0\x80", b"\xc0\x80"] {
        for qos in [1, 2, 2] {
            let (code, properties) = client.publish(&said_to_be_text(bad).qos(qos));
            assert_eq!(code, 0x99, "{bad:?}");
            assert!(properties.reason().contains("UTF-8"), "{properties:?}");
        }
    }
    // QoS 0 has no acknowledgement, and the connection stays open.
    client.publish(&said_to_be_text(b"abc\xff"));
    let told = client.message();
    assert_eq!(told.topic, "inbox/me/error");
    assert_eq!(
        (told.json()["code"].as_u64(), told.field("error")),
        (Some(0x99), "invalid".to_owned())
    );
    assert!(told.field("reason").contains("byte 3"), "{}", told.text());

    for good in [b"".as_slice(), "ä\0\u{feff}\u{10ffff}".as_bytes()] {
        client.publish(&said_to_be_text(good).qos(1));
        let message = subscriber.message();
        assert_eq!(message.payload, good, "and nothing came before");
        // [MQTT-3.3.2-4]
        assert_eq!(message.properties.number(property::PAYLOAD_FORMAT), Some(1));
    }
    // Without a declaration, or as bytes, the payload is not checked.
    let mut old = Connect::v311("o").to(server.address());
    old.publish(&Message::new("t", b"\xfe").qos(1));
    assert_eq!(subscriber.message().payload, b"\xfe");
}

/// [MQTT-3.3.2-4]: a receiver can tell 0 from an absent property.
#[test]
fn the_payload_format_of_bytes_is_forwarded() {
    let bytes = || {
        let message = Message::new("t", b"\xff");
        message.property(property::PAYLOAD_FORMAT, Value::Byte(0))
    };
    let format = |message: Message| message.properties.number(property::PAYLOAD_FORMAT);
    let server = Broker::with(ONE_LANE);
    let mut subscriber = Connect::v5("s").to(server.address());
    subscriber.subscribe("t", 0);
    let mut client = Connect::v5("c").to(server.address());
    client.publish(&bytes().qos(1));
    assert_eq!(format(subscriber.message()), Some(0), "live");
    client.publish(&Message::new("t", b"\xff").qos(1));
    assert_eq!(format(subscriber.message()), None, "without a declaration");
    drop(Connect::v5("w").will(bytes()).to(server.address()));
    assert_eq!(format(subscriber.message()), Some(0), "a will");
    client.publish(&bytes().retained().qos(1));
    let mut late = Connect::v5("l").to(server.address());
    late.subscribe("t", 0);
    assert_eq!(format(late.message()), Some(0), "retained");
}

#[test]
fn a_will_payload_declared_as_utf_8_must_be_valid() {
    let server = Broker::start();
    let told = Connect::v5("a")
        .will(said_to_be_text(b"\xff"))
        .refused(server.address(), 0x99);
    assert!(told.reason().starts_with("will: "), "{told:?}");
    let text = Connect::v5("a").will(said_to_be_text(b"text"));
    text.to(server.address()).ping();
    let bytes = Connect::v5("a").will(Message::new("t", b"\xff"));
    bytes.to(server.address()).ping();
}

/// [MQTT-3.1.2-29]: reason strings and user properties only on PUBLISH, CONNACK and DISCONNECT.
#[test]
fn without_problem_information_answers_have_codes_only() {
    let server = Broker::start();
    let silent = |id| {
        let no = Value::Byte(0);
        Connect::v5(id).property(property::REQUEST_PROBLEM_INFORMATION, no)
    };
    let mut client = silent("a").to(server.address());
    for qos in [1, 2] {
        let (code, properties) = client.publish(&said_to_be_text(b"\xff").qos(qos));
        assert_eq!((code, properties.0.len()), (0x99, 0), "{properties:?}");
    }
    let (codes, properties) = client.subscribe_with(&Subscribe::to("inbox/eve/#", 0));
    assert_eq!((codes, properties.0.len()), (vec![0x87], 0));
    client.unsubscribe("none");
    // Messages keep their user properties.
    client.subscribe("t", 0);
    client.publish(&Message::new("t", "x").user("k", "v").qos(1));
    assert_eq!(client.message().properties.user("k"), Some("v"));
    // A refusing CONNACK may have a reason string.
    let refused = silent("b")
        .will(said_to_be_text(b"\xff"))
        .refused(server.address(), 0x99);
    assert!(!refused.reason().is_empty());
}
