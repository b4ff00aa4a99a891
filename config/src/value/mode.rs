//! File permissions in octal digits: `"660"`.

use super::{Hint, text};
use config::ValueKind;

pub(crate) fn read(value: &ValueKind, (): ()) -> Result<u32, Hint> {
    text(value)
        .filter(|digits| (3..=4).contains(&digits.len()))
        .filter(|digits| digits.bytes().all(|digit| digit.is_ascii_digit()))
        .and_then(|digits| u32::from_str_radix(digits, 8).ok())
        .filter(|mode| *mode <= 0o777)
        .ok_or_else(|| "give permissions as octal digits in quotes, such as \"660\"".to_owned())
}

pub(crate) fn show(mode: &u32) -> toml::Value {
    format!("{mode:03o}").into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modes() {
        let table: &[(&str, Option<u32>)] = &[
            ("660", Some(0o660)),
            ("0600", Some(0o600)),
            ("777", Some(0o777)),
            ("1777", None),
            ("66", None),
            ("+60", None),
            ("689", None),
            ("", None),
        ];
        for (text, wanted) in table {
            let found = read(&ValueKind::from(*text), ()).ok();
            assert_eq!(found, *wanted, "{text}");
        }
        assert!(
            read(&ValueKind::from(660), ()).is_err(),
            "a number is refused: 660 is decimal"
        );
    }
}
