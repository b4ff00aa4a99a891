//! One table of packets that must be taken, one of packets that must be refused; and what holds for all bytes.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod accepted;
mod connecting;
mod kept;
mod library;
mod reasons;
mod refused;
mod replies;
mod round_trip;
mod values;

use super::{DecodeError, Decoder, Packet, Version};
use bytes::Bytes;

const MOST: u32 = 1 << 20;

/// A decoder that has seen a CONNECT of `version`.
fn connected(version: Version) -> Decoder {
    let mut decoder = Decoder::new(MOST);
    let connect: &[u8] = match version {
        Version::V3 => b"\x10\x0d\x00\x04MQTT\x04\x02\x00<\x00\x01a",
        Version::V5 => b"\x10\x0e\x00\x04MQTT\x05\x02\x00<\x00\x00\x01a",
    };
    let packet = decoder.decode(&mut Bytes::from_static(connect)).unwrap();
    assert!(matches!(packet, Some(Packet::Connect(_))));
    assert_eq!(decoder.version(), Some(version));
    decoder
}

/// What a client of `version` gets for one packet.
fn decode_one(version: Version, bytes: &[u8]) -> Result<Option<Packet>, DecodeError> {
    let mut decoder = if bytes.first().is_some_and(|first| first >> 4 == 1) {
        Decoder::new(MOST)
    } else {
        connected(version)
    };
    let mut input = Bytes::copy_from_slice(bytes);
    let packet = decoder.decode(&mut input)?;
    if packet.is_some() {
        assert!(input.is_empty(), "bytes left behind");
    }
    Ok(packet)
}

#[test]
fn table_of_accepted() {
    for (name, clause, version, bytes, expected) in accepted::accepted() {
        match decode_one(version, bytes) {
            Ok(Some(packet)) => assert_eq!(packet, expected, "{name} [{clause}]"),
            other => panic!("{name} [{clause}]: {other:?}"),
        }
    }
}

#[test]
fn table_of_refused() {
    let mut wrong = Vec::new();
    for (name, clause, version, bytes, reason) in refused::REFUSED {
        match decode_one(*version, bytes) {
            Err(error) if error.reason() == *reason => {}
            other => wrong.push(format!("{name} [{clause}]: {other:?}, not {reason:?}")),
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Where a check names numbered statements, the one that its row is about is among them.
#[test]
fn refusals_name_their_clause() {
    let mut wrong = Vec::new();
    for (name, clause, version, bytes, _) in refused::REFUSED {
        let text = decode_one(*version, bytes).unwrap_err().to_string();
        if clause.starts_with("MQTT-") && text.contains("MQTT-") && !text.contains(clause) {
            wrong.push(format!("{name} [{clause}]: {text}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_accepted_packet_waits_for_its_last_byte() {
    for (name, clause, version, bytes, _) in accepted::accepted() {
        for len in 0..bytes.len() {
            let decoded = decode_one(version, &bytes[..len]);
            assert_eq!(decoded, Ok(None), "{name} [{clause}] cut at {len}");
        }
    }
}
