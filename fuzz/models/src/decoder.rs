//! The packet reader of a connection that is past its CONNECT, or before it.

use bytes::Bytes;
use roommq_mqtt::packet::{Decoder, Packet, Version};

/// A decoder with this limit, past a CONNECT of `version` where there is one.
pub(super) fn decoder(version: Option<Version>, limit: u32) -> Decoder {
    let mut decoder = Decoder::new(limit);
    let connect: &[u8] = match version {
        None => return decoder,
        Some(Version::V3) => b"\x10\x0d\x00\x04MQTT\x04\x02\x00<\x00\x01a",
        Some(Version::V5) => b"\x10\x0e\x00\x04MQTT\x05\x02\x00<\x00\x00\x01a",
    };
    let read = decoder.decode(&mut Bytes::from_static(connect));
    assert!(matches!(read, Ok(Some(Packet::Connect(_)))), "{read:?}");
    decoder
}
