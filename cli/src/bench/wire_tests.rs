#![allow(clippy::unwrap_used, clippy::expect_used)]
use super::*;
use proptest::prelude::*;

const STAMP: PayloadStamp = PayloadStamp {
    at: 0x0102_0304_0506_0708,
    stream: 9,
    seq: 77,
};

fn one(version: MqttVersion, bytes: &[u8]) -> (ServerPacket<'_>, usize) {
    next_packet(version, bytes).unwrap().unwrap()
}

#[test]
fn connect_bytes_are_those_of_the_standard() {
    assert_eq!(
        connect(MqttVersion::V3, "ab", None),
        *b"\x10\x0e\x00\x04MQTT\x04\x02\xff\xff\x00\x02ab"
    );
    let login = ("u".to_owned(), "p".to_owned());
    assert_eq!(
        connect(MqttVersion::V5, "a", Some(&login)),
        *b"\x10\x14\x00\x04MQTT\x05\xc2\xff\xff\x00\x00\x01a\x00\x01u\x00\x01p"
    );
}

#[test]
fn subscribe_names_each_filter_with_its_qos() {
    let filters = ["a/b".to_owned(), "c".to_owned()];
    assert_eq!(
        subscribe(MqttVersion::V3, 7, &filters, 1),
        *b"\x82\x0c\x00\x07\x00\x03a/b\x01\x00\x01c\x01"
    );
    assert_eq!(
        subscribe(MqttVersion::V5, 7, &filters, 0)[..5],
        *b"\x82\x0d\x00\x07\x00"
    );
}

#[test]
fn a_patched_template_reads_back() {
    for version in [MqttVersion::V3, MqttVersion::V5] {
        for qos in [0, 1] {
            let mut out = Vec::new();
            let template = PublishTemplate::new(version, "rooms/1/chat", qos, 300);
            template.append(&mut out, 513, STAMP);
            template.append(&mut out, 514, PayloadStamp { seq: 78, ..STAMP });
            let (packet, used) = one(version, &out);
            let ServerPacket::Publish { id, payload } = packet else {
                panic!("no publish: {packet:?}")
            };
            assert_eq!(id, (qos == 1).then_some(513));
            assert_eq!(payload.len(), 300);
            assert_eq!(PayloadStamp::read(payload), Some(STAMP));
            let (packet, rest) = one(version, &out[used..]);
            assert!(matches!(packet, ServerPacket::Publish { payload, .. }
                if PayloadStamp::read(payload).unwrap().seq == 78));
            assert_eq!(used + rest, out.len());
        }
    }
}

#[test]
fn a_payload_below_the_stamp_is_filled_up_and_read_as_none_when_cut() {
    let mut out = Vec::new();
    PublishTemplate::new(MqttVersion::V3, "t", 0, 1).append(&mut out, 0, STAMP);
    assert_eq!(out.len(), 2 + 3 + STAMP_BYTES);
    assert_eq!(PayloadStamp::read(&[0; STAMP_BYTES - 1]), None);
}

#[test]
fn publish_properties_are_skipped() {
    let mut frame = vec![
        0x32, 0, 0, 1, b't', 0, 5, 9, 0x26, 0, 1, b'f', 0, 3, b'a', b'n', b'n',
    ];
    frame.extend_from_slice(b"hello");
    frame[1] = u8::try_from(frame.len() - 2).unwrap();
    let (packet, used) = one(MqttVersion::V5, &frame);
    assert_eq!(used, frame.len());
    assert_eq!(
        packet,
        ServerPacket::Publish {
            id: Some(5),
            payload: b"hello"
        }
    );
}

#[test]
fn answers_are_understood() {
    assert_eq!(
        one(MqttVersion::V3, &[0x20, 2, 0, 5]).0,
        ServerPacket::ConnAck {
            code: 5,
            receive_maximum: u16::MAX
        }
    );
    // assigned client id, topic alias maximum, then receive maximum 20
    let v5 = *b"\x20\x0d\x00\x00\x0a\x12\x00\x01x\x22\x00\x0a\x21\x00\x14";
    let v5 = {
        let mut v5 = v5.to_vec();
        v5[4] = u8::try_from(v5.len() - 5).unwrap();
        v5[1] = u8::try_from(v5.len() - 2).unwrap();
        v5
    };
    assert_eq!(
        one(MqttVersion::V5, &v5).0,
        ServerPacket::ConnAck {
            code: 0,
            receive_maximum: 20
        }
    );
    assert_eq!(
        one(MqttVersion::V3, &[0x90, 4, 0, 1, 0, 0x80]).0,
        ServerPacket::SubAck { codes: &[0, 0x80] }
    );
    assert_eq!(
        one(MqttVersion::V5, &[0x90, 4, 0, 1, 0, 0x87]).0,
        ServerPacket::SubAck { codes: &[0x87] }
    );
    assert_eq!(
        one(MqttVersion::V5, &[0x40, 3, 0, 1, 0x87]).0,
        ServerPacket::PubAck { refused: true }
    );
    assert_eq!(
        one(MqttVersion::V5, &[0x40, 2, 0, 1]).0,
        ServerPacket::PubAck { refused: false }
    );
    assert_eq!(
        one(MqttVersion::V5, &[0xE0, 1, 0x8B]).0,
        ServerPacket::Disconnect { code: 0x8B }
    );
    assert_eq!(one(MqttVersion::V3, &[0xD0, 0]).0, ServerPacket::Other);
}

#[test]
fn an_endless_length_and_a_short_body_are_malformed() {
    assert_eq!(
        next_packet(MqttVersion::V3, &[0x30, 0x80, 0x80, 0x80, 0x80, 1]),
        Err(Malformed)
    );
    assert_eq!(
        next_packet(MqttVersion::V3, &[0x30, 2, 0, 9]),
        Err(Malformed)
    );
    assert_eq!(next_packet(MqttVersion::V3, &[0x20, 1, 0]), Err(Malformed));
}

proptest! {
    #[test]
    fn any_bytes_are_read_without_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..200), v5: bool) {
        let version = if v5 { MqttVersion::V5 } else { MqttVersion::V3 };
        let mut rest = &bytes[..];
        while let Ok(Some((_, used))) = next_packet(version, rest) {
            prop_assert!(used >= 2 && used <= rest.len());
            rest = &rest[used..];
        }
    }

    #[test]
    fn a_cut_packet_asks_for_more(payload in 16usize..400, cut in 0usize..400) {
        let mut out = Vec::new();
        PublishTemplate::new(MqttVersion::V5, "rooms/x", 1, payload).append(&mut out, 3, STAMP);
        let cut = cut % out.len();
        prop_assert_eq!(next_packet(MqttVersion::V5, &out[..cut]), Ok(None));
    }
}
