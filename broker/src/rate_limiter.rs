//! The one rate limiter: at most one report of an event in each interval, and a count of those held back.
//!
//! Log lines about refusals, notices in an inbox and the like can be caused a thousand times a second by one client.
//! Each kind has a limiter. Nothing reads a clock here: the caller passes the time.

use std::collections::HashMap;
use std::hash::Hash;

/// Limits the reports of one kind of event. Times are in milliseconds, of any one clock.
///
/// ```
/// use roommq_broker::rate_limiter::RateLimiter;
///
/// let mut refusals = RateLimiter::every(1_000);
/// refusals.note(1);
/// assert_eq!(refusals.take(5_000), Some(1)); // the first is reported at once
/// refusals.note(20);
/// assert_eq!(refusals.take(5_100), None); // too early
/// assert_eq!(refusals.due(), Some(6_000));
/// assert_eq!(refusals.take(6_000), Some(20)); // and none is forgotten
/// ```
#[derive(Debug, Clone)]
pub struct RateLimiter {
    interval: u64,
    /// Events that no report has counted yet.
    unreported: u64,
    reported: Option<u64>,
}

impl RateLimiter {
    /// At most one report every `interval` milliseconds.
    #[must_use]
    pub const fn every(interval: u64) -> RateLimiter {
        RateLimiter {
            interval,
            unreported: 0,
            reported: None,
        }
    }

    /// `events` more have happened.
    pub fn note(&mut self, events: u64) {
        self.unreported = self.unreported.saturating_add(events);
    }

    /// When the next report may be made, a time in the past included; none if there is nothing to report.
    #[must_use]
    pub fn due(&self) -> Option<u64> {
        let next = |reported: u64| reported.saturating_add(self.interval);
        (self.unreported > 0).then(|| self.reported.map_or(0, next))
    }

    /// How many events to report at `now`; none if there are none, or the last report is too recent.
    pub fn take(&mut self, now: u64) -> Option<u64> {
        if self.unreported == 0 || !self.is_open(now) {
            return None;
        }
        self.reported = Some(now);
        Some(std::mem::take(&mut self.unreported))
    }

    /// Notes one event, and says how many to report at `now`, this one included.
    pub fn admit(&mut self, now: u64) -> Option<u64> {
        self.note(1);
        self.take(now)
    }

    /// Whether a report may be made. The distance counts and not the order: a clock that was set back must not silence anybody
    /// for long.
    fn is_open(&self, now: u64) -> bool {
        self.reported
            .is_none_or(|reported| now.abs_diff(reported) >= self.interval)
    }
}

/// A [`RateLimiter`] for each key, for a bounded number of keys.
#[derive(Debug)]
pub struct RateLimiters<K> {
    interval: u64,
    most: usize,
    by_key: HashMap<K, RateLimiter>,
    /// When idle keys were last removed. One removal looks at all keys, so there is at most one in an interval.
    pruned: u64,
}

impl<K: Hash + Eq> RateLimiters<K> {
    /// One report every `interval` milliseconds for each key. While `most` keys have been reported in the last interval, no
    /// event of another key is.
    #[must_use]
    pub fn new(interval: u64, most: usize) -> RateLimiters<K> {
        RateLimiters {
            interval,
            most,
            by_key: HashMap::new(),
            pruned: 0,
        }
    }

    /// Notes one event of `key`, and says how many to report at `now`, this one included.
    pub fn admit(&mut self, key: K, now: u64) -> Option<u64> {
        if let Some(limiter) = self.by_key.get_mut(&key) {
            return limiter.admit(now);
        }
        if self.by_key.len() >= self.most {
            if now.abs_diff(self.pruned) < self.interval {
                return None;
            }
            self.pruned = now;
            self.by_key.retain(|_, limiter| !limiter.is_open(now));
            if self.by_key.len() >= self.most {
                return None;
            }
        }
        let limiter = self.by_key.entry(key);
        limiter
            .or_insert(RateLimiter::every(self.interval))
            .admit(now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reports_come_once_an_interval_and_count_all_events() {
        let mut limiter = RateLimiter::every(1_000);
        assert_eq!((limiter.take(5), limiter.due()), (None, None));
        limiter.note(1);
        assert_eq!((limiter.due(), limiter.take(5)), (Some(0), Some(1)));
        assert_eq!(limiter.due(), None);
        limiter.note(2);
        limiter.note(3);
        assert_eq!((limiter.take(1_004), limiter.due()), (None, Some(1_005)));
        assert_eq!(limiter.take(1_005), Some(5));
        assert_eq!(limiter.take(u64::MAX), None, "nothing has happened since");
        limiter.note(1);
        assert_eq!(limiter.take(0), Some(1), "the clock was set back");
    }

    #[test]
    fn keys_are_limited_apart() {
        let mut limiters = RateLimiters::new(1_000, 10);
        assert_eq!(limiters.admit("a", 5_000), Some(1));
        assert_eq!(limiters.admit("a", 5_999), None);
        assert_eq!(limiters.admit("b", 5_999), Some(1));
        assert_eq!(limiters.admit("a", 6_000), Some(2), "with the one before");
    }

    #[test]
    fn memory_is_bounded_and_frees_itself() {
        let mut limiters = RateLimiters::new(1_000, 100);
        let admitted = (0..1_000).filter(|n| limiters.admit(*n, 9_000).is_some());
        assert_eq!(admitted.count(), 100);
        assert_eq!(limiters.by_key.len(), 100);
        assert_eq!(limiters.admit(2_000, 9_500), None);
        assert_eq!(limiters.admit(2_000, 10_000), Some(1));
        assert_eq!(limiters.by_key.len(), 1);
    }
}
