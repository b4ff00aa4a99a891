//! All lanes of a node, each behind a lock.

use super::log::{Appender, LogError};
use super::perform::Running;
use crate::clock;
use crate::lane::state::{Batch, BatchHeader, LANE_COUNTS, Lane, LaneTotals};
use parking_lot::{Condvar, Mutex, MutexGuard};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Instant;

/// This node as a writer of batches. There is one node.
const WRITER: u32 = 0;

/// One lane, as the threads of a node share it.
///
/// It has two locks. Whoever needs both takes `state` before `sequence`, and nobody waits for
/// anything else while holding `sequence`.
pub(crate) struct SharedLane {
    /// Whoever holds it applies a batch: the one that is next by its number.
    pub(super) state: Mutex<Running>,
    /// Whether batches that find the lane busy go to its log. The lane of the node has none.
    pub(super) has_log: bool,
    /// The order in which this lock is taken is the order of the lane's numbers.
    sequence: Mutex<Sequence>,
    /// Notified, with `state` locked, after each batch that came by the log.
    applied: Condvar,
    /// The lane applies nothing any more: it has a batch that cannot be read.
    stopped: AtomicBool,
    /// How much the lane holds, as of the last batch. Written while the lane is locked, and read at any time: a
    /// reader may see some of the numbers before a batch and some after it.
    counts: [AtomicU64; LANE_COUNTS],
}

/// Gives the lane's batches their numbers and times.
struct Sequence {
    term: u64,
    /// The number of the next batch.
    next: u64,
}

impl Sequence {
    /// The header of the next batch.
    fn header(&self) -> BatchHeader {
        let at = clock::now_ms();
        BatchHeader {
            writer: WRITER,
            term: self.term,
            number: self.next,
            at,
            wall: at,
        }
    }

    /// Whether every batch that has a number was applied.
    fn is_applied(&self, lane: &Lane) -> bool {
        self.next == lane.last_number(WRITER, self.term) + 1
    }
}

impl SharedLane {
    /// Publishes how much the lane holds. The caller has locked it.
    pub(super) fn store_counts(&self, counts: [u64; LANE_COUNTS]) {
        for (count, number) in self.counts.iter().zip(counts) {
            count.store(number, Ordering::Relaxed);
        }
    }

    /// Gives the next number to a batch that is applied in place now. None if a batch is in the log
    /// or the lane has stopped: then nothing may overtake.
    ///
    /// While the lane is locked the batch stays the next: one that comes into the log from now on
    /// has a higher number.
    pub(super) fn number_in_place(&self, running: &MutexGuard<'_, Running>) -> Option<BatchHeader> {
        let mut sequence = self.sequence.lock();
        if self.has_stopped() || !sequence.is_applied(&running.lane) {
            return None;
        }
        let header = sequence.header();
        sequence.next += 1;
        Some(header)
    }

    /// Gives the next number to a batch, and appends it by `link`, as number `lane`. Its capacity
    /// must have been reserved. All batches of the lane must come by one link: an engine may mix up
    /// the order of two.
    pub(super) fn append(
        &self,
        lane: u16,
        batch: Batch,
        link: &dyn Appender,
    ) -> Result<(), LogError> {
        let mut sequence = self.sequence.lock();
        link.append(lane, batch.seal(&sequence.header()))?;
        sequence.next += 1;
        Ok(())
    }

    /// Tells those who wait that a batch has been applied. The lane is still locked.
    pub(super) fn notify_applied(&self, _locked: &MutexGuard<'_, Running>) {
        self.applied.notify_all();
    }

    /// Whether the lane has applied all that it will ever apply of what has a number.
    fn is_idle(&self, running: &MutexGuard<'_, Running>) -> bool {
        self.has_stopped() || self.sequence.lock().is_applied(&running.lane)
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
        let Some(mut running) = self.state.try_lock_until(deadline) else {
            return false;
        };
        while !self.is_idle(&running) {
            let waited = self.applied.wait_until(&mut running, deadline);
            if waited.timed_out() {
                return self.is_idle(&running);
            }
        }
        true
    }
}

/// All lanes of a node, by number. The last is the lane of the node: what is in it concerns this
/// process alone (`$SYS`), so no log contains it, and every batch for it is applied in place.
pub(crate) struct LaneTable(Vec<SharedLane>);

impl LaneTable {
    /// Lanes that have no entry yet. `term` is this run of the node.
    pub(crate) fn new(term: u64, with_log: impl Iterator<Item = Lane>, of_node: Lane) -> Self {
        let shared = |lane, has_log| SharedLane {
            state: Mutex::new(Running::new(lane)),
            has_log,
            sequence: Mutex::new(Sequence { term, next: 1 }),
            applied: Condvar::new(),
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
    use crate::lane::state::{BatchTurn, RetainedLimits, lane_with};
    use crate::policy::{AllowAll, BoxFuture};
    use bytes::Bytes;
    use std::time::Duration;

    const TERM: u64 = 7;

    fn table() -> LaneTable {
        let limits = RetainedLimits {
            messages: 1,
            bytes: 1,
        };
        let lane = |number| lane_with(number, Box::new(AllowAll), limits);
        LaneTable::new(TERM, (0..2).map(lane), lane(2))
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

    /// A link to a log that keeps nothing.
    struct Link {
        works: bool,
    }

    impl Appender for Link {
        fn try_reserve(&self, _: u16, _: usize) -> Result<bool, LogError> {
            Ok(true)
        }
        fn reserve(&self, _: u16, _: usize) -> BoxFuture<'_, Result<(), LogError>> {
            Box::pin(async { Ok(()) })
        }
        fn append(&self, _: u16, _: Bytes) -> Result<(), LogError> {
            let error = || LogError::Engine("it is closed".into());
            self.works.then_some(()).ok_or_else(error)
        }
    }

    fn append(lane: &SharedLane) {
        let link = Link { works: true };
        lane.append(0, Batch::default(), &link).unwrap();
    }

    /// Applies the next batch, as an applier does.
    fn apply_next(lane: &SharedLane) {
        let mut locked = lane.state.lock();
        let next = BatchHeader {
            number: locked.lane.last_number(WRITER, TERM) + 1,
            ..lane.sequence.lock().header()
        };
        assert_eq!(locked.lane.begin(&next), BatchTurn::Take);
        lane.notify_applied(&locked);
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
        append(lane);
        append(lane);
        assert!(!is_applied(&table), "two are in the log");
        apply_next(lane);
        assert!(!is_applied(&table), "one is in the log");
        apply_next(lane);
        assert!(is_applied(&table));
    }

    #[test]
    fn a_wait_ends_with_the_last_batch_in_the_log() {
        let table = table();
        let lane = table.get(0).unwrap();
        for _ in 0..100 {
            append(lane);
            std::thread::scope(|scope| {
                scope.spawn(|| apply_next(lane));
                let deadline = Instant::now() + Duration::from_secs(30);
                assert!(table.wait_until_applied(deadline));
            });
        }
    }

    #[test]
    fn a_batch_is_numbered_in_place_only_if_none_is_in_the_log() {
        let table = table();
        let lane = table.get(0).unwrap();
        let in_place = || {
            let mut locked = lane.state.lock();
            let header = lane.number_in_place(&locked)?;
            assert_eq!(locked.lane.begin(&header), BatchTurn::Take);
            Some(header.number)
        };
        assert_eq!(in_place(), Some(1));
        assert_eq!(in_place(), Some(2));
        append(lane);
        assert_eq!(in_place(), None);
        apply_next(lane);
        assert_eq!(in_place(), Some(4));
        lane.stop(&lane.state.lock());
        assert_eq!(in_place(), None);
    }

    /// A batch that the log does not take leaves no hole.
    #[test]
    fn a_failed_append_uses_up_no_number() {
        let table = table();
        let lane = table.get(0).unwrap();
        let failed = lane.append(0, Batch::default(), &Link { works: false });
        assert!(failed.is_err());
        assert!(is_applied(&table));
        append(lane);
        apply_next(lane);
        assert!(is_applied(&table));
    }
}
