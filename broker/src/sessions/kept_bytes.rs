//! All that sessions hold whose clients are away, and who ends so that it stays within `limits.kept_bytes`.
//!
//! Each sleeping outbox adds to one number and takes away from it: its messages by their bytes, as
//! `limits.outbox_bytes` counts them, and a fixed cost for each. Sessions share the
//! bytes of a message that waits in many queues, so this is the most that they can cost. What a session costs beside
//! its queue, and its will, is a [`Weight`](super::weight::Weight) of each.

use super::{Asleep, Due, Sessions};
use crate::outbox::Outbox;
use crate::policy::SessionId;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::sync::Notify;

/// The number, and its bounds.
#[derive(Debug)]
pub(crate) struct KeptBytes {
    now: AtomicU64,
    /// Wills of sessions that have ended, and what their shared groups are to have of their queues: there until they are
    /// sent, but nobody has to end for them.
    leaving: AtomicU64,
    /// Queues of sessions that have to end for others, until they have been let go.
    promised: AtomicU64,
    /// Nothing is queued past it.
    most: u64,
    /// It has grown past where sessions end.
    pub(crate) crowded: Notify,
}

impl KeptBytes {
    pub(crate) fn new(most: u64) -> Self {
        KeptBytes {
            now: AtomicU64::new(0),
            leaving: AtomicU64::new(0),
            promised: AtomicU64::new(0),
            most,
            crowded: Notify::new(),
        }
    }

    /// What one outbox holds has changed. Nothing is written where it has not.
    pub(crate) fn change(&self, was: u64, is: u64) {
        let change = is.wrapping_sub(was);
        if change == 0 {
            return;
        }
        self.now.fetch_add(change, Ordering::Relaxed);
        if is > was {
            self.call();
        }
    }

    /// Calls whoever makes room, where there is need: more waits than before, or one more session that may end.
    pub(crate) fn call(&self) {
        if self.claimed() > self.high() {
            self.crowded.notify_one();
        }
    }

    /// Whether so many bytes more may wait. What is about to go stands in nobody's way.
    pub(crate) fn takes(&self, more: u64) -> bool {
        let leaving = self.leaving.load(Ordering::Relaxed);
        let now = self.claimed().saturating_add(leaving);
        now.saturating_add(more) <= self.most
    }

    /// Bytes that count now.
    pub(crate) fn now(&self) -> u64 {
        self.staying()
            .saturating_add(self.leaving.load(Ordering::Relaxed))
    }

    /// Of them, those that stay unless somebody ends.
    fn staying(&self) -> u64 {
        self.now.load(Ordering::Relaxed)
    }

    /// And for which nobody ends yet.
    fn claimed(&self) -> u64 {
        let promised = self.promised.load(Ordering::Relaxed);
        self.staying().saturating_sub(promised)
    }

    /// So many of those that stayed are on their way out.
    pub(super) fn leave(&self, bytes: u64) {
        self.leaving.fetch_add(bytes, Ordering::Relaxed);
        self.now.fetch_sub(bytes, Ordering::Relaxed);
    }

    /// What one session that is over still holds for others has changed.
    pub(crate) fn change_leaving(&self, was: u64, is: u64) {
        if was != is {
            self.leaving
                .fetch_add(is.wrapping_sub(was), Ordering::Relaxed);
        }
    }

    /// So many of those are gone.
    pub(super) fn left(&self, bytes: u64) {
        self.leaving.fetch_sub(bytes, Ordering::Relaxed);
    }

    /// Past it sessions end; the last sixteenth is for what comes meanwhile.
    fn high(&self) -> u64 {
        self.most - self.most / 16
    }

    /// Until it is no more than this, so that the next end is some time away.
    fn low(&self) -> u64 {
        self.most - self.most / 8
    }

    /// What each of so many sessions may hold.
    fn share(&self, sessions: usize) -> u64 {
        self.low() / u64::try_from(sessions).unwrap_or(u64::MAX).max(1)
    }
}

/// A session that has to end for the others, and its outbox.
#[derive(Debug)]
pub(crate) struct MadeRoom {
    due: Due,
    outbox: Arc<Outbox>,
    queue: u64,
    /// What it held.
    pub bytes: u64,
}

impl MadeRoom {
    /// Its queue goes at once, since lanes may be busy; all else is to be told to them.
    pub(crate) fn let_go(self, kept: &KeptBytes, now: u64) -> Due {
        self.outbox.part(None, false, now);
        kept.promised.fetch_sub(self.queue, Ordering::Relaxed);
        self.due
    }
}

impl Sessions {
    /// A session falls asleep, as by [`Sessions::sleep`]. Where there is no room for it those make some who would have to
    /// anyway: many clients may go at once, with queues that nobody has counted yet, and the one task that sees to
    /// it may wait for a lane. One that holds more than an even share is its own end, and nobody else's. Gives back all
    /// that have to end.
    pub(crate) fn find_room(
        &self,
        session: SessionId,
        asleep: Box<Asleep>,
        kept: &KeptBytes,
        now: u64,
    ) -> Vec<Due> {
        let mut ended = Vec::new();
        if !kept.takes(0) && !self.is_large(session, &asleep, kept) {
            let made = self.make_room(kept).into_iter();
            ended.extend(made.map(|made| made.let_go(kept, now)));
        }
        ended.extend(self.sleep(session, asleep));
        ended
    }

    /// Whether a session that falls asleep holds more than an even share.
    fn is_large(&self, session: SessionId, asleep: &Asleep, kept: &KeptBytes) -> bool {
        let state = self.state.lock();
        let known = state.by_number.get(&session.client);
        let queue = known.map_or(0, |known| known.outbox.kept());
        asleep.bytes().saturating_add(queue) > kept.share(state.order.len() + 1)
    }

    /// Sessions that have to end where too much waits. The one whose client has been away longest first, of those
    /// without credentials and with more than an even share; then strangers with less; then users with more than
    /// an even share. So nobody loses a small queue to those who fill large ones, and no user's goes for strangers.
    pub(crate) fn make_room(&self, kept: &KeptBytes) -> Vec<MadeRoom> {
        let mut guard = self.state.lock();
        let state = &mut *guard;
        // Under the lock, and without what has been promised: two at once would both make room for the same bytes.
        let now = kept.claimed();
        if now <= kept.high() {
            return Vec::new();
        }
        let share = kept.share(state.order.len());
        let mut left = now - kept.low();
        let mut leaving = Vec::new();
        let more = share.saturating_add(1)..=u64::MAX;
        let rounds: [(bool, RangeInclusive<u64>); 3] =
            [(false, more.clone()), (false, 1..=share), (true, more)];
        for (authenticated, holding) in rounds {
            // Users' only where strangers' were not enough to go on with.
            if authenticated && left + kept.low() <= kept.high() {
                break;
            }
            for number in state.order.longest_away(authenticated) {
                if left == 0 {
                    break;
                }
                let Some(known) = state.by_number.get(&number) else {
                    continue;
                };
                let beside = known.asleep.as_ref().map_or(0, |asleep| asleep.bytes());
                let queue = known.outbox.kept();
                let bytes = beside.saturating_add(queue);
                if holding.contains(&bytes) {
                    left = left.saturating_sub(bytes);
                    leaving.push((number, known.outbox.clone(), queue, bytes));
                }
            }
        }
        let ended = leaving
            .into_iter()
            .filter_map(|(number, outbox, queue, bytes)| {
                let due = state.end(number)?;
                state.for_bytes += 1;
                kept.promised.fetch_add(queue, Ordering::Relaxed);
                Some(MadeRoom {
                    due,
                    outbox,
                    queue,
                    bytes,
                })
            });
        ended.collect()
    }
}

#[cfg(test)]
#[path = "kept_bytes_tests.rs"]
mod tests;
