//! An applier: the thread that applies the entries of its lanes in order, and then writes to the sockets of
//! the sessions it touched.

use super::apply::{AbortOnPanic, apply_batch};
use super::context::{NodeContext, NodeHost};
use super::log::Follower;
use super::table::LaneTable;
use crate::outbox::Outbox;
use bytes::Bytes;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

/// Batches applied before sockets are written to, where more keep coming.
const BATCHES_BEFORE_FLUSH: usize = 128;

/// And no longer than this: a batch that takes long shall not keep what stood before it waiting.
const TIME_BEFORE_FLUSH: Duration = Duration::from_millis(5);

/// The lanes that one thread keeps.
pub(crate) struct Applier {
    lanes: Arc<LaneTable>,
    /// How many of them are this applier's and have not ended.
    open: usize,
    follower: Box<dyn Follower>,
    context: Arc<NodeContext>,
}

impl Applier {
    /// Keeps the `own` lanes that `follower` follows.
    pub(crate) fn new(
        lanes: Arc<LaneTable>,
        own: usize,
        follower: Box<dyn Follower>,
        context: Arc<NodeContext>,
    ) -> Self {
        Applier {
            lanes,
            open: own,
            follower,
            context,
        }
    }

    /// Keeps the lanes until each has ended.
    pub(crate) fn run(mut self) {
        let _no_silence = AbortOnPanic;
        let mut to_flush = Vec::new();
        while self.open > 0 {
            let mut applied = 0;
            let mut since: Option<Instant> = None;
            while applied < BATCHES_BEFORE_FLUSH && self.open > 0 {
                match self.follower.next(applied == 0) {
                    Ok(Some((lane, batch))) => {
                        // From after the wait for the first.
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
                shared.counts.store(lane.counts());
                // Before the lock goes: an idle lane is one whose log has been applied.
                shared.batches_in_log.fetch_sub(1, Ordering::AcqRel);
            }
            Err(error) => tracing::error!(%error, "a batch was passed over"),
        }
        self.follower.done(number, batch);
    }
}
