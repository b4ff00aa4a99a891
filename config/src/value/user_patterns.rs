//! Lists of globs that match user names.

use super::{Hint, text};
use crate::settings::NamePattern;
use config::ValueKind;

/// The longest pattern, in bytes: as long as a user's name in a topic level.
///
/// The bound also limits how deep braces nest. globset panics on patterns that nest too deeply.
const LONGEST: usize = 128;

pub(crate) fn read(value: &ValueKind, (): ()) -> Result<Vec<NamePattern>, Hint> {
    const HINT: &str = r#"give a list of users or globs, such as ["alice", "sensor-*", "~*"]"#;
    let ValueKind::Array(items) = value else {
        return Err(HINT.to_owned());
    };
    if items.is_empty() {
        return Err("the rule would be for nobody; leave `users` out for everybody".to_owned());
    }
    let pattern = |item: &config::Value| -> Result<NamePattern, Hint> {
        let text = text(&item.kind).ok_or(HINT)?;
        if text.is_empty() || text.len() > LONGEST {
            return Err(format!("{HINT}, 1 to {LONGEST} bytes each"));
        }
        if text == "me" || text.starts_with('_') {
            return Err(format!("{HINT}; no user is called {text:?}"));
        }
        NamePattern::of_users(text).map_err(|e| format!("{HINT}; {text:?}: {}", e.kind()))
    };
    items.iter().map(pattern).collect()
}

pub(crate) fn show(patterns: &Vec<NamePattern>) -> toml::Value {
    let texts = patterns.iter().map(|pattern| pattern.text.clone());
    texts.collect::<Vec<_>>().into()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;
    use proptest::prelude::*;

    fn one(text: &str) -> Result<NamePattern, Hint> {
        let found = read(&ValueKind::from(vec![text]), ())?;
        Ok(found.into_iter().next().unwrap())
    }

    #[test]
    fn patterns() {
        for (text, yes, no) in [
            ("alice", "alice", "alicea"),
            ("~*", "~a/b c", "a"),
            ("*", "~x", ""),
            ("*@example.org", "a+b/c@example.org", "a@example.com"),
            ("house\\*", "house\\al", "house"),
            ("{al,bob}", "bob", "eve"),
        ] {
            let pattern = one(text).unwrap();
            assert!(pattern.matcher.is_match(yes), "{text} {yes}");
            assert!(
                no.is_empty() || !pattern.matcher.is_match(no),
                "{text} {no}"
            );
        }
        for wrong in ["", "me", "_x", "[a", "{a", &"x".repeat(129)] {
            assert!(one(wrong).is_err(), "{wrong}");
        }
        assert!(read(&ValueKind::from("alice"), ()).is_err());
        assert!(read(&ValueKind::from(Vec::<&str>::new()), ()).is_err());
        let _ = one(&format!("{}{}", "{".repeat(64), "}".repeat(64)));
    }

    proptest! {
        #[test]
        fn no_pattern_panics(text in "[a-c._~*?\\[\\]!^{},\\\\/-]{0,128}") {
            let _ = one(&text);
        }
    }
}
