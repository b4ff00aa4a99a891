//! Globs that match room names.

use super::{Hint, text};
use crate::settings::NamePattern;
use config::ValueKind;
use globset::Glob;

/// The longest pattern, in characters: twice the longest room name.
///
/// The bound also limits how deep braces nest. globset panics on patterns that nest too deeply.
const LONGEST: usize = 128;

pub(crate) fn read(value: &ValueKind, (): ()) -> Result<NamePattern, Hint> {
    const HINT: &str = "give a room's name or a glob such as `staff-*`";
    let text = text(value).ok_or(HINT)?;
    if text.is_empty() || text.len() > LONGEST {
        return Err(format!("{HINT}, 1 to {LONGEST} characters"));
    }
    if text.starts_with('_') {
        return Err(format!("{HINT}; no room's name starts with `_`"));
    }
    let forbidden = |c: char| !(c.is_ascii_alphanumeric() || "._~-*?[]!^{},".contains(c));
    if let Some(c) = text.chars().find(|c| forbidden(*c)) {
        return Err(format!(
            "{HINT}; no room's name contains {c:?}: names are made of A-Z a-z 0-9 . _ ~ -"
        ));
    }
    let glob = Glob::new(text).map_err(|e| format!("{HINT}; {}", e.kind()))?;
    Ok(NamePattern {
        text: text.to_owned(),
        matcher: glob.compile_matcher(),
    })
}

pub(crate) fn show(pattern: &NamePattern) -> toml::Value {
    pattern.text.clone().into()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn patterns() {
        let table: &[(&str, Option<(&str, &str)>)] = &[
            ("lobby", Some(("lobby", "lobby2"))),
            ("staff-*", Some(("staff-", "staf"))),
            ("*", Some(("anything.at~all", ""))),
            ("r?", Some(("r1", "r12"))),
            ("r[0-9]", Some(("r7", "rx"))),
            ("r[!0-9]", Some(("rx", "r7"))),
            ("{a,b}-x", Some(("b-x", "c-x"))),
            ("_private", None),
            ("a/b", None),
            ("a b", None),
            ("a\\*", None),
            ("räume", None),
            ("[a", None),
            ("{a", None),
            ("a}", None),
            ("[z-a]", None),
            ("", None),
        ];
        for (text, wanted) in table {
            let found = read(&ValueKind::from(*text), ());
            match wanted {
                None => assert!(found.is_err(), "{text}"),
                Some((yes, no)) => {
                    let pattern = found.unwrap();
                    assert!(pattern.matcher.is_match(yes), "{text} {yes}");
                    assert!(
                        no.is_empty() || !pattern.matcher.is_match(no),
                        "{text} {no}"
                    );
                }
            }
        }
        let deepest = format!("{}{}", "{".repeat(64), "}".repeat(64));
        let _ = read(&ValueKind::from(deepest), ());
        assert!(read(&ValueKind::from("x".repeat(129)), ()).is_err());
    }

    proptest! {
        #[test]
        fn no_pattern_panics(text in "[a-c._~*?\\[\\]!^{},-]{0,128}") {
            let _ = read(&ValueKind::from(text), ());
        }
    }
}
