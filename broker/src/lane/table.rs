//! All lanes of a node, each behind a lock.

use super::log::{FollowerWaker, LaneLog, LogError};
use super::perform::Running;
use super::sequence::Sequence;
use parking_lot::{Condvar, Mutex};
use roommq_lane::{LANE_COUNTS, Lane, LaneTotals};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};
use tokio::sync::Notify;

/// How long a task may block its thread for the lock of a lane.
const LOCK_TIME: Duration = Duration::from_micros(100);

/// One lane, as the threads of a node share it.
///
/// It has two locks. Whoever needs both takes that of `state` before that of `sequence`.
pub(crate) struct SharedLane {
    /// Whoever holds it applies a batch, the one that is next by its number, or reads. Tasks may wait for
    /// the end of that: see [`unlocked`](Self::unlocked).
    pub(super) state: Mutex<Running>,
    /// The numbers of the lane's batches.
    pub(super) sequence: Sequence,
    /// Notified, with `state` locked, after each batch that came by the log.
    applied: Condvar,
    /// The lane applies nothing any more: it has a batch that cannot be read.
    stopped: AtomicBool,
    /// How much the lane holds, as of the last batch. Written while the lane is locked, and read at any time: a
    /// reader may see some of the numbers before a batch and some after it.
    counts: [AtomicU64; LANE_COUNTS],
    /// Wakes one of the tasks that wait for `state` when it is unlocked.
    freed: Notify,
    /// Whether a batch that was begun in place is left to the applier.
    left_to_applier: AtomicBool,
    /// Wakes the applier. None: the lane has none.
    applier: OnceLock<Arc<dyn FollowerWaker>>,
}

/// Tells a task that waits that the lane is unlocked, or the next one that comes to wait. Whoever locks
/// the state declares it before the lock, so that it is dropped behind it.
pub(super) struct Unlocked<'a>(&'a Notify);

impl Drop for Unlocked<'_> {
    fn drop(&mut self) {
        self.0.notify_one();
    }
}

impl SharedLane {
    /// To be dropped when the caller has unlocked the state.
    pub(super) fn unlocked(&self) -> Unlocked<'_> {
        Unlocked(&self.freed)
    }

    /// Runs short work under the lock. If the lane is busy for long, the task waits and its thread serves
    /// others.
    pub(super) async fn locked_soon<T>(&self, work: impl FnOnce(&Running) -> T) -> T {
        loop {
            if let Some(running) = self.state.try_lock_for(LOCK_TIME) {
                let result = work(&running);
                drop(running);
                drop(self.unlocked());
                return result;
            }
            // Whoever has it now leaves a permit here.
            self.freed.notified().await;
        }
    }

    /// Publishes how much the lane holds. The caller has locked it.
    pub(super) fn store_counts(&self, counts: [u64; LANE_COUNTS]) {
        for (count, number) in self.counts.iter().zip(counts) {
            count.store(number, Ordering::Relaxed);
        }
    }

    /// Notes what the lane has applied of its log, and tells those who wait. The lane is still
    /// locked.
    pub(super) fn notify_applied(&self, running: &Running) {
        if !running.is_unfinished() {
            // A lane that has stopped applies nothing of what is left.
            self.sequence.set_applied(&running.lane, self.has_stopped());
            self.applied.notify_all();
        }
    }

    /// Whether the lane has applied all that it will ever apply of what has a number.
    fn is_idle(&self, running: &Running) -> bool {
        let is_applied = || self.sequence.is_applied(&running.lane) && !running.is_unfinished();
        self.has_stopped() || is_applied()
    }

    /// Leaves the rest of a batch to the lane's applier.
    pub(super) fn leave_to_applier(&self, _locked: &Running) {
        self.left_to_applier.store(true, Ordering::Release);
        if let Some(Err(error)) = self.applier.get().map(|applier| applier.wake()) {
            tracing::error!(lane = self.sequence.lane, %error, "an applier cannot be woken");
        }
    }

    /// Whether a batch has been left to the applier since it last asked.
    pub(super) fn take_left(&self) -> bool {
        self.left_to_applier.load(Ordering::Relaxed)
            && self.left_to_applier.swap(false, Ordering::Acquire)
    }

    /// Stops the lane for good.
    pub(super) fn stop(&self, _locked: &Running) {
        self.stopped.store(true, Ordering::Release);
    }

    /// Whether the lane has stopped. If so, it must apply nothing and be given nothing.
    pub(super) fn has_stopped(&self) -> bool {
        self.stopped.load(Ordering::Acquire)
    }

    /// As [`LaneTable::wait_until_applied`], for one lane.
    fn wait_until_applied(&self, deadline: Instant) -> bool {
        let _unlocked = self.unlocked();
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
    /// Lanes that have no entry yet. `term` is this run of the node. Batches are appended to `log`
    /// by so many links; lane `n` has link `n` modulo their number.
    ///
    /// # Errors
    /// The log failed.
    pub(crate) fn new(
        term: u64,
        log: &dyn LaneLog,
        links: usize,
        with_log: impl Iterator<Item = Lane>,
        of_node: Lane,
    ) -> Result<Self, LogError> {
        let link = |_| Ok((log.promise(), Arc::from(log.appender()?)));
        let links: Result<Vec<_>, LogError> = (0..links).map(link).collect();
        let links = links?;
        let logs = links.iter().cloned().map(Some).cycle();
        let running = |lane, has_applier: bool| {
            let mut running = Running::new(lane);
            if !has_applier {
                running.slice = usize::MAX;
            }
            Mutex::new(running)
        };
        let shared = |(lane, (state, log)): (u16, (Lane, Option<_>))| SharedLane {
            state: running(state, log.is_some()),
            sequence: Sequence {
                lane,
                term,
                log,
                numbers: Mutex::default(),
            },
            applied: Condvar::new(),
            stopped: AtomicBool::new(false),
            counts: Default::default(),
            freed: Notify::new(),
            left_to_applier: AtomicBool::new(false),
            applier: OnceLock::new(),
        };
        let lanes = with_log.zip(logs).chain([(of_node, None)]);
        Ok(LaneTable((0..).zip(lanes).map(shared).collect()))
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

    /// Appends again, for ever, what a log that is kept may have lost: all batches of a lane that has
    /// applied nothing for an interval, or for up to two.
    pub(crate) async fn resend(&self, interval: Duration) {
        let mut ticks = tokio::time::interval(interval);
        loop {
            ticks.tick().await;
            self.0.iter().for_each(|lane| lane.sequence.tick());
        }
    }

    /// Notes who wakes the applier of these lanes. Call it before anything is appended.
    pub(super) fn serve_by(&self, lanes: &[u16], applier: &Arc<dyn FollowerWaker>) {
        for lane in lanes.iter().filter_map(|lane| self.get(*lane).ok()) {
            let _ = lane.applier.set(applier.clone());
        }
    }

    /// How many messages all lanes store for sessions.
    #[cfg(test)]
    pub(crate) fn stored_messages(&self) -> usize {
        let stored = |lane: &SharedLane| lane.state.lock().lane.stored_messages();
        self.0.iter().map(stored).sum()
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
    use crate::clock::times;
    use crate::lane::log::{Appender, Follower, Position, Promise};
    use crate::lane::scene::lane_with;
    use crate::lane::sequence::WRITER;
    use crate::policy::{AllowAll, BoxFuture};
    use bytes::Bytes;
    use futures_util::FutureExt;
    use futures_util::future::join_all;
    use roommq_lane::{Batch, BatchHeader, BatchTurn, RetainedLimits, WallTime};

    const TERM: u64 = 7;

    fn table() -> LaneTable {
        of_log(Log { works: true })
    }

    fn of_log(log: Log) -> LaneTable {
        let limits = RetainedLimits {
            messages: 1,
            bytes: 1,
        };
        let lane = |number| lane_with(number, Box::new(AllowAll), limits);
        LaneTable::new(TERM, &log, 1, (0..2).map(lane), lane(2)).unwrap()
    }

    #[test]
    fn what_is_stored_is_loaded() {
        let table = table();
        assert_eq!(table.totals(), LaneTotals::default());
        table.0[1].store_counts([5, 50, 1, 2, 3, 4, 6]);
        let expected = LaneTotals {
            retained: 5,
            retained_bytes: 50,
            subscriptions: 1 + 3,
            shared: 2 + 4,
            kept: 6,
        };
        assert_eq!(table.totals(), expected);
    }

    /// A volatile log that nobody follows.
    #[derive(Clone, Copy)]
    struct Log {
        works: bool,
    }

    impl LaneLog for Log {
        fn appender(&self) -> Result<Box<dyn Appender>, LogError> {
            Ok(Box::new(*self))
        }
        fn promise(&self) -> Promise {
            Promise::Volatile
        }
        fn follower(&self, _: &[(u16, Position)]) -> Result<Box<dyn Follower>, LogError> {
            Err(LogError::Engine("nobody follows".into()))
        }
    }

    impl Appender for Log {
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
        lane.sequence.append(Batch::default()).unwrap();
    }

    /// Applies the next batch, as an applier does.
    fn apply_next(lane: &SharedLane) {
        let mut locked = lane.state.lock();
        let next = BatchHeader {
            writer: WRITER,
            term: TERM,
            number: locked.lane.last_number(WRITER, TERM) + 1,
            at: 1,
            wall: WallTime(1),
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
            let header = lane.sequence.number_in_place(&locked.lane, times())?;
            assert_eq!(locked.lane.begin(&header), BatchTurn::Take);
            Some(header.number)
        };
        assert_eq!(in_place(), Some(1));
        assert_eq!(in_place(), Some(2));
        append(lane);
        assert_eq!(in_place(), None);
        apply_next(lane);
        assert_eq!(in_place(), Some(4));
    }

    /// A batch that the log does not take leaves no hole.
    #[test]
    fn a_failed_append_uses_up_no_number() {
        let table = of_log(Log { works: false });
        let failed = table.0[0].sequence.append(Batch::default());
        assert!(failed.is_err());
        assert!(is_applied(&table));
    }

    #[test]
    fn tasks_that_wait_for_a_lane_are_woken_one_after_the_other() {
        let table = table();
        let lane = table.get(0).unwrap();
        let locked = lane.state.lock();
        let mut waiting: Vec<_> = (0..5).map(|_| Box::pin(lane.locked_soon(|_| ()))).collect();
        for task in &mut waiting {
            assert!(task.now_or_never().is_none(), "the lane is locked");
        }
        // One of them does not wait any longer.
        waiting.pop();
        drop(locked);
        drop(lane.unlocked());
        let runtime = tokio::runtime::Builder::new_current_thread().build();
        runtime.unwrap().block_on(join_all(waiting));
    }
}
