//! The appliers: threads that apply the entries of busy lanes, and then write to the sockets of the
//! sessions that received something.

use super::apply::{AbortOnPanic, apply_batch};
use super::context::NodeContext;
use super::log::{Follower, FollowerWaker, LogError};
use super::table::LaneTable;
use crate::outbox::Outbox;
use bytes::Bytes;
use roommq_lane::read;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// How many batches are applied before sockets are written, if more keep coming.
const BATCHES_BEFORE_FLUSH: usize = 128;

/// How long batches are applied before sockets are written: a batch that takes long must not delay
/// the messages of those before it.
const TIME_BEFORE_FLUSH: Duration = Duration::from_millis(5);

/// One thread's share of the lanes: it applies what comes to them by their logs.
pub(crate) struct Applier {
    pub lanes: Arc<LaneTable>,
    pub follower: Box<dyn Follower>,
    pub context: Arc<NodeContext>,
    /// Set by [`ApplierStop::stop`]. False at first.
    pub stopped: Arc<AtomicBool>,
}

/// Stops an applier from another thread.
pub(crate) struct ApplierStop {
    stopped: Arc<AtomicBool>,
    waker: Arc<dyn FollowerWaker>,
}

impl ApplierStop {
    /// Makes the applier return once it has applied and flushed what it has in its hands. To let it
    /// apply everything, call [`LaneTable::wait_until_applied`] first.
    ///
    /// # Errors
    /// The log failed. An applier that waits for a batch cannot be woken.
    pub(crate) fn stop(&self) -> Result<(), LogError> {
        // Before the wake: the applier looks here after each.
        self.stopped.store(true, Ordering::Release);
        self.waker.wake()
    }
}

impl Applier {
    /// The way to stop this applier while it runs.
    pub(crate) fn stop_handle(&self) -> ApplierStop {
        ApplierStop {
            stopped: self.stopped.clone(),
            waker: self.follower.waker(),
        }
    }

    /// Applies entries until it is stopped, or until the log fails. A panic aborts the process.
    pub(crate) fn run(mut self) {
        let _no_silence = AbortOnPanic;
        let mut to_flush = Vec::new();
        while !self.stopped.load(Ordering::Acquire) {
            let mut applied = 0;
            let mut since: Option<Instant> = None;
            while applied < BATCHES_BEFORE_FLUSH {
                match self.follower.next(applied == 0) {
                    Ok(Some((lane, _, batch))) => {
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
        let is_done = match self.lanes.get(number) {
            Ok(shared) => {
                let mut running = shared.state.lock();
                let batch = read(batch);
                let is_done = apply_batch(
                    number,
                    shared,
                    &mut running,
                    batch,
                    &self.context,
                    to_flush,
                    |_| {},
                );
                shared.notify_applied(&running);
                is_done
            }
            Err(error) => {
                tracing::error!(%error, "a batch of an unknown lane was skipped");
                true
            }
        };
        if is_done {
            self.follower.done(number, batch);
        }
    }
}
