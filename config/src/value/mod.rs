//! How each kind of value is read and shown.
//!
//! Each kind is a module with two functions. `read` turns a raw value, within the kind's limits,
//! into a checked value, or returns a hint for the error. `show` turns a checked value into TOML.
//! Numbers and switches may be strings, because environment variables are.

// `key!` calls every `show` in the same form: with a reference to a field.
#![allow(
    clippy::ref_option,
    clippy::trivially_copy_pass_by_ref,
    clippy::ptr_arg
)]

pub(crate) mod address;
pub(crate) mod filters;
pub(crate) mod glob;
pub(crate) mod level;
pub(crate) mod mode;
pub(crate) mod name;
pub(crate) mod networks;
pub(crate) mod number;
pub(crate) mod origin;
pub(crate) mod path;
pub(crate) mod pattern;
pub(crate) mod size;
pub(crate) mod switch;
pub(crate) mod time;
pub(crate) mod url_paths;
pub(crate) mod user_patterns;
pub(crate) mod users;
pub(crate) mod word;

use config::ValueKind;

/// What to write instead of a wrong value.
pub(crate) type Hint = String;

/// The most characters of a wrong value that an error repeats.
const SHOWN_CHARACTERS: usize = 80;

/// The text, if the value is a string.
pub(crate) fn text(value: &ValueKind) -> Option<&str> {
    match value {
        ValueKind::String(text) => Some(text),
        _ => None,
    }
}

/// The number, if the value is a whole number from 0 or a string of its digits.
pub(crate) fn whole(value: &ValueKind) -> Option<u64> {
    match value {
        ValueKind::I64(number) => u64::try_from(*number).ok(),
        ValueKind::I128(number) => u64::try_from(*number).ok(),
        ValueKind::U64(number) => Some(*number),
        // `parse` would also accept a plus sign.
        ValueKind::String(digits) if digits.bytes().all(|b| b.is_ascii_digit()) => {
            digits.parse().ok()
        }
        _ => None,
    }
}

/// A wrong value as an error repeats it: shortened, and on one line.
pub(crate) fn describe(value: &ValueKind) -> String {
    let whole = match value {
        ValueKind::Nil => "nothing".to_owned(),
        ValueKind::Table(_) => "a table".to_owned(),
        ValueKind::Array(items) => {
            // Further items would be cut off below.
            let shown: Vec<_> = items.iter().take(SHOWN_CHARACTERS).collect();
            let shown: Vec<_> = shown.iter().map(|item| describe(&item.kind)).collect();
            format!("[{}]", shown.join(", "))
        }
        plain => plain.to_string(),
    };
    let mut characters = whole.chars();
    let mut short: String = characters
        .by_ref()
        .take(SHOWN_CHARACTERS)
        .flat_map(|c| {
            if c.is_control() {
                c.escape_default().collect::<Vec<_>>()
            } else {
                vec![c]
            }
        })
        .collect();
    if characters.next().is_some() {
        short.push('…');
    }
    short
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wrong_value_is_repeated_short_and_on_one_line() {
        assert_eq!(describe(&ValueKind::from("a\nb\u{1b}")), "a\\nb\\u{1b}");
        let long = describe(&ValueKind::from("x".repeat(10_000)));
        assert_eq!(long.chars().count(), SHOWN_CHARACTERS + 1);
        assert_eq!(describe(&ValueKind::from(vec!["a", "b"])), "[a, b]");
    }

    #[test]
    fn whole_numbers() {
        let table: &[(ValueKind, Option<u64>)] = &[
            (ValueKind::I64(7), Some(7)),
            (ValueKind::I64(-7), None),
            (ValueKind::from("7"), Some(7)),
            (ValueKind::from("+7"), None),
            (ValueKind::from(" 7"), None),
            (ValueKind::from(""), None),
            (ValueKind::from("18446744073709551616"), None),
            (ValueKind::I128(1 << 100), None),
            (ValueKind::Float(7.0), None),
            (ValueKind::Boolean(true), None),
        ];
        for (value, wanted) in table {
            assert_eq!(whole(value), *wanted, "{value:?}");
        }
    }
}
