//! All lanes of this process, each behind a lock.

use super::log::LogError;
use super::stock::Shown;
use crate::lane::state::{Lane, Stock};
use parking_lot::Mutex;
use std::sync::atomic::AtomicUsize;

/// A lane's state, and how many batches of it are on their way by the log.
pub(crate) struct Place {
    pub(super) state: Mutex<Lane>,
    pub(super) in_log: AtomicUsize,
    /// As of the last batch.
    pub(super) stock: Shown,
}

/// All lanes, by number.
pub(crate) struct Places(Vec<Place>);

impl Places {
    pub(crate) fn new(lanes: impl Iterator<Item = Lane>) -> Self {
        let place = |lane| Place {
            state: Mutex::new(lane),
            in_log: AtomicUsize::new(0),
            stock: Shown::default(),
        };
        Places(lanes.map(place).collect())
    }

    /// What all lanes hold.
    pub(crate) fn stock(&self) -> Stock {
        Stock::sum(self.0.iter().map(|place| place.stock.get()))
    }

    pub(super) fn of(&self, lane: u16) -> Result<&Place, LogError> {
        let place = self.0.get(usize::from(lane));
        place.ok_or_else(|| LogError(format!("there is no lane {lane}")))
    }
}
