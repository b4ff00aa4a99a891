//! Writes the data types of the standard (1.5) for the encoders.

use bytes::BufMut;

/// The maximum bytes of a string or binary data, whose length field has 16 bits.
pub(super) const LONGEST: usize = 65_535;

/// The bytes of `text` that are sent: at most [`LONGEST`], cut between two characters.
pub(super) fn text(text: &str) -> &[u8] {
    &text.as_bytes()[..text.floor_char_boundary(LONGEST)]
}

/// The part of `bytes` that is sent: at most [`LONGEST`].
pub(super) fn binary(bytes: &[u8]) -> &[u8] {
    &bytes[..bytes.len().min(LONGEST)]
}

/// Bytes of `value` as a Variable Byte Integer (1.5.5).
pub(super) fn variable_len(value: usize) -> usize {
    match value {
        0..=0x7F => 1,
        0x80..=0x3FFF => 2,
        0x4000..=0x1F_FFFF => 3,
        0x20_0000..=0x0FFF_FFFF => 4,
        _ => 5,
    }
}

/// Writes a Variable Byte Integer in the fewest bytes [5.0 MQTT-1.5.5-1]. A value above 268,435,455 is invalid; its
/// packet is never sent, since it exceeds [`LARGEST_PACKET`](super::LARGEST_PACKET).
pub(super) fn put_variable(out: &mut impl BufMut, mut value: usize) {
    while value > 0x7F {
        out.put_u8(value.to_le_bytes()[0] | 0x80);
        value >>= 7;
    }
    out.put_u8(value.to_le_bytes()[0]);
}

/// Writes a 16-bit length and then `bytes`, which [`text`] or [`binary`] has cut.
pub(super) fn put_binary(out: &mut Vec<u8>, bytes: &[u8]) {
    let len = u16::try_from(bytes.len()).unwrap_or(u16::MAX);
    out.extend_from_slice(&len.to_be_bytes());
    out.extend_from_slice(bytes);
}
