//! What a lane holds, in numbers that can be read without its lock.

use crate::lane::state::{LaneCounts, SubscriptionCounts};
use std::sync::atomic::{AtomicU64, Ordering};

/// Where a lane's counts are shown to others. Written under the lane's lock.
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
        let show = |place: &AtomicU64, number| place.store(number, Ordering::Relaxed);
        show(&self.retained, counts.retained);
        show(&self.retained_bytes, counts.retained_bytes);
        show(&self.own, counts.subscriptions.own);
        show(&self.shared, counts.subscriptions.shared);
        show(&self.spanning_own, counts.subscriptions.spanning_own);
        show(&self.spanning_shared, counts.subscriptions.spanning_shared);
    }

    pub(super) fn load(&self) -> LaneCounts {
        let read = |place: &AtomicU64| place.load(Ordering::Relaxed);
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
    fn what_is_shown_is_read() {
        let count = SubscriptionCounts {
            own: 1,
            shared: 2,
            spanning_own: 3,
            spanning_shared: 4,
        };
        let counts = LaneCounts::new((5, 50), count);
        let atomics = AtomicCounts::default();
        atomics.store(counts);
        assert_eq!(atomics.load(), counts);
    }
}
