//! Conversion, rates and formats of numbers.

use std::time::Duration;

/// A `usize` as `u64`.
pub fn wide(count: usize) -> u64 {
    u64::try_from(count).unwrap_or(u64::MAX)
}

/// A time in nanoseconds.
pub fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

/// A count as `f64`.
// Beyond 2^53 the last digits do not matter in a rate.
#[allow(clippy::cast_precision_loss)]
pub fn real(count: u64) -> f64 {
    count as f64
}

/// `part` divided by `whole`, or 0 if `whole` is 0.
pub fn each(part: u64, whole: u64) -> f64 {
    if whole == 0 {
        return 0.0;
    }
    thousandths(real(part) / real(whole))
}

/// `count` a second.
pub fn a_second(count: u64, seconds: f64) -> f64 {
    if seconds <= 0.0 {
        return 0.0;
    }
    (real(count) / seconds).round()
}

/// Rounded to three decimals.
pub fn thousandths(value: f64) -> f64 {
    (value * 1000.0).round() / 1000.0
}

/// A whole number with separated thousands: `1,234,567`.
pub fn grouped(value: u64) -> String {
    let digits = value.to_string();
    let mut out = String::with_capacity(digits.len() * 4 / 3);
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// A rate or a time, rounded, with separated thousands.
pub fn grouped_real(value: f64) -> String {
    // The format rounds and does not overflow. The text has only digits.
    format!("{:.0}", value.max(0.0))
        .parse()
        .map_or_else(|_| "-".to_owned(), grouped)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thousands_are_separated() {
        assert_eq!(grouped(0), "0");
        assert_eq!(grouped(999), "999");
        assert_eq!(grouped(1_000), "1,000");
        assert_eq!(grouped(1_234_567), "1,234,567");
        assert_eq!(grouped_real(1_999.6), "2,000");
        assert_eq!(grouped_real(-1.0), "0");
    }

    #[test]
    fn nothing_divided_by_nothing_is_zero() {
        assert!(each(5, 0).abs() < f64::EPSILON);
        assert!(a_second(5, 0.0).abs() < f64::EPSILON);
        assert!((each(1, 3) - 0.333).abs() < 1e-9);
    }
}
