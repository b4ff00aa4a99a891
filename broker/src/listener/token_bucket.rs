//! How many connections a listener takes in a second: a bucket of tokens. Pure.

use std::time::Instant;

/// Refills at its rate, and holds as much as comes in a second.
#[derive(Debug)]
pub(super) struct TokenBucket {
    /// Tokens that come in a second, and that there are at the most.
    most: f64,
    tokens: f64,
    at: Instant,
}

impl TokenBucket {
    pub(super) fn new(rate: u32, now: Instant) -> Self {
        TokenBucket {
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

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn a_burst_then_the_rate() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let mut rate = TokenBucket::new(10, start);
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
}
