//! Limits the new connections of a listener to `connect_rate` a second: a token bucket. Pure.

use std::time::Instant;

/// Refills at its rate, and holds the tokens of one second at most.
#[derive(Debug)]
pub(super) struct TokenBucket {
    /// Tokens that arrive in a second, which is also the capacity.
    rate: f64,
    tokens: f64,
    refilled: Instant,
}

impl TokenBucket {
    /// A full bucket.
    pub(super) fn new(rate: u32, now: Instant) -> Self {
        TokenBucket {
            rate: rate.into(),
            tokens: rate.into(),
            refilled: now,
        }
    }

    /// Takes a token, if there is one.
    pub(super) fn admits(&mut self, now: Instant) -> bool {
        let passed = now.saturating_duration_since(self.refilled).as_secs_f64();
        self.tokens = (self.tokens + passed * self.rate).min(self.rate);
        self.refilled = now;
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
        // A clock that goes back takes no token away.
        assert_eq!(admitted(at(59_000), 1), 0);
    }
}
