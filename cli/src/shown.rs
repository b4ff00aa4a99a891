//! Makes text from the network safe for a terminal.

use jiff::{Timestamp, tz::TimeZone};
use std::borrow::Cow;

/// `text` with escapes in place of characters that control a terminal or change the reading order.
/// Line ends are escaped too: one message is one line.
pub(crate) fn line(text: &str) -> Cow<'_, str> {
    if !text.contains(is_unsafe) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len() + 8);
    for c in text.chars() {
        match c {
            '\t' => shown.push_str("\\t"),
            '\n' => shown.push_str("\\n"),
            '\r' => shown.push_str("\\r"),
            c if is_unsafe(c) => shown.extend(c.escape_unicode()),
            c => shown.push(c),
        }
    }
    Cow::Owned(shown)
}

/// Bytes as by [`line()`]. Bytes that are not UTF-8 become U+FFFD.
pub(crate) fn bytes(payload: &[u8]) -> String {
    line(&String::from_utf8_lossy(payload)).into_owned()
}

/// Whether a character is escaped: C0, DEL and C1 controls, line and paragraph separators, marks
/// that change the reading direction, and invisible characters. Joiners stay: emoji and several
/// scripts need them.
fn is_unsafe(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{200b}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}' | '\u{61c}')
}

/// The local time of day of an RFC 3339 time. Another text is only escaped.
pub(crate) fn clock(at: &str, zone: &TimeZone) -> String {
    match at.parse::<Timestamp>() {
        Ok(time) => time.to_zoned(zone.clone()).strftime("%H:%M:%S").to_string(),
        Err(_) => line(at).into_owned(),
    }
}

/// How long ago an RFC 3339 time was, in one unit: `12 s ago`. Another text is only escaped.
pub(crate) fn ago(since: &str, now: Timestamp) -> String {
    let Ok(time) = since.parse::<Timestamp>() else {
        return line(since).into_owned();
    };
    let seconds = now.as_second().saturating_sub(time.as_second());
    match seconds {
        ..1 => "now".to_owned(),
        1..60 => format!("{seconds} s ago"),
        60..3_600 => format!("{} min ago", seconds / 60),
        3_600..86_400 => format!("{} h ago", seconds / 3_600),
        _ => format!("{} d ago", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;

    #[test]
    fn plain_text_is_left_alone() {
        for text in ["", "alice", "Grüße, 世界", "a/b+c#%", "👩\u{200d}🚀"] {
            assert!(
                matches!(line(text), Cow::Borrowed(t) if t == text),
                "{text}"
            );
        }
    }

    #[test]
    fn unsafe_characters_are_escaped() {
        for (raw, shown) in [
            ("\x1b[2J", "\\u{1b}[2J"),
            ("\x1b]0;title\x07", "\\u{1b}]0;title\\u{7}"),
            ("a\nb\rc\td", "a\\nb\\rc\\td"),
            ("\u{9b}31m", "\\u{9b}31m"),
            ("x\u{7f}", "x\\u{7f}"),
            ("\u{202e}gpj.exe", "\\u{202e}gpj.exe"),
            ("al\u{200b}ice", "al\\u{200b}ice"),
            ("a\u{2028}b", "a\\u{2028}b"),
        ] {
            assert_eq!(line(raw), shown);
        }
        assert_eq!(bytes(b"ok\xff\x1b"), "ok\u{fffd}\\u{1b}");
    }

    #[test]
    fn every_control_character_is_escaped() {
        for c in (0..=0x9f_u8).map(char::from).filter(|c| c.is_control()) {
            let shown = line(&c.to_string()).into_owned();
            assert!(
                shown.starts_with('\\') && !shown.contains(char::is_control),
                "{c:?}"
            );
        }
    }

    #[test]
    fn times() {
        let now: Timestamp = "2026-03-01T12:00:00Z".parse().unwrap();
        for (since, shown) in [
            ("2026-03-01T12:00:00.900Z", "now"),
            ("2026-03-01T11:59:18Z", "42 s ago"),
            ("2026-03-01T11:48:00Z", "12 min ago"),
            ("2026-03-01T09:59:00Z", "2 h ago"),
            ("2026-02-26T12:00:00Z", "3 d ago"),
            ("2027-01-01T00:00:00Z", "now"),
            ("soon\x07", "soon\\u{7}"),
        ] {
            assert_eq!(ago(since, now), shown);
        }
        assert_eq!(
            clock("2026-03-01T12:03:04.567Z", &TimeZone::UTC),
            "12:03:04"
        );
        assert_eq!(clock("?", &TimeZone::UTC), "?");
    }
}
