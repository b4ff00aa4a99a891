//! The one file that calls the codec library. What the library lets through wrongly is caught around it;
//! docs/decisions/0001-packet-codec.md says what that is, and how it was found.

use super::wire::{put_variable, variable_len};
use bytes::{BufMut, BytesMut};
use rmqtt_codec::error::DecodeError;
use rmqtt_codec::{v3, v5};
use tokio_util::codec::{Decoder, Encoder};

/// The library asks for this much room behind each packet; without it, it would allocate again.
const ROOM: usize = 5;

/// Reads one 3.1 or 3.1.1 packet from its first byte and the parts of its body.
pub(super) fn read_v3(first: u8, body: &[&[u8]]) -> Result<v3::Packet, DecodeError> {
    let packet = v3::Codec::new(0).decode(&mut frame(first, body))?;
    packet.map_or(Err(DecodeError::InvalidLength), |(packet, _)| Ok(packet))
}

/// Reads one 5.0 packet from its first byte and the parts of its body.
pub(super) fn read_v5(first: u8, body: &[&[u8]]) -> Result<v5::Packet, DecodeError> {
    let packet = v5::Codec::new(0, 0).decode(&mut frame(first, body))?;
    packet.map_or(Err(DecodeError::InvalidLength), |(packet, _)| Ok(packet))
}

/// The bytes of a 3.1.1 packet; none where it cannot be written (a string over 65,535 bytes).
pub(super) fn write_v3(packet: v3::Packet) -> Option<BytesMut> {
    let mut out = BytesMut::new();
    v3::Codec::new(0).encode(packet, &mut out).ok()?;
    Some(out)
}

/// The bytes of a 5.0 packet; none where it cannot be written (a string over 65,535 bytes).
pub(super) fn write_v5(packet: v5::Packet) -> Option<BytesMut> {
    let mut out = BytesMut::new();
    v5::Codec::new(0, 0).encode(packet, &mut out).ok()?;
    Some(out)
}

/// A copy of its own. What is read this way is rare and may be kept for long (filters, wills, names): a copy
/// does not hold the connection's whole read buffer in memory.
fn frame(first: u8, body: &[&[u8]]) -> BytesMut {
    let len = body.iter().map(|part| part.len()).sum();
    let mut frame = BytesMut::with_capacity(1 + variable_len(len) + len + ROOM);
    frame.put_u8(first);
    put_variable(&mut frame, len);
    for part in body {
        frame.extend_from_slice(part);
    }
    frame
}
