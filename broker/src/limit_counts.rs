//! Counts how often each limit has refused or changed something, by the limit's name.

use parking_lot::Mutex;
use std::collections::BTreeMap;

/// How often each limit has acted, shown at `$SYS/broker/limits/<name>`. A name is there once its limit has acted.
#[derive(Debug, Default)]
pub(crate) struct LimitCounts(Mutex<BTreeMap<&'static str, u64>>);

impl LimitCounts {
    /// Counts one event of the limit of this name.
    pub(crate) fn count(&self, name: &'static str) {
        *self.0.lock().entry(name).or_default() += 1;
    }

    /// All counts so far, by name.
    pub(crate) fn all(&self) -> Vec<(&'static str, u64)> {
        let counts = self.0.lock();
        counts.iter().map(|(name, count)| (*name, *count)).collect()
    }
}
