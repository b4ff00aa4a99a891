//! Moving averages: how much comes in a minute, of late. Pure: the time that has passed is passed in.

use std::time::Duration;

/// The spans, by the names that stand in topics.
pub(super) const SPANS: [(&str, f64); 3] = [("1min", 60.0), ("5min", 300.0), ("15min", 900.0)];

/// Three averages of one counter, in events a minute, each weighing what is a span old by 1/e. They start at 0,
/// so the longer ones are low until their span has passed.
#[derive(Debug, Default, Clone)]
pub(super) struct LoadAverages {
    counted: u64,
    averages: [f64; SPANS.len()],
}

impl LoadAverages {
    /// The counter has come to `total`, `passed` after it was looked at before.
    pub(super) fn pass(&mut self, total: u64, passed: Duration) {
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

    /// In the order of [`SPANS`].
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
    fn one_event_counts_as_with_mosquitto() {
        // What mosquitto 2.0.11 was seen to show after one connection, updating every two seconds.
        let mut load = LoadAverages::default();
        load.pass(1, Duration::from_secs(2));
        assert_eq!(shown(&load), ["0.98", "0.20", "0.07"]);
        load.pass(1, Duration::from_secs(2));
        assert_eq!(shown(&load), ["0.95", "0.20", "0.07"]);
    }

    #[test]
    fn a_steady_stream_comes_to_its_rate_and_fades_after_it() {
        let mut load = LoadAverages::default();
        let mut total = 0;
        for _ in 0..6 * 60 {
            total += 50;
            load.pass(total, Duration::from_secs(10));
        }
        // An hour of 300 a minute.
        assert_eq!(shown(&load), ["300.00", "300.00", "294.51"]);
        for _ in 0..6 {
            load.pass(total, Duration::from_secs(10));
        }
        let [one, five, fifteen] = load.averages();
        let e = std::f64::consts::E;
        assert!((one - 300.0 / e).abs() < 0.01, "{one}");
        assert!(five > 240.0 && fifteen > 270.0);
    }

    #[test]
    fn the_interval_does_not_matter_and_no_time_changes_nothing() {
        let (mut often, mut seldom) = (LoadAverages::default(), LoadAverages::default());
        for second in 1..=60 {
            often.pass(second * 7, Duration::from_secs(1));
            often.pass(second * 7 + 1_000, Duration::ZERO);
        }
        seldom.pass(60 * 7, Duration::from_mins(1));
        for (a, b) in often.averages().into_iter().zip(seldom.averages()) {
            assert!((a - b).abs() < 1e-6, "{a} {b}");
        }
    }
}
