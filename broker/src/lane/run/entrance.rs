//! The entrance to the lanes: applies a batch in place if its lane is idle, and appends it to the
//! log if not.
//!
//! ```text
//!   append(lane, batch)
//!     |
//!     |  lock is free?      no --+
//!     |  log is empty?      no --+--> Appender::append: waits while the lane has no credit left.
//!     v                               The applier applies the batch later.
//!   apply it here, under the lock
//! ```
//!
//! | thread A | thread B | applier | order of the lane |
//! |---|---|---|---|
//! | locks the lane, applies a1 | | | a1 |
//! | | finds it locked, appends b1 to the log | | a1 b1 |
//! | finds b1 in the log, appends a2 behind it | | | a1 b1 a2 |
//! | | | applies b1, then a2 | |
//! | locks the lane, applies a3 | | | a1 b1 a2 a3 |
//!
//! Applying in place saves two hops between threads. Once a batch is in the log, all later ones go
//! there too until the applier has applied them all, so nothing overtakes. Entrances try the lock
//! and never wait for it. The lane of the node has no log: for it alone they wait, and its entries
//! are short.

use super::apply::{AbortOnPanic, apply_batch};
use super::context::{NodeContext, NodeHost};
use super::flusher::Flusher;
use super::log::{AppendError, Appender, LaneLog, LogError};
use super::table::{LaneTable, SharedLane};
use crate::lane::state::Batch;
use crate::outbox::Outbox;
use std::sync::Arc;

/// One thread's entrance to all lanes. Batches that one task appends to a lane, one after the
/// other, keep their order.
pub(crate) struct Entrance {
    lanes: Arc<LaneTable>,
    appender: Box<dyn Appender>,
    context: Arc<NodeContext>,
    flusher: Arc<Flusher>,
    /// Whether the engine allows batches past the log.
    in_place: bool,
}

impl Entrance {
    /// An entrance that appends to `log`.
    pub(crate) fn new(
        log: &dyn LaneLog,
        lanes: Arc<LaneTable>,
        context: Arc<NodeContext>,
    ) -> Result<Self, LogError> {
        Ok(Entrance {
            lanes,
            appender: log.appender()?,
            context,
            flusher: Arc::default(),
            in_place: log.allows_in_place(),
        })
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
        // Not in the future, which would hold both forms of the batch.
        let batch = batch.into_bytes();
        async move {
            let shared = self.lanes.get(lane)?;
            if shared.has_stopped() {
                return Err(LogError::Stopped);
            }
            if (self.in_place || !shared.has_log) && self.apply(lane, shared, &batch, &mut placed) {
                return Ok(());
            }
            // Only a lane that has stopped meanwhile is not applied in place without a log.
            if !shared.has_log {
                return Err(LogError::Stopped);
            }
            // Boxed: it is rare beside all that an idle connection would hold for it.
            Box::pin(self.to_log(lane, shared, batch)).await?;
            // The lane may have stopped during the wait. Then the batch must not be acknowledged.
            if shared.has_stopped() {
                return Err(LogError::Stopped);
            }
            placed();
            Ok(())
        }
    }

    /// Applies the batch in place. False, and nothing has happened, if the lane has a log and is not
    /// idle, or has stopped.
    fn apply(&self, number: u16, shared: &SharedLane, batch: &[u8], placed: impl FnOnce()) -> bool {
        let locked = if shared.has_log {
            shared.state.try_lock()
        } else {
            Some(shared.state.lock())
        };
        let Some(mut lane) = locked else {
            return false;
        };
        if shared.has_stopped() || !shared.is_idle(&lane) {
            return false;
        }
        let _no_half_state = AbortOnPanic;
        placed();
        let mut to_flush = self.flusher.to_flush.lock();
        let mut host = NodeHost {
            context: &self.context,
            to_flush: &mut to_flush,
        };
        apply_batch(number, shared, &mut lane, batch, &mut host);
        if !to_flush.is_empty() {
            self.flusher.wake.notify_one();
        }
        true
    }

    /// Appends the batch to the log, and waits for capacity.
    async fn to_log(
        &self,
        lane: u16,
        shared: &SharedLane,
        batch: bytes::Bytes,
    ) -> Result<(), LogError> {
        let counted = CountedBatch::new(shared);
        match self.appender.try_append(lane, batch) {
            Ok(()) => {}
            Err(AppendError::Full(batch)) => self.appender.append(lane, batch).await?,
            Err(AppendError::Log(error)) => return Err(error),
        }
        counted.appended();
        Ok(())
    }
}

/// A batch that counts as being in a lane's log. Dropped before it is appended, it does not count
/// any more.
struct CountedBatch<'a>(Option<&'a SharedLane>);

impl<'a> CountedBatch<'a> {
    fn new(lane: &'a SharedLane) -> Self {
        lane.enter_log();
        CountedBatch(Some(lane))
    }

    /// The batch has been appended: the applier uncounts it.
    fn appended(mut self) {
        self.0 = None;
    }
}

impl Drop for CountedBatch<'_> {
    fn drop(&mut self) {
        if let Some(lane) = self.0 {
            lane.leave_log(&lane.state.lock());
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
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
        Lane::new(number, Box::new(Notes(Arc::clone(notes))), limits)
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
            [lane(0, &notes)].into_iter(),
            lane(1, &notes),
        ));
        let busy = lanes.get(0).unwrap().state.lock();
        let appender = log.appender().unwrap();
        while appender.try_append(0, vec![0; 100].into()).is_ok() {}
        for in_place in [true, false] {
            let mut entrance = Entrance::new(&log, lanes.clone(), context()).unwrap();
            entrance.in_place = in_place;
            let result = entrance.append(1, message(7, 1)).now_or_never();
            assert!(matches!(result, Some(Ok(()))), "{in_place}: {result:?}");
        }
        drop(busy);
        assert_eq!(notes.lock()[&7], [1, 1]);
    }

    /// Several threads append to one lane, in place or to the log as it happens. The order of each
    /// is kept, and nothing is lost or repeated.
    #[test]
    fn both_ways_in_keep_one_order() {
        const EACH: u32 = 20_000;
        let notes = Arc::default();
        let log = Embedded::start(1, 4 << 10);
        let lanes = Arc::new(LaneTable::new(
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
        let entrance = || Entrance::new(&log, lanes.clone(), context.clone()).unwrap();
        let entrances: Vec<_> = (0u64..3).map(|client| (client, entrance())).collect();
        std::thread::scope(|scope| {
            for (client, entrance) in &entrances {
                scope.spawn(move || {
                    let runtime = tokio::runtime::Builder::new_current_thread().build();
                    runtime.unwrap().block_on(async {
                        for number in 0..EACH {
                            let batch = message(*client, number);
                            // Now and then to the log, although the lane may be idle.
                            let sent = if number % 97 == 0 {
                                let lane = entrance.lanes.get(0).unwrap();
                                entrance.to_log(0, lane, batch.into_bytes()).await
                            } else {
                                entrance.append(0, batch).await
                            };
                            sent.unwrap();
                        }
                    });
                });
            }
        });
        assert!(lanes.wait_until_applied(Instant::now() + Duration::from_secs(30)));
        stop.stop().unwrap();
        applier.join().unwrap();
        let expected: Vec<u32> = (0..EACH).collect();
        for client in 0..3 {
            assert!(notes.lock()[&client] == expected, "client {client}");
        }
    }
}
