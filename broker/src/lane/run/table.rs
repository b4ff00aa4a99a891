//! All lanes of a node, each behind a lock.

use super::counts::AtomicCounts;
use super::log::LogError;
use crate::lane::state::{Lane, LaneTotals};
use parking_lot::Mutex;
use std::sync::atomic::AtomicUsize;

/// One lane, as the threads of a node share it.
pub(crate) struct SharedLane {
    /// The order in which this lock is taken is the order of the lane's entries.
    pub(super) state: Mutex<Lane>,
    /// Batches that were given to the log and have not been applied. Only if there are none may a
    /// batch be applied in place.
    pub(super) batches_in_log: AtomicUsize,
    /// As of the last batch.
    pub(super) counts: AtomicCounts,
}

/// All lanes of a node, by number.
pub(crate) struct LaneTable(Vec<SharedLane>);

impl LaneTable {
    pub(crate) fn new(lanes: impl Iterator<Item = Lane>) -> Self {
        let shared = |lane| SharedLane {
            state: Mutex::new(lane),
            batches_in_log: AtomicUsize::new(0),
            counts: AtomicCounts::default(),
        };
        LaneTable(lanes.map(shared).collect())
    }

    /// How much all lanes hold together.
    pub(crate) fn totals(&self) -> LaneTotals {
        LaneTotals::sum(self.0.iter().map(|lane| lane.counts.load()))
    }

    /// The lane with this number.
    pub(super) fn get(&self, number: u16) -> Result<&SharedLane, LogError> {
        let lane = self.0.get(usize::from(number));
        lane.ok_or_else(|| LogError(format!("there is no lane {number}")))
    }
}
