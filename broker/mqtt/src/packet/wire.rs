//! The data types of the wire (1.5) as our own encoder writes them.

use bytes::BufMut;

/// The most bytes that a string or binary data may have: its length has 16 bits.
pub(super) const LONGEST: usize = 65_535;

/// `text` as it goes out: cut, at a character, where it is longer than the wire can say.
pub(super) fn text(text: &str) -> &[u8] {
    &text.as_bytes()[..text.floor_char_boundary(LONGEST)]
}

/// `bytes` as they go out: cut where they are longer than the wire can say.
pub(super) fn binary(bytes: &[u8]) -> &[u8] {
    &bytes[..bytes.len().min(LONGEST)]
}

/// Bytes that `value` takes as a Variable Byte Integer (1.5.5).
pub(super) fn variable_len(value: usize) -> usize {
    match value {
        0..=0x7F => 1,
        0x80..=0x3FFF => 2,
        0x4000..=0x1F_FFFF => 3,
        0x20_0000..=0x0FFF_FFFF => 4,
        _ => 5,
    }
}

/// Writes a Variable Byte Integer in the fewest bytes [5.0 MQTT-1.5.5-1]. Above 268,435,455 it is none, and the packet is
/// larger than any that is sent ([`LARGEST_PACKET`](super::LARGEST_PACKET)).
pub(super) fn put_variable(out: &mut impl BufMut, mut value: usize) {
    while value > 0x7F {
        out.put_u8(value.to_le_bytes()[0] | 0x80);
        value >>= 7;
    }
    out.put_u8(value.to_le_bytes()[0]);
}

/// Writes a 16-bit length and then `bytes`, which came through [`text`] or [`binary`].
pub(super) fn put_binary(out: &mut Vec<u8>, bytes: &[u8]) {
    let len = u16::try_from(bytes.len()).unwrap_or(u16::MAX);
    out.extend_from_slice(&len.to_be_bytes());
    out.extend_from_slice(bytes);
}
