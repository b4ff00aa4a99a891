//! All that waits in the queues of sessions whose clients are away, and who ends so that it stays within
//! `limits.kept_bytes`.
//!
//! Each sleeping outbox adds to one number and takes away from it: its messages by their bytes, as
//! `limits.outbox_bytes` counts them, and a fixed cost for each. Sessions share the
//! bytes of a message that waits in many queues, so this is the most that they can cost.

use super::{Due, Sessions};
use crate::outbox::Outbox;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::sync::Notify;

/// The number, and its bounds.
#[derive(Debug)]
pub(crate) struct KeptBytes {
    now: AtomicU64,
    /// Nothing is queued past it.
    most: u64,
    /// It has grown past where sessions end.
    pub(crate) crowded: Notify,
}

impl KeptBytes {
    pub(crate) fn new(most: u64) -> Self {
        KeptBytes {
            now: AtomicU64::new(0),
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
        if self.now() > self.high() {
            self.crowded.notify_one();
        }
    }

    /// Whether so many bytes more may wait.
    pub(crate) fn takes(&self, more: u64) -> bool {
        self.now().saturating_add(more) <= self.most
    }

    /// Bytes that count now.
    pub(crate) fn now(&self) -> u64 {
        self.now.load(Ordering::Relaxed)
    }

    /// Past it sessions end; the last sixteenth is for what comes meanwhile.
    fn high(&self) -> u64 {
        self.most - self.most / 16
    }

    /// Until it is no more than this, so that the next end is some time away.
    fn low(&self) -> u64 {
        self.most - self.most / 8
    }
}

/// A session that has to end for the others, and its outbox.
#[derive(Debug)]
pub(crate) struct MadeRoom {
    pub due: Due,
    pub outbox: Arc<Outbox>,
    /// What it held.
    pub bytes: u64,
}

impl Sessions {
    /// Sessions that have to end where too much waits. The one whose client has been away longest first, of those
    /// without credentials and with more than an even share; then strangers with less; then users with more than
    /// an even share. So nobody loses a small queue to those who fill large ones, and no user's goes for strangers.
    pub(crate) fn make_room(&self, kept: &KeptBytes) -> Vec<MadeRoom> {
        let now = kept.now();
        if now <= kept.high() {
            return Vec::new();
        }
        let mut guard = self.state.lock();
        let state = &mut *guard;
        let asleep = u64::try_from(state.order.len()).unwrap_or(u64::MAX);
        let share = kept.low() / asleep.max(1);
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
                let bytes = known.outbox.kept();
                if holding.contains(&bytes) {
                    left = left.saturating_sub(bytes);
                    leaving.push((number, known.outbox.clone(), bytes));
                }
            }
        }
        let ended = leaving.into_iter().filter_map(|(number, outbox, bytes)| {
            let due = state.end(number)?;
            state.for_bytes += 1;
            Some(MadeRoom { due, outbox, bytes })
        });
        ended.collect()
    }
}

#[cfg(test)]
#[path = "kept_bytes_tests.rs"]
mod tests;
