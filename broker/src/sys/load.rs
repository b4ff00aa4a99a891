//! Moving averages of events a minute. Pure: the caller passes the time.

use std::time::Duration;

/// The spans: their topic levels, and their seconds.
pub(super) const SPANS: [(&str, f64); 3] = [("1min", 60.0), ("5min", 300.0), ("15min", 900.0)];

/// Three averages of one counter, in events a minute. An event that is a span old has the weight 1/e. Averages start at
/// 0, so each is too low until its span has passed.
#[derive(Debug, Default, Clone)]
pub(super) struct LoadAverages {
    counted: u64,
    averages: [f64; SPANS.len()],
}

impl LoadAverages {
    /// Notes that the counter is `total` now. `passed` is the time since the last call.
    pub(super) fn update(&mut self, total: u64, passed: Duration) {
        let seconds = passed.as_secs_f64();
        if seconds <= 0.0 {
            return;
        }
        #[allow(clippy::cast_precision_loss)] // shown with two decimals: 52 bits are plenty
        let more = total.saturating_sub(self.counted) as f64;
        self.counted = total;
        let a_minute = more * 60.0 / seconds;
        for (average, (_, span)) in self.averages.iter_mut().zip(SPANS) {
            *average = a_minute + (-seconds / span).exp() * (*average - a_minute);
        }
    }

    /// The averages, in the order of [`SPANS`].
    pub(super) fn averages(&self) -> [f64; SPANS.len()] {
        self.averages
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(load: &LoadAverages) -> [String; 3] {
        load.averages().map(|average| format!("{average:.2}"))
    }

    #[test]
    fn one_event_counts_as_in_mosquitto() {
        // The values of mosquitto 2.0.11 after one connection, with updates every two seconds.
        let mut load = LoadAverages::default();
        load.update(1, Duration::from_secs(2));
        assert_eq!(shown(&load), ["0.98", "0.20", "0.07"]);
        load.update(1, Duration::from_secs(2));
        assert_eq!(shown(&load), ["0.95", "0.20", "0.07"]);
    }

    #[test]
    fn a_steady_stream_reaches_its_rate_and_then_decays() {
        let mut load = LoadAverages::default();
        let mut total = 0;
        for _ in 0..6 * 60 {
            total += 50;
            load.update(total, Duration::from_secs(10));
        }
        // An hour of 300 a minute.
        assert_eq!(shown(&load), ["300.00", "300.00", "294.51"]);
        for _ in 0..6 {
            load.update(total, Duration::from_secs(10));
        }
        let [one, five, fifteen] = load.averages();
        let e = std::f64::consts::E;
        assert!((one - 300.0 / e).abs() < 0.01, "{one}");
        assert!(five > 240.0 && fifteen > 270.0);
    }

    #[test]
    fn averages_do_not_depend_on_the_interval() {
        let (mut frequent, mut rare) = (LoadAverages::default(), LoadAverages::default());
        for second in 1..=60 {
            frequent.update(second * 7, Duration::from_secs(1));
            frequent.update(second * 7 + 1_000, Duration::ZERO);
        }
        rare.update(60 * 7, Duration::from_mins(1));
        for (a, b) in frequent.averages().into_iter().zip(rare.averages()) {
            assert!((a - b).abs() < 1e-6, "{a} {b}");
        }
    }
}
