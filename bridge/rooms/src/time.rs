//! Times as people and programs read them.

use roommq_lane::WallTime;

/// The latest time that is shown, in milliseconds since the Unix epoch. Later ones are shown as this
/// one, since the year has four digits.
const LATEST: u64 = 253_402_207_200_999;

const DAY: u64 = 24 * 60 * 60 * 1_000;

/// An RFC 3339 time in UTC with milliseconds.
#[must_use]
pub fn rfc3339(at: WallTime) -> String {
    let at = at.0.min(LATEST);
    let (year, month, day) = date(at / DAY);
    let (seconds, ms) = (at % DAY / 1_000, at % 1_000);
    let (hour, minute, second) = (seconds / 3_600, seconds / 60 % 60, seconds % 60);
    // Each number with the place of its end. `format!` takes ten times as long, and a join needs two times.
    let numbers = [
        (4, year),
        (7, month),
        (10, day),
        (13, hour),
        (16, minute),
        (19, second),
        (23, ms),
    ];
    let mut text = *b"0000-00-00T00:00:00.000Z";
    for (end, mut left) in numbers {
        let mut at = end;
        while left > 0 {
            at -= 1;
            text[at] = b'0' + u8::try_from(left % 10).unwrap_or(0);
            left /= 10;
        }
    }
    String::from_utf8_lossy(&text).into_owned()
}

/// Year, month and day of the Gregorian calendar, so many days after 1 January 1970.
///
/// It counts years from March, so that the leap day is the last of its year, and from the year 0, so
/// that the 400 years after which the calendar repeats have their three omitted leap days in the
/// same places.
fn date(days: u64) -> (u64, u64, u64) {
    const YEAR: u64 = 365;
    const FOUR_YEARS: u64 = 4 * YEAR + 1;
    const CENTURY: u64 = 25 * FOUR_YEARS - 1;
    const CYCLE: u64 = 4 * CENTURY + 1;
    /// From 1 March of the year 0 to 1 January 1970.
    const BEFORE: u64 = 719_468;

    let days = days + BEFORE;
    let in_cycle = days % CYCLE;
    // Without leap days every year has 365 days.
    let leap_days = in_cycle / (FOUR_YEARS - 1) - in_cycle / CENTURY + in_cycle / (CYCLE - 1);
    let year = (in_cycle - leap_days) / YEAR;
    let in_year = in_cycle - (year * YEAR + year / 4 - year / 100);
    // From March on, five months have 153 days: 31, 30, 31, 30, 31.
    let month = (5 * in_year + 2) / 153;
    let day = in_year - (153 * month + 2) / 5 + 1;
    let (month, new_year) = if month < 10 {
        (month + 3, 0)
    } else {
        (month - 9, 1)
    };
    (days / CYCLE * 400 + year + new_year, month, day)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;

    fn by_jiff(at: u64) -> String {
        let time = jiff::Timestamp::from_millisecond(at.try_into().unwrap()).unwrap();
        format!("{time:.3}")
    }

    #[test]
    fn times_have_milliseconds_and_a_z() {
        assert_eq!(rfc3339(WallTime(0)), "1970-01-01T00:00:00.000Z");
        assert_eq!(
            rfc3339(WallTime(1_700_000_000_120)),
            "2023-11-14T22:13:20.120Z"
        );
        assert_eq!(rfc3339(WallTime(u64::MAX)), "9999-12-30T22:00:00.999Z");
    }

    #[test]
    fn every_day_until_2400_has_its_date() {
        for day in 0..157_054 {
            assert_eq!(rfc3339(WallTime(day * DAY)), by_jiff(day * DAY));
        }
    }

    proptest! {
        #[test]
        fn times_are_those_of_jiff(at in 0..=LATEST) {
            prop_assert_eq!(rfc3339(WallTime(at)), by_jiff(at));
        }
    }
}
