//! The appliers: threads that apply the entries of busy lanes, and then write to the sockets of the
//! sessions that received something.

use super::apply::{AbortOnPanic, apply_batch};
use super::context::{NodeContext, NodeHost};
use super::log::Follower;
use super::table::LaneTable;
use crate::outbox::Outbox;
use bytes::Bytes;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

/// How many batches are applied before sockets are written, if more keep coming.
const BATCHES_BEFORE_FLUSH: usize = 128;

/// How long batches are applied before sockets are written: a batch that takes long must not delay
/// the messages of those before it.
const TIME_BEFORE_FLUSH: Duration = Duration::from_millis(5);

/// One thread's share of the lanes: it applies what comes to them by their logs.
pub(crate) struct Applier {
    pub lanes: Arc<LaneTable>,
    /// How many of the lanes that the follower follows have not ended.
    pub open: usize,
    pub follower: Box<dyn Follower>,
    pub context: Arc<NodeContext>,
}

impl Applier {
    /// Applies entries until each of the lanes has ended ([`Entry::End`](crate::lane::Entry::End)),
    /// or until the log fails. A panic aborts the process.
    pub(crate) fn run(mut self) {
        let _no_silence = AbortOnPanic;
        let mut to_flush = Vec::new();
        while self.open > 0 {
            let mut applied = 0;
            let mut since: Option<Instant> = None;
            while applied < BATCHES_BEFORE_FLUSH && self.open > 0 {
                match self.follower.next(applied == 0) {
                    Ok(Some((lane, batch))) => {
                        // The time counts from the first batch, not from the wait for it.
                        since.get_or_insert_with(Instant::now);
                        self.apply(lane, &batch, &mut to_flush);
                    }
                    Ok(None) => break,
                    Err(error) => {
                        tracing::error!(%error, "an applier cannot read its lanes");
                        return;
                    }
                }
                applied += 1;
                if since.is_some_and(|since| since.elapsed() >= TIME_BEFORE_FLUSH) {
                    break;
                }
            }
            for outbox in to_flush.drain(..) {
                outbox.flush();
            }
        }
    }

    /// Applies one batch. Outboxes that have to be flushed are added to `to_flush`.
    fn apply(&mut self, number: u16, batch: &Bytes, to_flush: &mut Vec<Arc<Outbox>>) {
        let mut host = NodeHost {
            context: &self.context,
            to_flush,
        };
        match self.lanes.get(number) {
            Ok(shared) => {
                let mut lane = shared.state.lock();
                if !apply_batch(number, &mut lane, batch, &mut host) {
                    self.open -= 1;
                }
                shared.store_counts(lane.counts());
                // While the lane is still locked: it is idle only once its log has been applied.
                shared.batches_in_log.fetch_sub(1, Ordering::AcqRel);
            }
            Err(error) => tracing::error!(%error, "a batch of an unknown lane was skipped"),
        }
        self.follower.done(number, batch);
    }
}
