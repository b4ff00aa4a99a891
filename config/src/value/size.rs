//! Sizes in bytes: `65536`, or `"64KiB"`.

use super::number::{WholeNumber, integer};
use super::{Hint, text, whole};
use config::ValueKind;
use std::ops::RangeInclusive;

pub(crate) const KIB: u64 = 1 << 10;
pub(crate) const MIB: u64 = 1 << 20;
pub(crate) const GIB: u64 = 1 << 30;
pub(crate) const TIB: u64 = 1 << 40;

/// The largest first: `show` takes the first unit that divides a size.
const UNITS: [(&str, u64); 3] = [("GiB", GIB), ("MiB", MIB), ("KiB", KIB)];

pub(crate) fn read<T: WholeNumber>(
    value: &ValueKind,
    limits: RangeInclusive<u64>,
) -> Result<T, Hint> {
    let bytes = whole(value)
        .or_else(|| text(value).and_then(with_unit))
        .ok_or("give bytes, or a size such as `64KiB` or `1MiB`")?;
    if !limits.contains(&bytes) {
        let (least, most) = (brief(*limits.start()), brief(*limits.end()));
        return Err(format!("give a size from {least} to {most}"));
    }
    T::take(bytes).ok_or_else(|| "give a smaller size".to_owned())
}

pub(crate) fn show<T: WholeNumber>(bytes: &T) -> toml::Value {
    let bytes = bytes.give();
    match unit_of(bytes) {
        Some(_) => brief(bytes).into(),
        None => integer(bytes),
    }
}

fn with_unit(text: &str) -> Option<u64> {
    let (unit, bytes) = UNITS.iter().find(|(unit, _)| text.ends_with(unit))?;
    let number = text.strip_suffix(unit)?.trim_end();
    whole(&ValueKind::from(number))?.checked_mul(*bytes)
}

fn unit_of(bytes: u64) -> Option<&'static (&'static str, u64)> {
    UNITS
        .iter()
        .find(|(_, unit)| bytes > 0 && bytes.is_multiple_of(*unit))
}

fn brief(bytes: u64) -> String {
    match unit_of(bytes) {
        Some((name, unit)) => format!("{}{name}", bytes / unit),
        None => bytes.to_string(),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;

    #[test]
    fn sizes() {
        let table: &[(&str, Result<u32, &str>)] = &[
            ("128", Ok(128)),
            ("64KiB", Ok(65_536)),
            ("64 KiB", Ok(65_536)),
            ("1MiB", Ok(1 << 20)),
            ("2GiB", Err("from 128 to 1GiB")),
            ("127", Err("from 128 to 1GiB")),
            ("1MB", Err("`64KiB`")),
            ("1mib", Err("`64KiB`")),
            ("KiB", Err("`64KiB`")),
            ("-1KiB", Err("`64KiB`")),
            ("", Err("`64KiB`")),
            ("17179869184GiB", Err("`64KiB`")),
        ];
        for (text, wanted) in table {
            let found = read::<u32>(&ValueKind::from(*text), 128..=GIB);
            match wanted {
                Ok(bytes) => assert_eq!(found.as_ref(), Ok(bytes), "{text}"),
                Err(part) => assert!(found.unwrap_err().contains(part), "{text}"),
            }
        }
    }

    #[test]
    fn a_shown_size_reads_back() {
        for bytes in [0, 1, 1023, 1024, 1 << 20, 3 << 20, (1 << 30) + 1] {
            let shown = show(&bytes);
            let value = match shown {
                toml::Value::Integer(number) => ValueKind::I64(number),
                other => ValueKind::from(other.as_str().unwrap()),
            };
            assert_eq!(read::<u32>(&value, 0..=4 * GIB), Ok(bytes));
        }
    }
}
