//! The timers of a lane that have not fired.

use std::collections::BTreeMap;

mod snapshot;

/// A lane's timers, one for each key.
///
/// The lane decides whether a timer fires, since each node that runs the lane has its own clock. The
/// entry of a timer counts only if it has the generation that was set last, and it counts once:
///
/// ```text
///   set("a", generation 1, at 100)
///   set("a", generation 2, at 70)      replaces it
///   entry Timer { "a", generation 1 }  changes nothing: a node wrote it before the timer was replaced
///   entry Timer { "a", generation 2 }  fires
///   entry Timer { "a", generation 2 }  changes nothing: it has fired
/// ```
#[derive(Debug, Default)]
pub(super) struct LaneTimers {
    by_key: BTreeMap<Box<str>, LaneTimer>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct LaneTimer {
    generation: u64,
    /// In milliseconds of lane time.
    at: u64,
}

impl LaneTimers {
    /// Sets the timer of a key, and replaces the one that was set before.
    pub(super) fn set(&mut self, key: &str, generation: u64, at: u64) {
        let timer = LaneTimer { generation, at };
        self.by_key.insert(key.into(), timer);
    }

    /// When the timer of a key fires, in milliseconds of lane time; none: it is not set.
    pub(super) fn due(&self, key: &str) -> Option<u64> {
        Some(self.by_key.get(key)?.at)
    }

    /// Removes the timer of an entry. False if the key has none, or one of another generation: the
    /// entry changes nothing.
    pub(super) fn take(&mut self, key: &str, generation: u64) -> bool {
        let is_set = |timer: &LaneTimer| timer.generation == generation;
        self.by_key.get(key).is_some_and(is_set) && self.by_key.remove(key).is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_last_generation_of_a_key_fires_and_only_once() {
        let mut timers = LaneTimers::default();
        timers.set("a", 1, 100);
        timers.set("b", 1, 50);
        timers.set("a", 2, 70);
        assert_eq!((timers.due("a"), timers.due("c")), (Some(70), None));
        assert!(!timers.take("a", 1) && !timers.take("c", 2));
        assert!(timers.take("a", 2) && !timers.take("a", 2));
        assert!(timers.take("b", 1) && timers.due("b").is_none());
    }
}
