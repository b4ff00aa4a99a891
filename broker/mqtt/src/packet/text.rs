//! Control characters. A string must not have U+0000 [3.1.1 MQTT-1.5.3-2, 5.0 MQTT-1.5.4-2]. It should not have
//! U+0001 to U+001F or U+007F to U+009F, and a receiver may refuse them (3.1.1 1.5.3, 5.0 1.5.4). The server refuses
//! them, since they end up in terminals and logs.

/// Whether the byte is an ASCII character other than a control character.
#[inline]
pub(super) fn is_printable(byte: u8) -> bool {
    matches!(byte, 0x20..=0x7E)
}

/// The first control character, U+0000 included, and its byte offset.
pub(super) fn first_control(text: &str) -> Option<(usize, char)> {
    // This loop passes nearly all strings. It has no early exit, so that the compiler can vectorise it.
    if text
        .bytes()
        .fold(true, |all, byte| all & is_printable(byte))
    {
        return None;
    }
    text.char_indices().find(|(_, c)| c.is_control())
}
