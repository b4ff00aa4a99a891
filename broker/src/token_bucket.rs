//! The rate of new connections, and of what a client sends: a token bucket. Pure.

use std::time::{Duration, Instant};

/// Refills at its rate, and holds the tokens of one second at most.
#[derive(Debug)]
pub(crate) struct TokenBucket {
    /// Tokens that arrive in a second, which is also the capacity.
    rate: f64,
    tokens: f64,
    refilled: Instant,
}

impl TokenBucket {
    /// A full bucket.
    pub(crate) fn new(rate: u32, now: Instant) -> Self {
        TokenBucket {
            rate: rate.into(),
            tokens: rate.into(),
            refilled: now,
        }
    }

    /// Takes a token, if there is one.
    pub(crate) fn admits(&mut self, now: Instant) -> bool {
        self.refill(now);
        if self.tokens < 1.0 {
            return false;
        }
        self.tokens -= 1.0;
        true
    }

    /// Takes so many tokens for what has happened already, more than there are if need be. Returns the time until
    /// none is owed.
    pub(crate) fn spend(&mut self, tokens: u32, now: Instant) -> Duration {
        self.refill(now);
        self.tokens -= f64::from(tokens);
        Duration::try_from_secs_f64(-self.tokens / self.rate).unwrap_or_default()
    }

    /// Whether it holds all the tokens that it can.
    pub(crate) fn is_full(&mut self, now: Instant) -> bool {
        self.refill(now);
        self.tokens >= self.rate
    }

    fn refill(&mut self, now: Instant) {
        let passed = now.saturating_duration_since(self.refilled).as_secs_f64();
        self.tokens = (self.tokens + passed * self.rate).min(self.rate);
        self.refilled = now;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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

    #[test]
    fn what_is_owed_takes_time() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let mut rate = TokenBucket::new(10, start);
        assert_eq!(rate.spend(10, start), Duration::ZERO);
        assert_eq!(rate.spend(5, start), Duration::from_millis(500));
        assert_eq!(rate.spend(0, at(400)), Duration::from_millis(100));
        assert_eq!(rate.spend(1, at(600)), Duration::ZERO);
    }
}
