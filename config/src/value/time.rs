//! Durations: `"10s"`, `"1m 30s"`.

use super::{Hint, text};
use config::ValueKind;
use std::ops::RangeInclusive;
use std::time::Duration;

pub(crate) const MILLISECOND: Duration = Duration::from_millis(1);
pub(crate) const SECOND: Duration = Duration::from_secs(1);
pub(crate) const HOUR: Duration = Duration::from_hours(1);
pub(crate) const MONTH: Duration = Duration::from_hours(30 * 24);

pub(crate) fn read(value: &ValueKind, limits: RangeInclusive<Duration>) -> Result<Duration, Hint> {
    let time = text(value)
        .and_then(|text| humantime::parse_duration(text).ok())
        .ok_or("give a duration such as `10s` or `2m`")?;
    if limits.contains(&time) {
        Ok(time)
    } else {
        Err(format!(
            "give a duration from {} to {}",
            humantime::format_duration(*limits.start()),
            humantime::format_duration(*limits.end()),
        ))
    }
}

pub(crate) fn show(time: &Duration) -> toml::Value {
    humantime::format_duration(*time).to_string().into()
}

/// Durations that MQTT transmits in whole seconds.
pub(crate) mod seconds {
    pub(crate) use super::show;
    use super::{Duration, Hint, RangeInclusive, ValueKind};

    pub(crate) fn read(
        value: &ValueKind,
        limits: RangeInclusive<Duration>,
    ) -> Result<Duration, Hint> {
        let time = super::read(value, limits)?;
        if time.subsec_nanos() == 0 {
            Ok(time)
        } else {
            Err("give whole seconds; the protocol has no smaller unit".to_owned())
        }
    }
}

/// Whole seconds, or `never` for no bound.
pub(crate) mod seconds_or_never {
    use super::{Duration, Hint, RangeInclusive, ValueKind};

    const NEVER: &str = "never";

    pub(crate) fn read(
        value: &ValueKind,
        limits: RangeInclusive<Duration>,
    ) -> Result<Option<Duration>, Hint> {
        if super::text(value) == Some(NEVER) {
            return Ok(None);
        }
        let time = super::seconds::read(value, limits).map(Some);
        time.map_err(|wanted| format!("{wanted}, or `{NEVER}`"))
    }

    pub(crate) fn show(time: &Option<Duration>) -> toml::Value {
        time.as_ref().map_or(NEVER.into(), super::show)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn never_or_whole_seconds() {
        let read = |text: &str| {
            let limits = Duration::ZERO..=HOUR;
            seconds_or_never::read(&ValueKind::from(text), limits)
        };
        for right in ["never", "0s", "7s", "1h"] {
            let time = read(right);
            let shown = time.as_ref().map(seconds_or_never::show);
            let same = toml::Value::String(right.to_owned());
            assert_eq!(shown, Ok(same));
        }
        for (wrong, part) in [
            ("", "give a duration such as `10s` or `2m`, or `never`"),
            ("Never", "or `never`"),
            ("2h", "from 0s to 1h, or `never`"),
            ("1500ms", "whole seconds"),
        ] {
            let told = read(wrong).err().unwrap_or_default();
            assert!(told.contains(part), "{wrong}: {told}");
        }
    }
}
