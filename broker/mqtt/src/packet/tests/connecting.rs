//! What concerns more than one packet: the first, the second CONNECT, sizes, and who gets a CONNACK.

use super::{MOST, connected, decode_one};
use crate::packet::{Decoder, ReasonCode, Version};
use bytes::Bytes;

const CONNECT: &[u8] = b"\x10\x0d\x00\x04MQTT\x04\x02\x00<\x00\x01a";

/// [MQTT-3.1.0-1], known from the first byte.
#[test]
fn the_first_packet_is_connect() {
    for first in [&b"\x30"[..], b"\xc0\x00", b"GET / HTTP/1.1\r\n", b"\x82"] {
        let error = Decoder::new(MOST)
            .decode(&mut Bytes::copy_from_slice(first))
            .unwrap_err();
        assert_eq!(error.reason(), ReasonCode::ProtocolError, "{first:?}");
        assert_eq!(error.connack_version(), None);
    }
}

/// [MQTT-3.1.0-2]
#[test]
fn there_is_no_second_connect() {
    for version in [Version::V3, Version::V5] {
        let error = connected(version)
            .decode(&mut Bytes::from_static(CONNECT))
            .unwrap_err();
        assert_eq!(error.reason(), ReasonCode::ProtocolError);
    }
}

#[test]
fn a_packet_too_large_is_refused_by_its_header() {
    let mut decoder = connected(Version::V5);
    let mut announced = Bytes::from_static(b"\x30\xff\xff\xff\x7f");
    let error = decoder.decode(&mut announced).unwrap_err();
    assert_eq!(error.reason(), ReasonCode::PacketTooLarge);
    assert_eq!(
        error.to_string(),
        "a packet of 268435460 bytes; the limit is 1048576"
    );
}

#[test]
fn the_limit_counts_the_whole_packet() {
    let bytes = Bytes::from_static(CONNECT);
    let most = u32::try_from(CONNECT.len()).unwrap();
    assert!(Decoder::new(most).decode(&mut bytes.clone()).is_ok());
    assert!(Decoder::new(most - 1).decode(&mut bytes.clone()).is_err());
}

#[test]
fn packets_follow_each_other() {
    let mut bytes = Bytes::from_static(b"\xc0\x00\x30\x03\x00\x01a\xc0\x00\xe0");
    let mut decoder = connected(Version::V3);
    for _ in 0..3 {
        assert!(decoder.decode(&mut bytes).unwrap().is_some());
    }
    assert_eq!(decoder.decode(&mut bytes), Ok(None));
    assert_eq!(&bytes[..], b"\xe0", "the rest is kept");
}

#[test]
fn topic_and_payload_are_not_copied() {
    let mut bytes = Bytes::from_static(b"\x30\x05\x00\x01ahi");
    let inside = bytes.as_ptr_range();
    let Ok(Some(super::Packet::Publish(publish))) = connected(Version::V3).decode(&mut bytes)
    else {
        panic!("not a PUBLISH");
    };
    assert!(inside.contains(&publish.payload.as_ptr()));
    assert!(inside.contains(&publish.topic.unwrap().as_str().as_ptr()));
}

/// [MQTT-3.1.2-2], [3.1.1 MQTT-3.1.3-8]; 5.0 4.13.1 allows a CONNACK for what is malformed, 3.1.1 has no code for it.
#[test]
fn who_gets_a_connack() {
    let unsupported = ReasonCode::UnsupportedProtocolVersion;
    let cases: &[(&[u8], ReasonCode, Option<Version>)] = &[
        (
            b"\x10\x0d\x00\x04MQTT\x03\x02\x00<\x00\x01a",
            unsupported,
            Some(Version::V3),
        ),
        (
            b"\x10\x0d\x00\x04MQTT\x06\x02\x00<\x00\x01a",
            unsupported,
            Some(Version::V5),
        ),
        // A bridge's bit, which belongs to level 4 here.
        (
            b"\x10\x0d\x00\x04MQTT\x83\x02\x00<\x00\x01a",
            unsupported,
            Some(Version::V3),
        ),
        (
            b"\x10\x0e\x00\x04MQTT\x85\x02\x00<\x00\x00\x01a",
            unsupported,
            Some(Version::V5),
        ),
        (
            b"\x10\x0d\x00\x04XQTT\x04\x02\x00<\x00\x01a",
            unsupported,
            None,
        ),
        (
            b"\x10\x0c\x00\x04MQTT\x04\x00\x00<\x00\x00",
            ReasonCode::ClientIdentifierNotValid,
            Some(Version::V3),
        ),
        (
            b"\x10\x0d\x00\x04MQTT\x04\x03\x00<\x00\x01a",
            ReasonCode::MalformedPacket,
            None,
        ),
        (
            b"\x10\x0e\x00\x04MQTT\x05\x03\x00<\x00\x00\x01a",
            ReasonCode::MalformedPacket,
            Some(Version::V5),
        ),
    ];
    for (bytes, reason, connack) in cases {
        let error = decode_one(Version::V3, bytes).unwrap_err();
        assert_eq!(
            (error.reason(), error.connack_version()),
            (*reason, *connack),
            "{error}"
        );
    }
}

/// A decoder after this CONNECT of 3.1.
fn connected_by_3_1(connect: &'static [u8]) -> Decoder {
    let mut decoder = Decoder::new(MOST);
    let packet = decoder.decode(&mut Bytes::from_static(connect)).unwrap();
    assert!(matches!(packet, Some(super::Packet::Connect(_))));
    assert_eq!(decoder.version(), Some(Version::V3));
    decoder
}

/// 3.1 2.1, 3.6, 3.8, 3.10: what expects an answer has DUP where it is sent again; 3.1.1 reserves that bit
/// [3.1.1 MQTT-3.6.1-1, MQTT-3.8.1-1, MQTT-3.10.1-1].
#[test]
fn what_a_3_1_client_sends_again_says_so() {
    let connect = b"\x10\x0f\x00\x06MQIsdp\x03\x02\x00<\x00\x01a";
    let packets: [(&[u8], &[u8]); 3] = [
        (b"\x62\x02\x00\x01", b"\x6a\x02\x00\x01"),
        (
            b"\x82\x06\x00\x01\x00\x01a\x01",
            b"\x8a\x06\x00\x01\x00\x01a\x01",
        ),
        (b"\xa2\x05\x00\x01\x00\x01a", b"\xaa\x05\x00\x01\x00\x01a"),
    ];
    for (once, again) in packets {
        let read = |bytes| {
            let mut bytes = Bytes::from_static(bytes);
            connected_by_3_1(connect).decode(&mut bytes).unwrap()
        };
        assert_eq!(read(again), read(once), "{again:?}");
        for version in [Version::V3, Version::V5] {
            let error = decode_one(version, again).unwrap_err();
            assert_eq!(error.reason(), ReasonCode::MalformedPacket, "{again:?}");
        }
    }
    // The other flags are as they are; what expects no answer is never sent again.
    for wrong in [
        &b"\x68\x02\x00\x01"[..],
        b"\x6b\x02\x00\x01",
        b"\x48\x02\x00\x01",
        b"\xc8\x00",
        b"\xe8\x00",
    ] {
        let mut bytes = Bytes::from_static(wrong);
        let error = connected_by_3_1(connect).decode(&mut bytes).unwrap_err();
        assert_eq!(error.reason(), ReasonCode::MalformedPacket, "{wrong:?}");
    }
}

/// 3.1 3.1: the header's flags and the lowest connect flag are not used; a client id has 1 to 23 characters, of which we demand the one.
#[test]
fn what_3_1_says_of_connect() {
    for good in [
        &b"\x10\x0f\x00\x06MQIsdp\x03\x03\x00<\x00\x01a"[..],
        b"\x10\x16\x00\x06MQIsdp\x03\x07\x00<\x00\x01a\x00\x01w\x00\x02hi",
        b"\x1a\x0f\x00\x06MQIsdp\x03\x02\x00<\x00\x01a",
        b"\x10\x26\x00\x06MQIsdp\x03\x02\x00<\x00\x18aaaaaaaaaaaaaaaaaaaaaaaa",
    ] {
        connected_by_3_1(good);
    }
    for empty in [
        &b"\x10\x0e\x00\x06MQIsdp\x03\x02\x00<\x00\x00"[..],
        b"\x10\x0e\x00\x06MQIsdp\x03\x00\x00<\x00\x00",
    ] {
        let error = decode_one(Version::V3, empty).unwrap_err();
        assert_eq!(error.reason(), ReasonCode::ClientIdentifierNotValid);
        assert_eq!(error.connack_version(), Some(Version::V3));
        assert!(error.to_string().contains("1 to 23"), "{error}");
    }
}

/// mosquitto's bridges set the highest bit of the level.
#[test]
fn the_level_of_a_bridge_has_a_bit_of_its_own() {
    for (packet, at, bridges) in [
        (CONNECT, 8, true),
        (
            &b"\x10\x0f\x00\x06MQIsdp\x03\x02\x00<\x00\x01a"[..],
            10,
            true,
        ),
        (
            &b"\x10\x0e\x00\x04MQTT\x05\x02\x00<\x00\x00\x01a"[..],
            8,
            false,
        ),
    ] {
        let bridge = |bits: u8| {
            let mut bytes = packet.to_vec();
            bytes[at] |= bits;
            match Decoder::new(MOST).decode(&mut bytes.into()) {
                Ok(Some(crate::packet::Packet::Connect(connect))) => Some(connect.is_bridge()),
                _ => None,
            }
        };
        assert_eq!(bridge(0), Some(false));
        assert_eq!(bridge(0x80), bridges.then_some(true));
        assert_eq!(bridge(0x40), None);
    }
}
