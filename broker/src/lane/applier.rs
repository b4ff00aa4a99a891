//! The appliers: threads that apply the entries of busy lanes, and then write to the sockets of the
//! sessions that received something.
//!
//! A batch may need many turns of its lane's lock. Between two of them others take the lock, and the
//! applier serves its other lanes. Later batches of the lane wait here.

use super::apply::{AbortOnPanic, begin, go_on};
use super::context::NodeContext;
use super::log::{Follower, FollowerWaker, LogError};
use super::table::LaneTable;
use crate::outbox::Outbox;
use bytes::Bytes;
use std::collections::VecDeque;
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
    lanes: Arc<LaneTable>,
    own: Vec<u16>,
    follower: Box<dyn Follower>,
    context: Arc<NodeContext>,
    /// Set by [`ApplierStop::stop`]. False at first.
    stopped: Arc<AtomicBool>,
    /// Its lanes that are in the midst of a batch.
    busy: Vec<BusyLane>,
}

/// A lane in the midst of a batch, and its batches behind that.
struct BusyLane {
    lane: u16,
    batches: VecDeque<Bytes>,
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
    /// The applier of these lanes, which `follower` follows.
    pub(crate) fn new(
        lanes: Arc<LaneTable>,
        own: Vec<u16>,
        follower: Box<dyn Follower>,
        context: Arc<NodeContext>,
    ) -> Self {
        lanes.serve_by(&own, &follower.waker());
        Applier {
            lanes,
            own,
            follower,
            context,
            stopped: Arc::default(),
            busy: Vec::new(),
        }
    }

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
                self.go_on(&mut to_flush);
                match self.follower.next(applied == 0 && self.busy.is_empty()) {
                    Ok(Some((lane, _, batch))) => self.take(lane, batch, &mut to_flush),
                    Ok(None) => {
                        self.find_left();
                        if self.busy.is_empty() {
                            break;
                        }
                    }
                    Err(error) => {
                        tracing::error!(%error, "an applier cannot read its lanes");
                        return;
                    }
                }
                applied += 1;
                // The time counts from the first batch, not from the wait for it.
                if since.get_or_insert_with(Instant::now).elapsed() >= TIME_BEFORE_FLUSH {
                    break;
                }
            }
            for outbox in to_flush.drain(..) {
                outbox.flush();
            }
        }
    }

    /// Takes over the batches that were begun in place and left to it.
    fn find_left(&mut self) {
        for lane in &self.own {
            let is_busy = |busy: &BusyLane| busy.lane == *lane;
            if let Ok(shared) = self.lanes.get(*lane)
                && shared.take_left()
                && !self.busy.iter().any(is_busy)
            {
                self.busy.push(BusyLane {
                    lane: *lane,
                    batches: VecDeque::new(),
                });
            }
        }
    }

    /// Applies a batch of the log, or the beginning of it. If its lane is in the midst of another, it
    /// waits.
    fn take(&mut self, lane: u16, batch: Bytes, to_flush: &mut Vec<Arc<Outbox>>) {
        if let Some(busy) = self.busy.iter_mut().find(|busy| busy.lane == lane) {
            busy.batches.push_back(batch);
            return;
        }
        let mut busy = BusyLane {
            lane,
            batches: VecDeque::from([batch]),
        };
        if self.turn(&mut busy, to_flush) {
            self.busy.push(busy);
        }
    }

    /// One turn for each lane that is in the midst of a batch.
    fn go_on(&mut self, to_flush: &mut Vec<Arc<Outbox>>) {
        let mut busy = std::mem::take(&mut self.busy);
        busy.retain_mut(|busy| self.turn(busy, to_flush));
        self.busy = busy;
    }

    /// One turn of a lane's lock: begins the next batch, unless the lane is in the midst of one, and goes
    /// on with it. Returns whether anything is left.
    fn turn(&mut self, busy: &mut BusyLane, to_flush: &mut Vec<Arc<Outbox>>) -> bool {
        let Applier {
            lanes,
            follower,
            context,
            ..
        } = self;
        let shared = match lanes.get(busy.lane) {
            Ok(shared) => shared,
            Err(error) => {
                tracing::error!(%error, "a batch of an unknown lane was skipped");
                return false;
            }
        };
        let _unlocked = shared.unlocked();
        let mut running = shared.state.lock();
        if !running.is_unfinished()
            && let Some(batch) = busy.batches.pop_front()
            && begin(shared, &mut running, &batch)
        {
            follower.done(busy.lane, &batch);
        }
        go_on(shared, &mut running, context, to_flush);
        shared.notify_applied(&running);
        running.is_unfinished() || !busy.batches.is_empty()
    }
}
