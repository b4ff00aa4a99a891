//! What lanes hold, in numbers that can be read without a lane's lock.

use super::subscriptions::Count;
use std::sync::atomic::{AtomicU64, Ordering};

/// What all lanes hold.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stock {
    /// Retained messages, and the bytes of their payloads.
    pub retained: u64,
    pub retained_bytes: u64,
    /// Subscriptions but the shared ones.
    pub subscriptions: u64,
    /// Each member of a group counts.
    pub shared: u64,
}

/// What one lane holds.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) struct LaneStock {
    retained: u64,
    retained_bytes: u64,
    subscriptions: Count,
}

impl LaneStock {
    pub(super) fn new((retained, bytes): (usize, usize), subscriptions: Count) -> Self {
        LaneStock {
            retained: retained as u64,
            retained_bytes: bytes as u64,
            subscriptions,
        }
    }
}

impl Stock {
    /// The stocks of all lanes, together.
    pub(super) fn sum(lanes: impl Iterator<Item = LaneStock>) -> Self {
        let mut sum = Stock::default();
        let mut spanning = (0, 0);
        for lane in lanes {
            let count = lane.subscriptions;
            sum.retained += lane.retained;
            sum.retained_bytes += lane.retained_bytes;
            sum.subscriptions += count.own;
            sum.shared += count.shared;
            // Every lane has these, one a little before the other.
            spanning.0 = count.spanning_own.max(spanning.0);
            spanning.1 = count.spanning_shared.max(spanning.1);
        }
        sum.subscriptions += spanning.0;
        sum.shared += spanning.1;
        sum
    }
}

/// Where a lane's stock is shown to others. Written under the lane's lock.
#[derive(Debug, Default)]
pub(super) struct Shown {
    retained: AtomicU64,
    retained_bytes: AtomicU64,
    own: AtomicU64,
    shared: AtomicU64,
    spanning_own: AtomicU64,
    spanning_shared: AtomicU64,
}

impl Shown {
    pub(super) fn set(&self, stock: LaneStock) {
        let show = |place: &AtomicU64, number| place.store(number, Ordering::Relaxed);
        show(&self.retained, stock.retained);
        show(&self.retained_bytes, stock.retained_bytes);
        show(&self.own, stock.subscriptions.own);
        show(&self.shared, stock.subscriptions.shared);
        show(&self.spanning_own, stock.subscriptions.spanning_own);
        show(&self.spanning_shared, stock.subscriptions.spanning_shared);
    }

    pub(super) fn get(&self) -> LaneStock {
        let read = |place: &AtomicU64| place.load(Ordering::Relaxed);
        LaneStock {
            retained: read(&self.retained),
            retained_bytes: read(&self.retained_bytes),
            subscriptions: Count {
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
    fn what_spans_lanes_counts_once() {
        let lane = |own, spanning_own| {
            let count = Count {
                own,
                shared: 1,
                spanning_own,
                spanning_shared: 2,
            };
            let shown = Shown::default();
            shown.set(LaneStock::new((3, 30), count));
            shown.get()
        };
        let sum = Stock::sum([lane(1, 4), lane(0, 5), lane(2, 5)].into_iter());
        let expected = Stock {
            retained: 9,
            retained_bytes: 90,
            subscriptions: 3 + 5,
            shared: 3 + 2,
        };
        assert_eq!(sum, expected);
    }
}
