//! All lanes of a node, each behind a lock.

use super::log::LogError;
use crate::lane::state::{LANE_COUNTS, Lane, LaneTotals};
use parking_lot::Mutex;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

/// One lane, as the threads of a node share it.
pub(crate) struct SharedLane {
    /// The order in which this lock is taken is the order of the lane's entries.
    pub(super) state: Mutex<Lane>,
    /// Whether batches that find the lane busy go to its log. The lane of the node has none.
    pub(super) has_log: bool,
    /// Batches that were given to the log and have not been applied. Only if there are none may a
    /// batch be applied in place.
    pub(super) batches_in_log: AtomicUsize,
    /// How much the lane holds, as of the last batch. Written while the lane is locked, and read at any time: a
    /// reader may see some of the numbers before a batch and some after it.
    counts: [AtomicU64; LANE_COUNTS],
}

impl SharedLane {
    /// Publishes how much the lane holds. The caller has locked it.
    pub(super) fn store_counts(&self, counts: [u64; LANE_COUNTS]) {
        for (count, number) in self.counts.iter().zip(counts) {
            count.store(number, Ordering::Relaxed);
        }
    }
}

/// All lanes of a node, by number. The last is the lane of the node: what is in it concerns this
/// process alone (`$SYS`), so no log contains it, and every batch for it is applied in place.
pub(crate) struct LaneTable(Vec<SharedLane>);

impl LaneTable {
    pub(crate) fn new(with_log: impl Iterator<Item = Lane>, of_node: Lane) -> Self {
        let shared = |lane, has_log| SharedLane {
            state: Mutex::new(lane),
            has_log,
            batches_in_log: AtomicUsize::new(0),
            counts: Default::default(),
        };
        let with_log = with_log.map(|lane| shared(lane, true));
        LaneTable(with_log.chain([shared(of_node, false)]).collect())
    }

    /// How much all lanes hold together.
    pub(crate) fn totals(&self) -> LaneTotals {
        let counts = |lane: &SharedLane| lane.counts.each_ref().map(|n| n.load(Ordering::Relaxed));
        LaneTotals::sum(self.0.iter().map(counts))
    }

    /// The lane with this number.
    pub(super) fn get(&self, number: u16) -> Result<&SharedLane, LogError> {
        let lane = self.0.get(usize::from(number));
        lane.ok_or_else(|| LogError(format!("there is no lane {number}")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lane::state::RetainedLimits;
    use crate::policy::AllowAll;

    #[test]
    fn what_is_stored_is_loaded() {
        let limits = RetainedLimits {
            messages: 1,
            bytes: 1,
        };
        let lane = |number| Lane::new(number, Box::new(AllowAll), limits);
        let table = LaneTable::new((0..2).map(lane), lane(2));
        assert_eq!(table.totals(), LaneTotals::default());
        table.0[1].store_counts([5, 50, 1, 2, 3, 4]);
        let expected = LaneTotals {
            retained: 5,
            retained_bytes: 50,
            subscriptions: 1 + 3,
            shared: 2 + 4,
        };
        assert_eq!(table.totals(), expected);
    }
}
