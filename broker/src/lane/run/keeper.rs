//! A keeper: the thread that applies the entries of its lanes in order, and then writes to the sockets of
//! the sessions it touched.

use super::courier::Courier;
use super::entrance::Places;
use super::log::Follower;
use super::timers::Timers;
use crate::lane::state::{self, Lane, Reach};
use crate::outbox::Outbox;
use crate::policy::{Actor, Attempt, Notice, Policy, Principal, Refusal, SessionId};
use crate::sessions::Sessions;
use bytes::Bytes;
use parking_lot::{Condvar, Mutex};
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

/// Batches applied before sockets are written to, where more keep coming.
const BATCHES_BEFORE_FLUSH: usize = 128;

/// And no longer than this: a batch that takes long shall not keep what stood before it waiting.
const TIME_BEFORE_FLUSH: Duration = Duration::from_millis(5);

/// What keepers share.
pub(crate) struct Surroundings {
    pub sessions: Arc<Sessions>,
    pub courier: Courier,
    pub timers: Arc<Timers>,
    pub policy: Arc<dyn Policy>,
    pub barriers: Arc<Barriers>,
}

/// The lanes that one thread keeps.
pub(crate) struct Keeper {
    places: Arc<Places>,
    /// How many of them are this keeper's.
    open: usize,
    follower: Box<dyn Follower>,
    surroundings: Arc<Surroundings>,
}

impl Keeper {
    /// Keeps the `lanes` lanes that `follower` follows.
    pub(crate) fn new(
        places: Arc<Places>,
        lanes: usize,
        follower: Box<dyn Follower>,
        surroundings: Arc<Surroundings>,
    ) -> Self {
        Keeper {
            places,
            open: lanes,
            follower,
            surroundings,
        }
    }

    /// Keeps the lanes until each has ended.
    pub(crate) fn run(mut self) {
        let _no_silence = AbortOnPanic;
        let mut touched = Vec::new();
        while self.open > 0 {
            let mut applied = 0;
            let mut since: Option<Instant> = None;
            while applied < BATCHES_BEFORE_FLUSH && self.open > 0 {
                match self.follower.next(applied == 0) {
                    Ok(Some((lane, batch))) => {
                        // From after the wait for the first.
                        since.get_or_insert_with(Instant::now);
                        self.apply(lane, &batch, &mut touched);
                    }
                    Ok(None) => break,
                    Err(error) => {
                        tracing::error!(%error, "a keeper cannot read its lanes");
                        return;
                    }
                }
                applied += 1;
                if since.is_some_and(|since| since.elapsed() >= TIME_BEFORE_FLUSH) {
                    break;
                }
            }
            for outbox in touched.drain(..) {
                outbox.flush();
            }
        }
    }

    fn apply(&mut self, number: u16, batch: &Bytes, touched: &mut Vec<Arc<Outbox>>) {
        let mut around = Around {
            surroundings: &self.surroundings,
            touched,
        };
        match self.places.of(number) {
            Ok(place) => {
                let mut lane = place.state.lock();
                if !apply_batch(number, &mut lane, batch, &mut around) {
                    self.open -= 1;
                }
                place.stock.set(lane.stock());
                // Before the lock goes: an idle lane is one whose log has been applied.
                place.in_log.fetch_sub(1, Ordering::AcqRel);
            }
            Err(error) => tracing::error!(%error, "a batch was passed over"),
        }
        self.follower.done(number, batch);
    }
}

/// Applies all entries of a batch; false where the lane has ended.
pub(super) fn apply_batch(
    number: u16,
    lane: &mut Lane,
    batch: &[u8],
    around: &mut Around<'_>,
) -> bool {
    let entries = match state::read(batch) {
        Ok(entries) => entries,
        Err(error) => {
            tracing::error!(lane = number, %error, "a batch was passed over");
            return true;
        }
    };
    for entry in entries {
        match entry {
            Ok(entry) => {
                if !lane.apply(&entry, around) {
                    return false;
                }
            }
            Err(error) => {
                tracing::error!(lane = number, %error, "the rest of a batch was passed over");
            }
        }
    }
    true
}

/// A server without a keeper would look alive and deliver nothing; a lane half applied would lie.
pub(super) struct AbortOnPanic;

impl Drop for AbortOnPanic {
    fn drop(&mut self) {
        if std::thread::panicking() {
            tracing::error!("a lane has panicked: the server cannot go on");
            std::process::abort();
        }
    }
}

/// What a lane reaches.
pub(super) struct Around<'a> {
    pub surroundings: &'a Surroundings,
    pub touched: &'a mut Vec<Arc<Outbox>>,
}

impl Reach for Around<'_> {
    fn outbox(&self, session: SessionId) -> Option<Arc<Outbox>> {
        self.surroundings.sessions.outbox(session)
    }

    fn touch(&mut self, outbox: &Arc<Outbox>) {
        self.touched.push(outbox.clone());
    }

    fn tell(&mut self, notice: Notice) {
        self.surroundings.courier.send(notice);
    }

    fn refused(&mut self, who: Actor<'_>, attempt: Attempt<'_>, refusal: &Refusal, now: u64) {
        tracing::debug!(user = who.user, ?attempt, %refusal, "refused in its lane");
        let principal = Principal::new(who.user, false);
        let policy = &self.surroundings.policy;
        if let Some(notice) = policy.notice(&principal, attempt, refusal, now) {
            self.tell(notice);
        }
    }

    fn wake(&mut self, lane: u16, key: String, generation: u64, at: u64) {
        self.surroundings.timers.set(lane, key, generation, at);
    }

    fn barrier(&mut self, _: u16, number: u64) {
        self.surroundings.barriers.reached(number);
    }
}

/// Counts lanes that have come to a barrier.
#[derive(Default)]
pub(crate) struct Barriers {
    reached: Mutex<HashMap<u64, usize>>,
    changed: Condvar,
}

impl Barriers {
    fn reached(&self, number: u64) {
        *self.reached.lock().entry(number).or_default() += 1;
        self.changed.notify_all();
    }

    /// Blocks until `lanes` lanes have come to the barrier; false at the deadline.
    pub(crate) fn wait(&self, number: u64, lanes: usize, limit: Duration) -> bool {
        let deadline = Instant::now() + limit;
        let mut reached = self.reached.lock();
        while reached.get(&number).copied().unwrap_or(0) < lanes {
            if self.changed.wait_until(&mut reached, deadline).timed_out() {
                return false;
            }
        }
        true
    }
}
