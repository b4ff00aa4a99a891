//! What a lane holds, in numbers that can be read without its lock.

use crate::lane::state::{Count, LaneStock};
use std::sync::atomic::{AtomicU64, Ordering};

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
    fn what_is_shown_is_read() {
        let count = Count {
            own: 1,
            shared: 2,
            spanning_own: 3,
            spanning_shared: 4,
        };
        let stock = LaneStock::new((5, 50), count);
        let shown = Shown::default();
        shown.set(stock);
        assert_eq!(shown.get(), stock);
    }
}
