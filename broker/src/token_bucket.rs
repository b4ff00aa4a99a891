//! The one token bucket: a burst, then a rate. The caller passes the time.
//!
//! [`RateLimiter`](crate::rate_limiter::RateLimiter) is for reports, of which no event may be lost. A token bucket is for
//! events that are refused or wait.

use std::time::{Duration, Instant};

/// The tokens that a full bucket holds, and the time in which an empty one fills up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    interval: Duration,
    time: Duration,
}

impl Rate {
    /// A burst of `tokens` (at least 1), and as many in each `time`.
    #[must_use]
    pub fn new(tokens: u32, time: Duration) -> Rate {
        let interval = time / tokens.max(1);
        Rate { interval, time }
    }
}

/// A bucket of tokens. It holds one time alone, so that a server can afford many: the caller passes the [`Rate`].
///
/// ```
/// use roommq_broker::token_bucket::{Rate, TokenBucket};
/// use std::time::{Duration, Instant};
///
/// let (rate, start) = (Rate::new(2, Duration::from_mins(1)), Instant::now());
/// let mut bucket = TokenBucket::full(start);
/// assert!(bucket.take(rate, start).is_ok() && bucket.take(rate, start).is_ok());
/// // The next token is there in half a minute.
/// assert_eq!(bucket.take(rate, start), Err(start + Duration::from_secs(30)));
/// bucket.give_back(rate, 1);
/// assert!(bucket.take(rate, start).is_ok());
/// ```
#[derive(Debug, Clone, Copy)]
pub struct TokenBucket {
    full_at: Instant,
}

impl TokenBucket {
    /// A full bucket.
    #[must_use]
    pub fn full(now: Instant) -> TokenBucket {
        TokenBucket { full_at: now }
    }

    /// Whether there is a token.
    ///
    /// # Errors
    /// There is none. The error is the time at which the next is there.
    pub fn check(&self, rate: Rate, now: Instant) -> Result<(), Instant> {
        let due = self.after_one(rate, now).checked_sub(rate.time);
        match due.filter(|due| *due > now) {
            None => Ok(()),
            Some(due) => Err(due),
        }
    }

    /// Takes a token.
    ///
    /// # Errors
    /// There is none. The error is the time at which the next is there.
    pub fn take(&mut self, rate: Rate, now: Instant) -> Result<(), Instant> {
        self.check(rate, now)?;
        self.full_at = self.after_one(rate, now);
        Ok(())
    }

    /// Takes so many tokens for what has happened already, more than there are if need be. Returns the time until
    /// none is owed.
    pub fn spend(&mut self, rate: Rate, tokens: u32, now: Instant) -> Duration {
        self.full_at = self.full_at.max(now) + rate.interval.saturating_mul(tokens);
        let paid = self.full_at.checked_sub(rate.time);
        paid.map_or(Duration::ZERO, |paid| paid.saturating_duration_since(now))
    }

    /// Whether it holds all the tokens that it can.
    #[must_use]
    pub fn is_full(&self, now: Instant) -> bool {
        self.full_at <= now
    }

    /// Puts tokens back that were taken.
    pub fn give_back(&mut self, rate: Rate, tokens: u32) {
        let time = rate.interval.saturating_mul(tokens);
        if let Some(earlier) = self.full_at.checked_sub(time) {
            self.full_at = earlier;
        }
    }

    /// The time at which the bucket would be full, were one more token taken.
    fn after_one(&self, rate: Rate, now: Instant) -> Instant {
        self.full_at.max(now) + rate.interval
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_then_the_rate() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let rate = Rate::new(10, Duration::from_secs(1));
        let mut bucket = TokenBucket::full(start);
        let mut admitted = |now, tries: usize| {
            let took = (0..tries).filter(|_| bucket.take(rate, now).is_ok());
            took.count()
        };
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
    fn a_token_that_is_given_back_can_be_taken_again() {
        let start = Instant::now();
        let rate = Rate::new(1, Duration::from_mins(1));
        let mut bucket = TokenBucket::full(start);
        for _ in 0..3 {
            assert_eq!(bucket.take(rate, start), Ok(()));
            let due = start + Duration::from_mins(1);
            assert_eq!(bucket.check(rate, start), Err(due));
            bucket.give_back(rate, 1);
        }
        // An idle bucket does not gather more than it holds.
        bucket.give_back(rate, 5);
        assert_eq!(bucket.take(rate, start), Ok(()));
        assert!(bucket.take(rate, start).is_err());
    }
    #[test]
    fn what_is_owed_takes_time() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let rate = Rate::new(10, Duration::from_secs(1));
        let mut bucket = TokenBucket::full(start);
        assert!(bucket.is_full(start));
        assert_eq!(bucket.spend(rate, 10, start), Duration::ZERO);
        assert!(!bucket.is_full(start));
        assert_eq!(bucket.spend(rate, 5, start), Duration::from_millis(500));
        assert_eq!(bucket.spend(rate, 0, at(400)), Duration::from_millis(100));
        assert_eq!(bucket.spend(rate, 1, at(600)), Duration::ZERO);
        assert!(bucket.is_full(at(1_600)));
    }
}
