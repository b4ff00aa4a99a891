//! All lanes of a node, each behind a lock.

use super::log::LogError;
use super::perform::Running;
use crate::lane::state::{LANE_COUNTS, Lane, LaneTotals};
use parking_lot::{Condvar, Mutex, MutexGuard};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::Instant;

/// One lane, as the threads of a node share it.
pub(crate) struct SharedLane {
    /// The order in which this lock is taken is the order of the lane's entries.
    pub(super) state: Mutex<Running>,
    /// Whether batches that find the lane busy go to its log. The lane of the node has none.
    pub(super) has_log: bool,
    /// Batches that were given to the log and have not been applied. Only if there are none may a
    /// batch be applied in place.
    batches_in_log: AtomicUsize,
    /// Notified, with `state` locked, when the log has become empty.
    log_emptied: Condvar,
    /// The lane applies nothing any more: it has a batch that cannot be read.
    stopped: AtomicBool,
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

    /// Counts a batch that is about to be given to the log. Call this before the applier can see it.
    pub(super) fn enter_log(&self) {
        self.batches_in_log.fetch_add(1, Ordering::AcqRel);
    }

    /// Uncounts a batch that has been applied, or that the log has not taken. The lane is still
    /// locked: it is idle only once its log has been applied.
    pub(super) fn leave_log(&self, _locked: &MutexGuard<'_, Running>) {
        if self.batches_in_log.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.log_emptied.notify_all();
        }
    }

    /// Whether the lane is idle. If so, it stays idle while it is locked: a batch that comes into
    /// the log from now on is behind one that is applied in place.
    pub(super) fn is_idle(&self, _locked: &MutexGuard<'_, Running>) -> bool {
        self.batches_in_log.load(Ordering::Acquire) == 0
    }

    /// Stops the lane for good.
    pub(super) fn stop(&self, _locked: &MutexGuard<'_, Running>) {
        self.stopped.store(true, Ordering::Release);
    }

    /// Whether the lane has stopped. If so, it must apply nothing and be given nothing.
    pub(super) fn has_stopped(&self) -> bool {
        self.stopped.load(Ordering::Acquire)
    }

    /// As [`LaneTable::wait_until_applied`], for one lane.
    fn wait_until_applied(&self, deadline: Instant) -> bool {
        // The thread that holds the lock is applying a batch.
        let Some(mut lane) = self.state.try_lock_until(deadline) else {
            return false;
        };
        while !self.is_idle(&lane) {
            let waited = self.log_emptied.wait_until(&mut lane, deadline);
            if waited.timed_out() {
                return self.is_idle(&lane);
            }
        }
        true
    }
}

/// All lanes of a node, by number. The last is the lane of the node: what is in it concerns this
/// process alone (`$SYS`), so no log contains it, and every batch for it is applied in place.
pub(crate) struct LaneTable(Vec<SharedLane>);

impl LaneTable {
    pub(crate) fn new(with_log: impl Iterator<Item = Lane>, of_node: Lane) -> Self {
        let shared = |lane, has_log| SharedLane {
            state: Mutex::new(Running::new(lane)),
            has_log,
            batches_in_log: AtomicUsize::new(0),
            log_emptied: Condvar::new(),
            stopped: AtomicBool::new(false),
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

    /// Blocks until each lane has applied everything that was appended before, in place or by its
    /// log. False if that takes longer than until `deadline`.
    pub(crate) fn wait_until_applied(&self, deadline: Instant) -> bool {
        self.0.iter().all(|lane| lane.wait_until_applied(deadline))
    }

    /// The lane with this number.
    pub(super) fn get(&self, number: u16) -> Result<&SharedLane, LogError> {
        let lane = self.0.get(usize::from(number));
        lane.ok_or_else(|| LogError::Engine(format!("there is no lane {number}")))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::lane::state::RetainedLimits;
    use crate::policy::AllowAll;
    use std::time::Duration;

    fn table() -> LaneTable {
        let limits = RetainedLimits {
            messages: 1,
            bytes: 1,
        };
        let lane = |number| Lane::new(number, Box::new(AllowAll), limits);
        LaneTable::new((0..2).map(lane), lane(2))
    }

    #[test]
    fn what_is_stored_is_loaded() {
        let table = table();
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

    /// The result of a wait that is over before it could block.
    fn is_applied(table: &LaneTable) -> bool {
        table.wait_until_applied(Instant::now())
    }

    #[test]
    fn a_batch_is_awaited_in_place_and_in_the_log() {
        let table = table();
        assert!(is_applied(&table));
        let lane = table.get(1).unwrap();
        let in_place = lane.state.lock();
        assert!(!is_applied(&table), "a batch is being applied in place");
        drop(in_place);
        lane.enter_log();
        lane.enter_log();
        assert!(!is_applied(&table), "two are in the log");
        lane.leave_log(&lane.state.lock());
        assert!(!is_applied(&table), "one is in the log");
        lane.leave_log(&lane.state.lock());
        assert!(is_applied(&table));
    }

    #[test]
    fn a_wait_ends_with_the_last_batch_in_the_log() {
        let table = table();
        let lane = table.get(0).unwrap();
        for _ in 0..100 {
            lane.enter_log();
            std::thread::scope(|scope| {
                scope.spawn(|| lane.leave_log(&lane.state.lock()));
                let deadline = Instant::now() + Duration::from_secs(30);
                assert!(table.wait_until_applied(deadline));
            });
        }
    }
}
