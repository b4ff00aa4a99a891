//! The entrance to the lanes: applies entries in place if their lane is idle. If not, it encodes
//! them as a batch and appends that to the log.
//!
//! ```text
//!   append(lane, entries)
//!     |
//!     |  lock is free?      no --+
//!     |  log is empty?      no --+--> Batch::all_of: encodes them.
//!     v                               Appender::reserve: waits while the lane has no capacity.
//!   number and apply them here,       Then, under the lane's sequence lock: number and append.
//!   under the lock of the state       The applier applies the batch later.
//! ```
//!
//! | thread A | thread B | applier | order of the lane |
//! |---|---|---|---|
//! | locks the lane, applies a as number 1 | | | 1 a |
//! | | finds it locked, appends b as 2 | | 1 a, 2 b |
//! | finds 2 in the log, appends c as 3 | | | 1 a, 2 b, 3 c |
//! | | | applies 2, then 3 | |
//! | locks the lane, applies d as 4 | | | 1 a, 2 b, 3 c, 4 d |
//!
//! Applying in place saves two hops between threads. Once a batch is in the log, all later ones go
//! there too until the applier has applied them all, so nothing overtakes. Entrances try the lock
//! and never wait for it. The lane of the node has no log: for it alone they wait, and its entries
//! are short.

use super::apply::{AbortOnPanic, apply_in_place};
use super::context::NodeContext;
use super::flusher::Flusher;
use super::frames::waiting_frame;
use super::log::LogError;
use super::perform::Running;
use super::replaying::{ReplayBudget, take_turn};
use super::table::{LaneTable, SharedLane};
use crate::clock::{Times, lane_ms, times};
use crate::outbox::Outbox;
use crate::policy::SessionId;
use crate::session::{Frame, Tag};
use futures_util::future::{BoxFuture, Either, ready};
use roommq_lane::{Batch, Entry, Lane};
use std::borrow::Borrow;
use std::collections::VecDeque;
use std::sync::Arc;

/// Bytes of messages that are read from a queue at once.
const WAITING_BYTES: usize = 64 << 10;

/// The same in messages, at most.
const WAITING_MESSAGES: usize = 32;

/// A message that has waited for a session in its lane, encoded for it.
pub(crate) struct WaitingFrame {
    pub tag: Tag,
    /// Since when, in milliseconds since the Unix epoch.
    pub since: u64,
    pub frame: Frame,
}

/// The next messages that wait for a session, as many as its client can be sent. If there are none, the session has caught up: the lane
/// is locked, so no live message comes between.
pub(super) fn next_frames(
    lane: &Lane,
    session: SessionId,
    outbox: &Outbox,
) -> VecDeque<WaitingFrame> {
    let number = lane.number();
    let next = outbox.queue(|out| (out.last_handed(number), out.window_left()));
    let mut frames = VecDeque::new();
    let Some((after, window)) = next else {
        return frames;
    };
    let most = window.clamp(1, WAITING_MESSAGES);
    let mut bytes = 0;
    for waiting in lane.waiting(session, after).take(most) {
        let frame = waiting_frame(&waiting, (outbox.version(), outbox.shows_retain()));
        bytes += frame.len();
        let tag = Tag::own(number, waiting.number);
        let since = waiting.message.at;
        frames.push_back(WaitingFrame { tag, since, frame });
        if bytes > WAITING_BYTES {
            break;
        }
    }
    if frames.is_empty() {
        outbox.queue(|out| out.caught_up(number));
    }
    frames
}

/// One thread's entrance to all lanes. Entries that one task appends to a lane, one after the
/// other, keep their order.
pub(crate) struct Entrance {
    lanes: Arc<LaneTable>,
    context: Arc<NodeContext>,
    flusher: Arc<Flusher>,
}

impl Entrance {
    pub(crate) fn new(lanes: Arc<LaneTable>, context: Arc<NodeContext>) -> Self {
        Entrance {
            lanes,
            context,
            flusher: Arc::default(),
        }
    }

    /// The flusher of the outboxes that this entrance fills. A task of the thread that uses the
    /// entrance must run it.
    pub(crate) fn flusher(&self) -> Arc<Flusher> {
        self.flusher.clone()
    }

    /// Writes what waits in `outbox` after the tasks of this thread that are ready now.
    pub(crate) fn flush_soon(&self, outbox: &Arc<Outbox>) {
        self.flusher.to_flush.lock().push(outbox.clone());
        self.flusher.wake.notify_one();
    }

    /// Appends entries as one batch, or as few as they need. Resolves when they have their place in the
    /// lane's order: they have been applied, or they are in a log that loses nothing. Waits while the
    /// log of the lane has no capacity.
    ///
    /// In place, other entries of the lane wait for all of these: append no more of them at once than
    /// a batch may have.
    ///
    /// # Errors
    /// There is no such lane, it has stopped, or the log failed.
    pub(crate) fn append<'a>(
        &self,
        lane: u16,
        entries: impl IntoIterator<Item: Borrow<Entry<'a>>> + Clone,
    ) -> impl Future<Output = Result<(), LogError>> {
        let all = &mut usize::MAX.clone();
        match self.append_in_place(lane, times(), (entries.clone(), all), || {}, |_| {}) {
            Some(done) => Either::Left(ready(done.map(|_| ()))),
            None => Either::Right(self.append_to_log(lane, Batch::all_of(entries), || {})),
        }
    }

    /// The first half of [`append`](Self::append). None, and nothing has happened, if the entries have
    /// to go by the log.
    ///
    /// Takes the steps of the entries off `work`. False if none is left, and not all entries have been
    /// appended: as many have as `applied` was called.
    ///
    /// Calls `placed` when the entries have their place, before they have any effect. The lane is
    /// locked, so `placed` must not append. Calls `applied` after each entry: whether its PUBLISH matched
    /// a subscription. `times` are those of the batch: now, or a little earlier.
    pub(crate) fn append_in_place<'a>(
        &self,
        lane: u16,
        times: Times,
        (entries, work): (impl IntoIterator<Item: Borrow<Entry<'a>>>, &mut usize),
        placed: impl FnOnce(),
        applied: impl FnMut(bool),
    ) -> Option<Result<bool, LogError>> {
        let shared = match self.lanes.get(lane) {
            Ok(shared) => shared,
            Err(error) => return Some(Err(error)),
        };
        if shared.has_stopped() {
            return Some(Err(LogError::Stopped));
        }
        self.apply(shared, times, (entries, work), placed, applied)
            .map(Ok)
    }

    /// The second half of [`append`](Self::append): the entries, encoded. Calls `placed` when they have
    /// their place; the applier may have applied them already.
    ///
    /// Boxed: it is rare, and each idle connection would hold its size.
    pub(crate) fn append_to_log<'a>(
        &'a self,
        lane: u16,
        batches: Vec<Batch>,
        placed: impl FnOnce() + Send + 'a,
    ) -> BoxFuture<'a, Result<(), LogError>> {
        Box::pin(async move {
            let shared = self.lanes.get(lane)?;
            for batch in batches {
                shared.sequence.reserve(batch.encoded_len()).await?;
                if let Some(is_applied) = shared.sequence.append(batch)? {
                    // It is ready when the sender is dropped, which sends nothing.
                    let _ = is_applied.await;
                }
            }
            // The lane may have stopped during the wait. Then the entries must not be acknowledged.
            if shared.has_stopped() {
                return Err(LogError::Stopped);
            }
            placed();
            Ok(())
        })
    }

    /// The next messages that wait for a session in a lane, in order: about as many bytes as one
    /// read. If there are none, the session receives live messages of the lane from now on.
    ///
    /// It waits for the lane, which may be busy.
    pub(crate) async fn waiting(
        &self,
        number: u16,
        session: SessionId,
        outbox: &Outbox,
    ) -> VecDeque<WaitingFrame> {
        let Ok(shared) = self.lanes.get(number) else {
            return VecDeque::new();
        };
        let read = |running: &Running| next_frames(&running.lane, session, outbox);
        shared.locked_soon(read).await
    }

    /// Gives a client its next retained messages, if they are of this lane: one turn. If it returns
    /// true, the caller must arrange a [`flush`](Outbox::flush).
    ///
    /// It waits for the lane, which may be busy.
    ///
    /// # Errors
    /// There is no such lane.
    pub(crate) async fn replay(
        &self,
        lane: u16,
        outbox: &Outbox,
        budget: &mut ReplayBudget,
    ) -> Result<bool, LogError> {
        let shared = self.lanes.get(lane)?;
        let give = |running: &Running| take_turn(&running.lane, outbox, budget, lane_ms());
        Ok(shared.locked_soon(give).await)
    }

    /// Applies the entries in place, as one batch, whose rest may be left to the applier; see
    /// [`append_in_place`](Self::append_in_place). None, and nothing has happened, if the lane has stopped, or if it has a log and is not idle or must not be
    /// applied in place.
    fn apply<'a>(
        &self,
        shared: &SharedLane,
        times: Times,
        (entries, work): (impl IntoIterator<Item: Borrow<Entry<'a>>>, &mut usize),
        placed: impl FnOnce(),
        applied: impl FnMut(bool),
    ) -> Option<bool> {
        let _unlocked = shared.unlocked();
        let locked = if shared.sequence.log.is_some() {
            shared.state.try_lock()
        } else {
            Some(shared.state.lock())
        };
        let mut running = locked?;
        if shared.has_stopped() || running.is_unfinished() {
            return None;
        }
        let header = shared.sequence.number_in_place(&running.lane, times)?;
        let _no_half_state = AbortOnPanic;
        placed();
        let mut to_flush = self.flusher.to_flush.lock();
        let node = (&*self.context, &mut *to_flush);
        let all = apply_in_place(shared, &mut running, &header, entries, node, work, applied);
        if running.is_unfinished() {
            shared.leave_to_applier(&running);
        }
        if !to_flush.is_empty() {
            self.flusher.wake.notify_one();
        }
        Some(all)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::super::kept::{Fault, Kept};
    use super::super::scene::{CLIENT, Scene, TERM, append, message};
    use crate::clock::times;
    use crate::lane::{Embedded, LaneLog};
    use futures_util::FutureExt;
    use roommq_lane::Batch;

    /// The log of the one other lane is full, so whatever went there would wait for ever.
    #[test]
    fn the_lane_of_the_node_is_served_without_a_log() {
        let volatile = Embedded::start(1, 1 << 10);
        let kept = Kept::new(1, 1 << 10, || Fault::None);
        for log in [&volatile as &dyn LaneLog, &kept] {
            let scene = Scene::new(log);
            let _busy = scene.lanes.get(0).unwrap().state.lock();
            let appender = log.appender().unwrap();
            while appender.try_reserve(0, 100).unwrap() {}
            let result = append(&scene.entrance(), 1, CLIENT, 1).now_or_never();
            assert!(matches!(result, Some(Ok(()))), "{result:?}");
            assert_eq!(scene.applied(CLIENT), [1]);
        }
    }

    /// Several threads append to one lane, in place or to the log as it happens. The order of each
    /// is kept, nothing is lost or repeated, and the numbers have neither holes nor repeats: the
    /// lane would have stopped.
    #[test]
    fn both_ways_in_keep_one_order() {
        const EACH: u32 = 20_000;
        let log = Embedded::start(1, 4 << 10);
        let scene = Scene::new(&log);
        let applier = scene.start_applier(&log);
        let shared = scene.lanes.get(0).unwrap();
        let entrances: Vec<_> = (0..3).map(|client| (client, scene.entrance())).collect();
        std::thread::scope(|scope| {
            for (client, entrance) in &entrances {
                scope.spawn(move || {
                    let runtime = tokio::runtime::Builder::new_current_thread().build();
                    runtime.unwrap().block_on(async {
                        for number in 0..EACH {
                            // Now and then to the log, although the lane may be idle.
                            if number % 97 == 0 {
                                let batch = Batch::of(&message(*client, &number.to_be_bytes()));
                                shared.sequence.reserve(batch.encoded_len()).await.unwrap();
                                shared.sequence.append(batch).unwrap();
                            } else {
                                append(entrance, 0, *client, number).await.unwrap();
                            }
                        }
                    });
                });
            }
        });
        applier.finish();
        assert!(!shared.has_stopped());
        let last = shared.state.lock().lane.last_number(0, TERM);
        assert_eq!(last, 3 * u64::from(EACH));
        let expected: Vec<u32> = (0..EACH).collect();
        for client in 0..3 {
            assert!(scene.applied(client) == expected, "client {client}");
        }
    }

    /// One read may bring thousands of messages, each of which reaches many: others come in between.
    #[test]
    fn a_batch_ends_when_the_work_of_a_turn_is_done() {
        let log = Embedded::start(1, 4 << 10);
        let scene = Scene::new(&log);
        let _hearers = [1, 2, 3].map(|n| scene.hearer(n));
        let entrance = scene.entrance();
        let numbers: Vec<_> = (0..200_u32).map(u32::to_be_bytes).collect();
        let (mut next, mut turns) = (0, 0);
        while next < numbers.len() {
            let entries = numbers[next..].iter().map(|n| message(CLIENT, n));
            let (mut work, mut taken) = (500, 0);
            let entries = (entries, &mut work);
            let done = entrance.append_in_place(0, times(), entries, || {}, |_| taken += 1);
            assert!(taken > 0);
            next += taken;
            let all = done.unwrap().unwrap();
            assert_eq!(all, next == numbers.len() && work > 0);
            turns += 1;
        }
        // A message to three costs some 20 steps.
        assert!((5..=20).contains(&turns), "{turns} turns");
        let expected: Vec<u32> = (0..200).collect();
        assert_eq!(scene.applied(CLIENT), expected);
    }

    /// Each message has three receivers, and one of them is served in a turn of the lock. So each that is
    /// applied in place is left to the applier, with those behind it in its batch.
    #[test]
    fn outcomes_that_need_many_turns_keep_one_order() {
        const EACH: u32 = 1_000;
        let log = Embedded::start(1, 4 << 10);
        let scene = Scene::new(&log);
        let hearers = [1, 2, 3].map(|n| scene.hearer(n));
        let shared = scene.lanes.get(0).unwrap();
        shared.state.lock().slice = 1;
        let applier = scene.start_applier(&log);
        let entrances: Vec<_> = (0..2).map(|client| (client, scene.entrance())).collect();
        std::thread::scope(|scope| {
            for (client, entrance) in &entrances {
                scope.spawn(move || {
                    let runtime = tokio::runtime::Builder::new_current_thread().build();
                    runtime.unwrap().block_on(async {
                        for number in (0..EACH).step_by(4) {
                            let payloads = [0, 1, 2, 3].map(|n| {
                                let number = u32::try_from(*client).unwrap() * EACH + number + n;
                                number.to_be_bytes()
                            });
                            let entries = payloads.each_ref().map(|p| message(*client, p));
                            entrance.append(0, &entries).await.unwrap();
                        }
                    });
                });
            }
        });
        applier.finish();
        assert!(!shared.has_stopped());
        for hearer in hearers {
            let bytes = hearer.take_bytes();
            let messages = bytes.chunks(9);
            let heard = messages.map(|m| u32::from_be_bytes(m[5..].try_into().unwrap()));
            let heard: Vec<u32> = heard.collect();
            for client in 0..2 {
                let of_client = heard.iter().filter(|n| *n / EACH == client);
                assert!(of_client.copied().eq(client * EACH..(client + 1) * EACH));
            }
        }
    }
}
