//! The way into the lanes: in place where a lane is idle, else by its log.
//!
//! A lane with nothing unread in its log is applied by whoever appends, under the lane's lock: the order
//! of the lock is the order of the lane, and two hops between threads are saved. As soon as somebody else
//! holds the lane, entries go by the log, and until it is read empty all of them do.

use super::apply::{AbortOnPanic, apply_batch};
use super::context::{NodeContext, NodeHost};
use super::flusher::Flusher;
use super::log::{AppendError, Appender, LogError};
use super::table::{LaneTable, SharedLane};
use crate::lane::state::Batch;
use crate::outbox::Outbox;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// One thread's way into the lanes. What one connection appends keeps its order.
pub(crate) struct Entrance {
    lanes: Arc<LaneTable>,
    appender: Box<dyn Appender>,
    context: Arc<NodeContext>,
    flusher: Arc<Flusher>,
    /// Whether the log allows entries that it never sees.
    in_place: bool,
}

impl Entrance {
    pub(crate) fn new(
        lanes: Arc<LaneTable>,
        appender: Box<dyn Appender>,
        context: Arc<NodeContext>,
        in_place: bool,
    ) -> Self {
        Entrance {
            lanes,
            appender,
            context,
            flusher: Arc::default(),
            in_place,
        }
    }

    /// Must be awaited by a task of the thread whose connections use this.
    pub(crate) fn flusher(&self) -> Arc<Flusher> {
        self.flusher.clone()
    }

    /// Writes what waits in `outbox` once this round of the thread's tasks is over.
    pub(crate) fn flush_soon(&self, outbox: &Arc<Outbox>) {
        self.flusher.to_flush.lock().push(outbox.clone());
        self.flusher.wake.notify_one();
    }

    /// Resolves when the batch has its place in the lane's order. Waits where the lane is full.
    pub(crate) async fn append(&self, lane: u16, batch: Batch) -> Result<(), LogError> {
        self.append_and(lane, batch, || {}).await
    }

    /// The same; calls `taken` once, as soon as the batch has its place. Where it is applied in place that is before
    /// it has any effect; by the log the keeper may have applied it meanwhile. The lane may be locked.
    pub(crate) async fn append_and(
        &self,
        lane: u16,
        batch: Batch,
        mut taken: impl FnMut(),
    ) -> Result<(), LogError> {
        let shared = self.lanes.get(lane)?;
        let batch = batch.into_bytes();
        if self.in_place && self.apply(lane, shared, &batch, &mut taken) {
            return Ok(());
        }
        self.to_log(lane, shared, batch).await?;
        taken();
        Ok(())
    }

    /// Appends by the log, for entries that the keeper itself is to see.
    pub(crate) async fn append_to_log(&self, lane: u16, batch: Batch) -> Result<(), LogError> {
        let shared = self.lanes.get(lane)?;
        self.to_log(lane, shared, batch.into_bytes()).await
    }

    /// False where the lane is not idle.
    fn apply(&self, number: u16, shared: &SharedLane, batch: &[u8], taken: impl FnOnce()) -> bool {
        let Some(mut lane) = shared.state.try_lock() else {
            return false;
        };
        // Under the lock: what has come into the log since stands behind this.
        if shared.batches_in_log.load(Ordering::Acquire) > 0 {
            return false;
        }
        let _no_half_state = AbortOnPanic;
        taken();
        let mut to_flush = self.flusher.to_flush.lock();
        let mut host = NodeHost {
            context: &self.context,
            to_flush: &mut to_flush,
        };
        apply_batch(number, &mut lane, batch, &mut host);
        shared.counts.store(lane.counts());
        if !to_flush.is_empty() {
            self.flusher.wake.notify_one();
        }
        true
    }

    async fn to_log(
        &self,
        lane: u16,
        shared: &SharedLane,
        batch: bytes::Bytes,
    ) -> Result<(), LogError> {
        // Counted before it can be read; taken back where it never gets there.
        let counted = Counted::new(&shared.batches_in_log);
        match self.appender.try_append(lane, batch) {
            Ok(()) => {}
            Err(AppendError::Full(batch)) => match self.appender.append(lane, batch).await {
                Ok(()) => {}
                Err(AppendError::Log(error)) => return Err(error),
                Err(full @ AppendError::Full(_)) => return Err(LogError(full.to_string())),
            },
            Err(AppendError::Log(error)) => return Err(error),
        }
        counted.keep();
        Ok(())
    }
}

struct Counted<'a>(Option<&'a AtomicUsize>);

impl<'a> Counted<'a> {
    fn new(counter: &'a AtomicUsize) -> Self {
        counter.fetch_add(1, Ordering::AcqRel);
        Counted(Some(counter))
    }

    /// The keeper will count it off.
    fn keep(mut self) {
        self.0 = None;
    }
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        if let Some(counter) = self.0 {
            counter.fetch_sub(1, Ordering::AcqRel);
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::lane::{
        Applier, Barriers, Embedded, Entry, Lane, LaneLog, Mailboxes, Origin, PublishEntry,
        RetainedLimits, Timers,
    };
    use crate::packet::QoS;
    use crate::policy::{
        Actor, AllowAll, HookContext, LaneHook, Limit, Mark, Message, Refusal, Request, SessionId,
        Verdict,
    };
    use crate::sessions::Sessions;
    use parking_lot::Mutex;
    use std::collections::HashMap;
    use std::time::Duration;

    /// Notes who sent what, in the lane's order.
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
            notes.entry(who.session.client).or_default().push(number);
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
        let mut batch = Batch::default();
        batch.push(&Entry::Publish(PublishEntry {
            at: 1,
            origin: Some(Origin {
                session: SessionId {
                    client,
                    incarnation: 1,
                },
                user: "u",
            }),
            topic: "t",
            payload: &number.to_be_bytes(),
            qos: QoS::AtMostOnce,
            retain: false,
            properties: None,
        }));
        batch
    }

    /// Many appenders of one lane, in place and by the log as it comes: each one's order is kept, and
    /// nothing is lost or repeated.
    #[test]
    fn both_ways_in_keep_one_order() {
        const EACH: u32 = 20_000;
        let notes = Arc::default();
        let log = Embedded::start(1, 4 << 10);
        let lanes = Arc::new(LaneTable::new(std::iter::once(Lane::new(
            0,
            Box::new(Notes(Arc::clone(&notes))),
            RetainedLimits {
                messages: 1,
                bytes: 1,
            },
        ))));
        let context = Arc::new(NodeContext {
            sessions: Arc::new(Sessions::new(0)),
            mailboxes: Mailboxes::new(1).0,
            timers: Arc::new(Timers::default()),
            policy: Arc::new(AllowAll),
            barriers: Arc::new(Barriers::default()),
        });
        let follower = log.follower(&[0]).unwrap();
        let applier = Applier::new(lanes.clone(), 1, follower, context.clone());
        let applier = std::thread::spawn(|| applier.run());
        let entrance = || {
            let appender = log.appender().unwrap();
            Entrance::new(lanes.clone(), appender, context.clone(), true)
        };
        let entrances: Vec<_> = (0u64..3).map(|client| (client, entrance())).collect();
        let last = entrance();
        std::thread::scope(|scope| {
            for (client, entrance) in &entrances {
                scope.spawn(move || {
                    let runtime = tokio::runtime::Builder::new_current_thread().build();
                    runtime.unwrap().block_on(async {
                        for number in 0..EACH {
                            let batch = message(*client, number);
                            // Now and then by the log although the lane may be idle.
                            let sent = if number % 97 == 0 {
                                entrance.append_to_log(0, batch).await
                            } else {
                                entrance.append(0, batch).await
                            };
                            sent.unwrap();
                        }
                    });
                });
            }
        });
        let mut end = Batch::default();
        end.push(&Entry::Barrier(1));
        end.push(&Entry::End);
        let runtime = tokio::runtime::Builder::new_current_thread().build();
        runtime
            .unwrap()
            .block_on(last.append_to_log(0, end))
            .unwrap();
        assert!(context.barriers.wait(1, 1, Duration::from_secs(30)));
        applier.join().unwrap();
        let expected: Vec<u32> = (0..EACH).collect();
        for client in 0..3 {
            assert!(notes.lock()[&client] == expected, "client {client}");
        }
        assert_eq!(
            lanes.get(0).unwrap().batches_in_log.load(Ordering::Acquire),
            0
        );
    }
}
