//! How many connections a listener takes in a second: a bucket of tokens; and how often it is told that it took none. Pure.

use std::time::{Duration, Instant};

/// Refills at its rate, and holds as much as comes in a second.
#[derive(Debug)]
pub(super) struct Rate {
    /// Tokens that come in a second, and that there are at the most.
    most: f64,
    tokens: f64,
    at: Instant,
}

/// Refusals that are to be told of.
#[derive(Debug, Default)]
pub(super) struct Refusals {
    untold: u64,
    told: Option<Instant>,
}

impl Rate {
    pub(super) fn new(rate: u32, now: Instant) -> Self {
        Rate {
            most: rate.into(),
            tokens: rate.into(),
            at: now,
        }
    }

    /// Whether one more may come in now.
    pub(super) fn admits(&mut self, now: Instant) -> bool {
        let passed = now.saturating_duration_since(self.at).as_secs_f64();
        self.tokens = (self.tokens + passed * self.most).min(self.most);
        self.at = now;
        if self.tokens < 1.0 {
            return false;
        }
        self.tokens -= 1.0;
        true
    }
}

impl Refusals {
    pub(super) fn add(&mut self) {
        self.untold += 1;
    }

    /// When they are to be told of, at `now` or later; none where there are none.
    pub(super) fn due(&self, now: Instant) -> Option<Instant> {
        let due = self.told.map_or(now, |told| told + Duration::from_secs(1));
        (self.untold > 0).then_some(due)
    }

    /// How many have not been told of; once a second at the most.
    pub(super) fn take(&mut self, now: Instant) -> Option<u64> {
        if self.due(now)? > now {
            return None;
        }
        self.told = Some(now);
        Some(std::mem::take(&mut self.untold))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_then_the_rate() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let mut rate = Rate::new(10, start);
        let mut admitted = |now, tries: usize| (0..tries).filter(|_| rate.admits(now)).count();
        assert_eq!(admitted(start, 50), 10);
        assert_eq!(admitted(at(99), 5), 0);
        assert_eq!(admitted(at(101), 5), 1);
        assert_eq!(admitted(at(500), 50), 4);
        assert_eq!(
            admitted(at(60_000), 50),
            10,
            "no more than a second's worth"
        );
        // A clock that stands still or goes back takes nothing away.
        assert_eq!(admitted(at(59_000), 1), 0);
    }

    #[test]
    fn refusals_are_told_once_a_second_and_none_is_forgotten() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let mut refusals = Refusals::default();
        assert_eq!(refusals.take(start), None);
        refusals.add();
        assert_eq!(refusals.take(start), Some(1));
        refusals.add();
        refusals.add();
        assert_eq!(refusals.take(at(2)), None);
        let due = refusals.due(at(2));
        assert_eq!(due, Some(at(1_000)), "though nobody comes any more");
        assert_eq!(refusals.take(at(1_000)), Some(2));
        assert_eq!(refusals.due(at(1_000)), None);
        assert_eq!(refusals.take(at(5_000)), None);
    }
}
