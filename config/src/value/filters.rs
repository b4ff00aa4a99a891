//! Lists of topic filters outside rooms and inboxes.

use super::{Hint, text};
use config::ValueKind;

/// The longest topic filter, in bytes [MQTT-4.7.3-3].
const LONGEST: usize = 65_535;

/// One or more well-formed filters. They may contain `%u` and `%c`.
pub(crate) fn read(value: &ValueKind, (): ()) -> Result<Vec<String>, Hint> {
    const HINT: &str = r#"give a list of topic filters, such as ["sensors/#", "site/%u/+"]"#;
    let ValueKind::Array(items) = value else {
        return Err(HINT.to_owned());
    };
    if items.is_empty() {
        return Err(format!("{HINT}; one at least"));
    }
    let filter = |item: &config::Value| {
        let filter = text(&item.kind).ok_or(HINT)?;
        check(filter)
            .map(|()| filter.to_owned())
            .map_err(|wrong| format!("{:?} {wrong}", shortened(filter)))
    };
    items.iter().map(filter).collect()
}

pub(crate) fn show(filters: &Vec<String>) -> toml::Value {
    filters.clone().into()
}

fn shortened(filter: &str) -> String {
    filter.chars().take(super::SHOWN_CHARACTERS).collect()
}

/// The error says what is wrong with the filter.
fn check(filter: &str) -> Result<(), &'static str> {
    if filter.is_empty() || filter.len() > LONGEST {
        return Err("is no topic filter: a filter has 1 to 65535 bytes");
    }
    if filter.chars().any(char::is_control) {
        return Err("is no topic filter: a filter has no control characters");
    }
    let mut levels = filter.split('/').peekable();
    while let Some(level) = levels.next() {
        // [MQTT-4.7.1-2]
        if level.contains('#') && (level != "#" || levels.peek().is_some()) {
            return Err("is no topic filter: `#` stands alone in the last level");
        }
        // [MQTT-4.7.1-3]
        if level.contains('+') && level != "+" {
            return Err("is no topic filter: `+` stands alone in its level");
        }
    }
    match filter.split('/').next() {
        Some("rooms") => Err("lies in rooms, which have their own rules: write `[[room]]`"),
        Some("inbox") => Err("lies in the inboxes, which are private: no rule applies there"),
        Some("$SYS") if filter.starts_with("$SYS/broker/connection/") => Ok(()),
        Some("$SYS") => Err(
            "is the server's: `sys.read` sets who may subscribe, and only bridges may publish there, to \
             $SYS/broker/connection/<name>/state",
        ),
        Some("$share") => {
            Err("is shared: write the filter alone, it applies to shared subscriptions too")
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filters() {
        for right in [
            "a",
            "/",
            "a//b",
            "#",
            "+",
            "+/#",
            "a/+/#",
            "%u/#",
            "a/%c-x",
            "$aws/#",
            "roomsx",
            "a%2Fb",
            "x/rooms",
            "$SYS/broker/connection/+/state",
        ] {
            assert_eq!(check(right), Ok(()), "{right}");
        }
        for (wrong, part) in [
            ("", "1 to 65535"),
            ("a\nb", "control"),
            ("a#", "`#` stands alone"),
            ("#/a", "`#` stands alone"),
            ("a/#/", "`#` stands alone"),
            ("a/b+", "`+` stands alone"),
            ("+a/b", "`+` stands alone"),
            ("rooms", "[[room]]"),
            ("rooms/lobby/#", "[[room]]"),
            ("inbox/+", "private"),
            ("$SYS/#", "sys.read"),
            ("$share/g/a", "shared"),
        ] {
            assert!(
                check(wrong).is_err_and(|told| told.contains(part)),
                "{wrong}"
            );
        }
        assert!(check(&"x".repeat(65_536)).is_err());
        assert!(check(&"/".repeat(65_535)).is_ok() && check(&"/".repeat(65_536)).is_err());
    }
}
