//! All lanes of this process, each behind a lock.

use super::counts::AtomicCounts;
use super::log::LogError;
use crate::lane::state::{Lane, LaneTotals};
use parking_lot::Mutex;
use std::sync::atomic::AtomicUsize;

/// A lane's state, and how many batches of it are on their way by the log.
pub(crate) struct SharedLane {
    pub(super) state: Mutex<Lane>,
    pub(super) batches_in_log: AtomicUsize,
    /// As of the last batch.
    pub(super) counts: AtomicCounts,
}

/// All lanes, by number.
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

    /// What all lanes hold.
    pub(crate) fn totals(&self) -> LaneTotals {
        LaneTotals::sum(self.0.iter().map(|lane| lane.counts.load()))
    }

    pub(super) fn get(&self, number: u16) -> Result<&SharedLane, LogError> {
        let lane = self.0.get(usize::from(number));
        lane.ok_or_else(|| LogError(format!("there is no lane {number}")))
    }
}
