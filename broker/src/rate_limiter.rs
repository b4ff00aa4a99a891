//! The one rate limiter: at most one report of an event in each interval, with the count of all events since the last.
//!
//! One client can cause a log line or an inbox message a thousand times a second, so each kind of them has a limiter. The
//! limiter reads no clock: the caller passes the time.

use std::collections::HashMap;
use std::hash::Hash;

/// Limits the reports of one kind of event. Times are in milliseconds, all from one clock.
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
/// assert_eq!(refusals.take(6_000), Some(20)); // no event is lost
/// ```
#[derive(Debug, Clone)]
pub struct RateLimiter {
    interval: u64,
    /// Events since the last report.
    unreported: u64,
    /// The time of the last report.
    reported: Option<u64>,
}

impl RateLimiter {
    /// Allows one report every `interval` milliseconds.
    #[must_use]
    pub const fn every(interval: u64) -> RateLimiter {
        RateLimiter {
            interval,
            unreported: 0,
            reported: None,
        }
    }

    /// Counts `events` more.
    pub fn note(&mut self, events: u64) {
        self.unreported = self.unreported.saturating_add(events);
    }

    /// The time of the next report, maybe in the past. None if there is nothing to report.
    #[must_use]
    pub fn due(&self) -> Option<u64> {
        let next = |reported: u64| reported.saturating_add(self.interval);
        (self.unreported > 0).then(|| self.reported.map_or(0, next))
    }

    /// Takes the number of events to report at `now`. None if there are none, or if the last report is too recent.
    pub fn take(&mut self, now: u64) -> Option<u64> {
        if self.unreported == 0 || !self.is_open(now) {
            return None;
        }
        self.reported = Some(now);
        Some(std::mem::take(&mut self.unreported))
    }

    /// Counts one event, and takes the number to report at `now`, this one included.
    pub fn admit(&mut self, now: u64) -> Option<u64> {
        self.note(1);
        self.take(now)
    }

    /// Whether a report is allowed at `now`. Only the distance to the last report counts, not the order: each lane has a
    /// time of its own.
    fn is_open(&self, now: u64) -> bool {
        self.reported
            .is_none_or(|reported| now.abs_diff(reported) >= self.interval)
    }
}

/// A [`RateLimiter`] for each key, for a bounded number of keys. No event is lost: the next report of any key adds those
/// of keys for which there was no capacity.
#[derive(Debug)]
pub struct RateLimiters<K> {
    interval: u64,
    most: usize,
    by_key: HashMap<K, RateLimiter>,
    /// Unreported events without a limiter.
    unkeyed: u64,
    /// The time of the last removal of idle keys. A removal visits all keys, so there is one in an interval at most.
    pruned: u64,
}

impl<K: Hash + Eq> RateLimiters<K> {
    /// Allows one report every `interval` milliseconds for each key. If `most` keys have had a report in the last interval,
    /// events of other keys are not reported then.
    #[must_use]
    pub fn new(interval: u64, most: usize) -> RateLimiters<K> {
        RateLimiters {
            interval,
            most,
            by_key: HashMap::new(),
            unkeyed: 0,
            pruned: 0,
        }
    }

    /// Whether every key may have a report at `now`.
    #[must_use]
    pub fn is_idle(&self, now: u64) -> bool {
        self.by_key.values().all(|limiter| limiter.is_open(now))
    }

    /// Counts one event of `key`, and takes the number to report at `now`, this one included.
    pub fn admit(&mut self, key: K, now: u64) -> Option<u64> {
        let events = self.admit_keyed(key, now)?;
        Some(events.saturating_add(std::mem::take(&mut self.unkeyed)))
    }

    fn admit_keyed(&mut self, key: K, now: u64) -> Option<u64> {
        if let Some(limiter) = self.by_key.get_mut(&key) {
            return limiter.admit(now);
        }
        if self.by_key.len() >= self.most {
            if now.abs_diff(self.pruned) >= self.interval {
                self.prune(now);
            }
            if self.by_key.len() >= self.most {
                self.unkeyed = self.unkeyed.saturating_add(1);
                return None;
            }
        }
        let new = RateLimiter::every(self.interval);
        self.by_key.entry(key).or_insert(new).admit(now)
    }

    /// Removes idle keys.
    fn prune(&mut self, now: u64) {
        self.pruned = now;
        self.by_key.retain(|_, limiter| {
            let idle = limiter.is_open(now);
            if idle {
                self.unkeyed = self.unkeyed.saturating_add(limiter.unreported);
            }
            !idle
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_report_an_interval_counts_all_events() {
        let mut limiter = RateLimiter::every(1_000);
        assert_eq!((limiter.take(5), limiter.due()), (None, None));
        limiter.note(1);
        assert_eq!((limiter.due(), limiter.take(5)), (Some(0), Some(1)));
        assert_eq!(limiter.due(), None);
        limiter.note(2);
        limiter.note(3);
        assert_eq!((limiter.take(1_004), limiter.due()), (None, Some(1_005)));
        assert_eq!(limiter.take(1_005), Some(5));
        assert_eq!(
            limiter.take(u64::MAX),
            None,
            "no event since the last report"
        );
        limiter.note(1);
        assert_eq!(limiter.take(0), Some(1), "the time of another lane");
    }

    #[test]
    fn each_key_has_its_own_limit() {
        let mut limiters = RateLimiters::new(1_000, 10);
        assert_eq!(limiters.admit("a", 5_000), Some(1));
        assert_eq!(limiters.admit("a", 5_999), None);
        assert_eq!(limiters.admit("b", 5_999), Some(1));
        assert_eq!(limiters.admit("a", 6_000), Some(2), "with the event before");
    }

    #[test]
    fn memory_is_bounded_and_idle_keys_are_removed() {
        let mut limiters = RateLimiters::new(1_000, 100);
        let admitted = (0..1_000).filter(|n| limiters.admit(*n, 9_000).is_some());
        assert_eq!(admitted.count(), 100);
        assert_eq!(limiters.by_key.len(), 100);
        assert_eq!(limiters.admit(2_000, 9_500), None);
        assert!(!limiters.is_idle(9_999) && limiters.is_idle(10_000));
        // The 901 events that were not reported are in the next report.
        assert_eq!(limiters.admit(2_000, 10_000), Some(902));
        assert_eq!(limiters.by_key.len(), 1);
    }
}
