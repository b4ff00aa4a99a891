//! A map of bounded size that forgets what has not been used for a while.

use std::collections::HashMap;
use std::hash::Hash;
use std::time::{Duration, Instant};

/// Values by key. A value that is used is kept for `lifetime` at least, and for twice that at most, unless
/// `most` keys are used meanwhile: then the keys go that were not used lately.
///
/// There are two maps. Keys that are used move into the newer one; when that is full, or old enough, it
/// replaces the older one. So nothing is ever searched for what to forget.
#[derive(Debug)]
pub(super) struct Recent<K, V> {
    lifetime: Duration,
    /// Keys in one of the maps.
    most: usize,
    newer: HashMap<K, V>,
    older: HashMap<K, V>,
    /// When the newer map was begun.
    begun: Instant,
}

impl<K: Hash + Eq, V> Recent<K, V> {
    /// An empty map of `most` keys at most, and at least two.
    pub fn new(most: usize, lifetime: Duration, now: Instant) -> Recent<K, V> {
        Recent {
            lifetime,
            most: most.div_ceil(2).max(1),
            newer: HashMap::new(),
            older: HashMap::new(),
            begun: now,
        }
    }

    /// The value of `key`, made by `new` if there is none. This counts as a use.
    pub fn entry(&mut self, key: K, now: Instant, new: impl FnOnce() -> V) -> &mut V {
        self.forget(now);
        let older = self.older.remove(&key);
        let entry = self.newer.entry(key);
        entry.or_insert_with(|| older.unwrap_or_else(new))
    }

    /// The value of `key`. This counts as no use.
    pub fn get(&mut self, key: &K) -> Option<&mut V> {
        match self.newer.get_mut(key) {
            None => self.older.get_mut(key),
            found => found,
        }
    }

    fn forget(&mut self, now: Instant) {
        let age = now.saturating_duration_since(self.begun);
        if age >= self.lifetime || self.newer.len() >= self.most {
            self.older = std::mem::take(&mut self.newer);
            if age >= self.lifetime.saturating_mul(2) {
                self.older.clear();
            }
            self.begun = now;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn what_is_used_stays_and_the_rest_is_forgotten() {
        let start = Instant::now();
        let mut map = Recent::new(1_000, 10 * SECOND, start);
        map.entry("used", start, || 1);
        map.entry("idle", start, || 2);
        for seconds in 1..100 {
            map.entry("used", start + seconds * SECOND, || 0);
        }
        assert_eq!(map.get(&"used"), Some(&mut 1));
        assert_eq!(map.get(&"idle"), None);
        map.entry("other", start + 130 * SECOND, || 3);
        assert_eq!(map.get(&"used"), None, "not used for 30 s");
    }

    #[test]
    fn memory_is_bounded() {
        let start = Instant::now();
        let mut map = Recent::new(100, Duration::MAX, start);
        for key in 0..10_000 {
            map.entry(key, start, || key);
            assert!(map.newer.len() + map.older.len() <= 100);
            assert!(key < 50 || map.get(&(key - 49)).is_some());
        }
    }
}
