//! At most one event a second for each key, in bounded memory.

use std::collections::HashMap;

/// Admits at most one event a second for each key.
///
/// It remembers [`RateLimiter::KEYS`] keys. While all of them are younger than a second it admits
/// no new key. The caller passes the time, in milliseconds since the Unix epoch.
#[derive(Debug, Default)]
pub(crate) struct RateLimiter {
    /// By key: the time of the last event that was admitted.
    admitted: HashMap<String, u64>,
    /// When old keys were last removed. One removal looks at all keys, so there is at most one a
    /// second.
    pruned: u64,
}

impl RateLimiter {
    /// Milliseconds between two events of one key.
    const INTERVAL: u64 = 1_000;
    /// The most keys that are remembered.
    const KEYS: usize = 4_096;

    /// Whether an event of `key` is admitted at `now`.
    pub fn admits(&mut self, key: String, now: u64) -> bool {
        // The distance and not the order: a clock that was set back must not silence a key for
        // long.
        let is_old = |then: u64| now.abs_diff(then) >= Self::INTERVAL;
        if let Some(then) = self.admitted.get_mut(&key) {
            let admitted = is_old(*then);
            if admitted {
                *then = now;
            }
            return admitted;
        }
        if self.admitted.len() >= Self::KEYS {
            if !is_old(self.pruned) {
                return false;
            }
            self.pruned = now;
            self.admitted.retain(|_, then| !is_old(*then));
            if self.admitted.len() >= Self::KEYS {
                return false;
            }
        }
        self.admitted.insert(key, now);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_event_a_second_for_each_key() {
        let mut limiter = RateLimiter::default();
        let mut admits = |key: &str, now| limiter.admits(key.to_owned(), now);
        assert!(admits("a", 5_000));
        assert!(!admits("a", 5_999));
        assert!(admits("b", 5_000));
        assert!(admits("a", 6_000));
        assert!(!admits("a", 6_001));
        assert!(admits("a", 1_000), "the clock was set back");
    }

    #[test]
    fn memory_is_bounded_and_frees_itself() {
        let mut limiter = RateLimiter::default();
        let admitted = (0..10_000).filter(|n| limiter.admits(n.to_string(), 9_000));
        assert_eq!(admitted.count(), RateLimiter::KEYS);
        assert_eq!(limiter.admitted.len(), RateLimiter::KEYS);
        assert!(!limiter.admits("new".to_owned(), 9_500));
        assert!(limiter.admits("new".to_owned(), 10_000));
        assert_eq!(limiter.admitted.len(), 1);
    }
}
