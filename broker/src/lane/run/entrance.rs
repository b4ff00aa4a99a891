//! The entrance to the lanes: applies a batch in place if its lane is idle, and appends it to the
//! log if not.
//!
//! ```text
//!   append(lane, batch)
//!     |
//!     |  lock is free?      no --+
//!     |  log is empty?      no --+--> Appender::reserve: waits while the lane has no capacity.
//!     v                               Then, under the lane's sequence lock: number and append.
//!   number and apply it here,         The applier applies the batch later.
//!   under the lock of the state
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

use super::apply::{AbortOnPanic, apply_batch};
use super::context::NodeContext;
use super::flusher::Flusher;
use super::log::{Appender, LaneLog, LogError};
use super::table::{LaneTable, SharedLane};
use crate::lane::state::Batch;
use crate::outbox::Outbox;
use futures_util::future::{Either, ready};
use std::sync::Arc;

/// One thread's entrance to all lanes. Batches that one task appends to a lane, one after the
/// other, keep their order.
#[derive(Clone)]
pub(crate) struct Entrance {
    lanes: Arc<LaneTable>,
    /// Lane `n` has the link `n` modulo their number. All entrances share them: the order of two
    /// links is not the order in which they were used.
    links: Arc<[Box<dyn Appender>]>,
    context: Arc<NodeContext>,
    flusher: Arc<Flusher>,
    /// Whether the engine allows batches past the log.
    in_place: bool,
}

impl Entrance {
    /// An entrance that appends to `log` by so many links. There is one for all lanes of a node;
    /// other threads get theirs by [`of_another_thread`](Self::of_another_thread).
    pub(crate) fn new(
        log: &dyn LaneLog,
        links: usize,
        lanes: Arc<LaneTable>,
        context: Arc<NodeContext>,
    ) -> Result<Self, LogError> {
        let links: Result<Vec<_>, _> = (0..links).map(|_| log.appender()).collect();
        Ok(Entrance {
            lanes,
            links: links?.into(),
            context,
            flusher: Arc::default(),
            in_place: log.allows_in_place(),
        })
    }

    /// The entrance of another thread, which appends by the same links.
    pub(crate) fn of_another_thread(&self) -> Self {
        Entrance {
            flusher: Arc::default(),
            ..self.clone()
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

    /// Appends a batch. Resolves when it has its place in the lane's order: it has been applied, or
    /// it is in the log. Waits while the log of the lane has no capacity.
    ///
    /// # Errors
    /// There is no such lane, it has stopped, or the log failed.
    pub(crate) async fn append(&self, lane: u16, batch: Batch) -> Result<(), LogError> {
        self.append_and(lane, batch, || {}).await
    }

    /// [`append`](Self::append), and calls `placed` once when the batch has its place.
    ///
    /// In place, that is before the batch has any effect, while the lane is locked: `placed` must
    /// not append. By the log, the applier may have applied the batch already.
    pub(crate) fn append_and(
        &self,
        lane: u16,
        batch: Batch,
        mut placed: impl FnMut(),
    ) -> impl Future<Output = Result<(), LogError>> {
        if let Some(done) = self.append_in_place(lane, &batch, &mut placed) {
            return Either::Left(ready(done));
        }
        // Boxed: it is rare, and each idle connection would hold its size.
        Either::Right(Box::pin(self.append_to_log(lane, batch, placed)))
    }

    /// None, and nothing has happened, if the batch has to go by the log.
    fn append_in_place(
        &self,
        lane: u16,
        batch: &Batch,
        placed: impl FnOnce(),
    ) -> Option<Result<(), LogError>> {
        let shared = match self.lanes.get(lane) {
            Ok(shared) => shared,
            Err(error) => return Some(Err(error)),
        };
        if shared.has_stopped() {
            return Some(Err(LogError::Stopped));
        }
        if (self.in_place || !shared.has_log) && self.apply(lane, shared, batch, placed) {
            return Some(Ok(()));
        }
        // Only a lane that has stopped meanwhile is not applied in place without a log.
        (!shared.has_log).then_some(Err(LogError::Stopped))
    }

    async fn append_to_log(
        &self,
        lane: u16,
        batch: Batch,
        mut placed: impl FnMut(),
    ) -> Result<(), LogError> {
        let (shared, link) = (self.lanes.get(lane)?, self.link(lane)?);
        if !link.try_reserve(lane, batch.len())? {
            link.reserve(lane, batch.len()).await?;
        }
        shared.append(lane, batch, link)?;
        // The lane may have stopped during the wait. Then the batch must not be acknowledged.
        if shared.has_stopped() {
            return Err(LogError::Stopped);
        }
        placed();
        Ok(())
    }

    /// The link by which all batches of a lane are appended.
    fn link(&self, lane: u16) -> Result<&dyn Appender, LogError> {
        let link = usize::from(lane).checked_rem(self.links.len());
        let link = link.and_then(|link| self.links.get(link));
        let none = || LogError::Engine("there is no link to it".to_owned());
        link.map(Box::as_ref).ok_or_else(none)
    }

    /// Applies the batch in place. False, and nothing has happened, if the lane has a log and is not
    /// idle, or has stopped.
    fn apply(
        &self,
        number: u16,
        shared: &SharedLane,
        batch: &Batch,
        placed: impl FnOnce(),
    ) -> bool {
        let locked = if shared.has_log {
            shared.state.try_lock()
        } else {
            Some(shared.state.lock())
        };
        let Some(mut running) = locked else {
            return false;
        };
        let Some(header) = shared.number_in_place(&running) else {
            return false;
        };
        let _no_half_state = AbortOnPanic;
        placed();
        let mut to_flush = self.flusher.to_flush.lock();
        let batch = Ok((header, batch.read()));
        apply_batch(
            number,
            shared,
            &mut running,
            batch,
            &self.context,
            &mut to_flush,
        );
        if !to_flush.is_empty() {
            self.flusher.wake.notify_one();
        }
        true
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::lane::state::lane_with;
    use crate::lane::{
        Applier, Embedded, Entry, Lane, LaneLog, Mailboxes, PublishEntry, RetainedLimits, Timers,
    };
    use crate::packet::QoS;
    use crate::policy::{
        Actor, AllowAll, HookContext, LaneHook, Limit, Mark, Message, Refusal, Request, SessionId,
        Verdict,
    };
    use crate::sessions::Sessions;
    use futures_util::FutureExt;
    use parking_lot::Mutex;
    use std::collections::HashMap;
    use std::time::{Duration, Instant};

    const TERM: u64 = 7;

    /// The numbers that each client has sent, in the lane's order.
    struct Notes(Arc<Mutex<HashMap<u64, Vec<u32>>>>);

    impl LaneHook for Notes {
        fn judge(
            &mut self,
            cx: &mut HookContext<'_>,
            who: Actor<'_>,
            requests: &[Request<'_>],
        ) -> Vec<Result<(), Refusal>> {
            AllowAll.judge(cx, who, requests)
        }
        fn publish(
            &mut self,
            _: &mut HookContext<'_>,
            who: Actor<'_>,
            message: Message<'_>,
        ) -> Result<Verdict, Refusal> {
            let number = u32::from_be_bytes(message.payload.try_into().unwrap());
            let mut notes = self.0.lock();
            notes.entry(who.session.n).or_default().push(number);
            Ok(Verdict {
                mark: Mark::default(),
                keep: false,
                limit: Limit::None,
            })
        }
        fn may_see(&self, _: Actor<'_>, _: &str) -> bool {
            true
        }
    }

    fn message(client: u64, number: u32) -> Batch {
        Batch::of(&Entry::Publish(PublishEntry {
            at: 1,
            origin: Some(Actor {
                session: SessionId { term: 1, n: client },
                connection: 1,
                user: "u",
            }),
            topic: "t",
            payload: &number.to_be_bytes(),
            qos: QoS::AtMostOnce,
            retain: false,
            properties: None,
        }))
    }

    fn lane(number: u16, notes: &Arc<Mutex<HashMap<u64, Vec<u32>>>>) -> Lane {
        let limits = RetainedLimits {
            messages: 1,
            bytes: 1,
        };
        lane_with(number, Box::new(Notes(Arc::clone(notes))), limits)
    }

    fn context() -> Arc<NodeContext> {
        Arc::new(NodeContext {
            sessions: Arc::new(Sessions::new(1, 0)),
            mailboxes: Mailboxes::new(1).0,
            timers: Arc::new(Timers::default()),
            policy: Arc::new(AllowAll),
        })
    }

    /// The log of the one other lane is full, so whatever went there would wait for ever.
    #[test]
    fn the_lane_of_the_node_is_served_without_a_log() {
        let notes = Arc::default();
        let log = Embedded::start(1, 1 << 10);
        let lanes = Arc::new(LaneTable::new(
            TERM,
            [lane(0, &notes)].into_iter(),
            lane(1, &notes),
        ));
        let busy = lanes.get(0).unwrap().state.lock();
        let appender = log.appender().unwrap();
        while appender.try_reserve(0, 100).unwrap() {}
        for in_place in [true, false] {
            let mut entrance = Entrance::new(&log, 1, lanes.clone(), context()).unwrap();
            entrance.in_place = in_place;
            let result = entrance.append(1, message(7, 1)).now_or_never();
            assert!(matches!(result, Some(Ok(()))), "{in_place}: {result:?}");
        }
        drop(busy);
        assert_eq!(notes.lock()[&7], [1, 1]);
    }

    /// Several threads append to one lane, in place or to the log as it happens. The order of each
    /// is kept, nothing is lost or repeated, and the numbers have neither holes nor repeats: the
    /// lane would have stopped.
    #[test]
    fn both_ways_in_keep_one_order() {
        const EACH: u32 = 20_000;
        let notes = Arc::default();
        let log = Embedded::start(1, 4 << 10);
        let lanes = Arc::new(LaneTable::new(
            TERM,
            [lane(0, &notes)].into_iter(),
            lane(1, &notes),
        ));
        let context = context();
        let follower = log.follower(&[0]).unwrap();
        let applier = Applier {
            lanes: lanes.clone(),
            follower,
            context: context.clone(),
            stopped: Arc::default(),
        };
        let stop = applier.stop_handle();
        let applier = std::thread::spawn(|| applier.run());
        let first = Entrance::new(&log, 1, lanes.clone(), context.clone()).unwrap();
        let entrance = |client| (client, first.of_another_thread());
        let mut entrances: Vec<(u64, Entrance)> = (0..3).map(entrance).collect();
        std::thread::scope(|scope| {
            for (client, entrance) in &mut entrances {
                scope.spawn(move || {
                    let runtime = tokio::runtime::Builder::new_current_thread().build();
                    runtime.unwrap().block_on(async {
                        for number in 0..EACH {
                            let batch = message(*client, number);
                            // Now and then to the log, although the lane may be idle.
                            entrance.in_place = number % 97 != 0;
                            entrance.append(0, batch).await.unwrap();
                        }
                    });
                });
            }
        });
        assert!(lanes.wait_until_applied(Instant::now() + Duration::from_secs(30)));
        stop.stop().unwrap();
        applier.join().unwrap();
        let shared = lanes.get(0).unwrap();
        assert!(!shared.has_stopped());
        assert_eq!(
            shared.state.lock().lane.last_number(0, TERM),
            3 * u64::from(EACH)
        );
        let expected: Vec<u32> = (0..EACH).collect();
        for client in 0..3 {
            assert!(notes.lock()[&client] == expected, "client {client}");
        }
    }
}
