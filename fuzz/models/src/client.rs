//! A client's view of what the broker sends: packets read by the codec library, which shares no code with ours.

use bytes::BytesMut;
use rmqtt_codec::{v3, v5};
use roommq_mqtt::packet::Version;
use tokio_util::codec::Decoder;

/// A packet in either version.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Received {
    V3(v3::Packet),
    V5(v5::Packet),
}

/// The one packet that `bytes` are; an error where a client would hang up.
pub(super) fn receive_one(version: Version, bytes: &[u8]) -> Result<Received, String> {
    let mut bytes = BytesMut::from(bytes);
    let read = match version {
        Version::V3 => v3::Codec::new(0)
            .decode(&mut bytes)
            .map(|p| p.map(|(packet, _)| Received::V3(packet))),
        Version::V5 => v5::Codec::new(0, 0)
            .decode(&mut bytes)
            .map(|p| p.map(|(packet, _)| Received::V5(packet))),
    };
    let packet = read.map_err(|error| error.to_string())?;
    assert!(bytes.is_empty(), "{} bytes after {packet:?}", bytes.len());
    packet.ok_or_else(|| "not whole".to_owned())
}

/// Length of the packet at the front of `bytes`, fixed header included; none while the header is not whole.
/// Written a second time, plainly, to check the broker's own.
pub(super) fn announced(bytes: &[u8]) -> Option<usize> {
    let (mut at, mut remaining, mut scale) = (1, 0, 1);
    loop {
        let byte = usize::from(*bytes.get(at)?);
        remaining += byte % 128 * scale;
        (at, scale) = (at + 1, scale * 128);
        if byte < 128 {
            return Some(at + remaining);
        }
        if at > 4 {
            return None;
        }
    }
}
