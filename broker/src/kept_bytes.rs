//! Bytes that offline sessions hold together, and the bounds that `limits.kept_bytes` sets.

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
    pub(crate) fn staying(&self) -> u64 {
        self.now.load(Ordering::Relaxed)
    }

    /// And for which nobody ends yet.
    pub(crate) fn claimed(&self) -> u64 {
        let promised = self.promised.load(Ordering::Relaxed);
        self.staying().saturating_sub(promised)
    }

    /// So many of those that stayed are on their way out.
    pub(crate) fn leave(&self, bytes: u64) {
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
    pub(crate) fn left(&self, bytes: u64) {
        self.leaving.fetch_sub(bytes, Ordering::Relaxed);
    }

    /// So many queued bytes will go, since their session is to end.
    pub(crate) fn promise(&self, bytes: u64) {
        self.promised.fetch_add(bytes, Ordering::Relaxed);
    }

    /// So many of those are gone.
    pub(crate) fn fulfil(&self, bytes: u64) {
        self.promised.fetch_sub(bytes, Ordering::Relaxed);
    }

    /// Past it sessions end; the last sixteenth is for what comes meanwhile.
    pub(crate) fn high(&self) -> u64 {
        self.most - self.most / 16
    }

    /// Until it is no more than this, so that the next end is some time away.
    pub(crate) fn low(&self) -> u64 {
        self.most - self.most / 8
    }

    /// What each of so many sessions may hold.
    pub(crate) fn share(&self, sessions: usize) -> u64 {
        self.low() / u64::try_from(sessions).unwrap_or(u64::MAX).max(1)
    }
}
