//! How much a lane holds, readable without its lock.

use crate::lane::state::{LaneCounts, SubscriptionCounts};
use std::sync::atomic::{AtomicU64, Ordering};

/// A lane's counts as of the last batch. They are written while the lane is locked, and read at any
/// time: a reader may see some of the numbers before a batch and some after it.
#[derive(Debug, Default)]
pub(super) struct AtomicCounts {
    retained: AtomicU64,
    retained_bytes: AtomicU64,
    own: AtomicU64,
    shared: AtomicU64,
    spanning_own: AtomicU64,
    spanning_shared: AtomicU64,
}

impl AtomicCounts {
    pub(super) fn store(&self, counts: LaneCounts) {
        let write = |atomic: &AtomicU64, number| atomic.store(number, Ordering::Relaxed);
        write(&self.retained, counts.retained);
        write(&self.retained_bytes, counts.retained_bytes);
        write(&self.own, counts.subscriptions.own);
        write(&self.shared, counts.subscriptions.shared);
        write(&self.spanning_own, counts.subscriptions.spanning_own);
        write(&self.spanning_shared, counts.subscriptions.spanning_shared);
    }

    pub(super) fn load(&self) -> LaneCounts {
        let read = |atomic: &AtomicU64| atomic.load(Ordering::Relaxed);
        LaneCounts {
            retained: read(&self.retained),
            retained_bytes: read(&self.retained_bytes),
            subscriptions: SubscriptionCounts {
                own: read(&self.own),
                shared: read(&self.shared),
                spanning_own: read(&self.spanning_own),
                spanning_shared: read(&self.spanning_shared),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_stored_is_loaded() {
        let count = SubscriptionCounts {
            own: 1,
            shared: 2,
            spanning_own: 3,
            spanning_shared: 4,
        };
        let counts = LaneCounts {
            retained: 5,
            retained_bytes: 50,
            subscriptions: count,
        };
        let atomics = AtomicCounts::default();
        atomics.store(counts);
        assert_eq!(atomics.load(), counts);
    }
}
