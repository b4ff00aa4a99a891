//! Control characters: U+0000, which no string may have [3.1.1 MQTT-1.5.3-2, 5.0 MQTT-1.5.4-2], and the others,
//! U+0001 to U+001F and U+007F to U+009F, which none should have and a receiver may refuse (3.1.1 1.5.3, 5.0 1.5.4).
//! We do: they end up in terminals and logs.

/// Whether the byte is an ASCII character and no control character.
#[inline]
pub(super) fn is_printable(byte: u8) -> bool {
    matches!(byte, 0x20..=0x7E)
}

/// The first control character, U+0000 included, and at which byte it stands.
pub(super) fn first_control(text: &str) -> Option<(usize, char)> {
    // Nearly all strings are through after this loop, which has no way out and takes many bytes at a time.
    if text
        .bytes()
        .fold(true, |all, byte| all & is_printable(byte))
    {
        return None;
    }
    text.char_indices().find(|(_, c)| c.is_control())
}
