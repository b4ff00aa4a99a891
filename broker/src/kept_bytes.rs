//! Bytes that offline sessions hold together, and the bounds that `limits.kept_bytes` sets.

use std::sync::atomic::{AtomicU64, Ordering};
use tokio::sync::Notify;

/// The number, and its bounds.
#[derive(Debug)]
pub(crate) struct KeptBytes {
    held: AtomicU64,
    /// Wills of sessions that have ended, and what their shared groups are to have of their queues: there until they are
    /// sent, but nobody has to end for them.
    ending: AtomicU64,
    /// Queues of sessions that have to end for others, until they have been let go.
    evicting: AtomicU64,
    /// Nothing is queued past it.
    limit: u64,
    /// It has grown past where sessions end.
    pub(crate) needs_eviction: Notify,
}

impl KeptBytes {
    pub(crate) fn new(limit: u64) -> Self {
        KeptBytes {
            held: AtomicU64::new(0),
            ending: AtomicU64::new(0),
            evicting: AtomicU64::new(0),
            limit,
            needs_eviction: Notify::new(),
        }
    }

    /// What one outbox holds has changed. Nothing is written where it has not.
    pub(crate) fn update(&self, before: u64, after: u64) {
        let change = after.wrapping_sub(before);
        if change == 0 {
            return;
        }
        self.held.fetch_add(change, Ordering::Relaxed);
        if after > before {
            self.notify_if_high();
        }
    }

    /// Calls whoever makes room, where there is need: more waits than before, or one more session that may end.
    pub(crate) fn notify_if_high(&self) {
        if self.after_evictions() > self.high_mark() {
            self.needs_eviction.notify_one();
        }
    }

    /// Whether so many bytes more may wait. What is about to go stands in nobody's way.
    pub(crate) fn has_capacity(&self, bytes: u64) -> bool {
        let ending = self.ending.load(Ordering::Relaxed);
        let used = self.after_evictions().saturating_add(ending);
        used.saturating_add(bytes) <= self.limit
    }

    /// Bytes that count now.
    pub(crate) fn total(&self) -> u64 {
        self.held()
            .saturating_add(self.ending.load(Ordering::Relaxed))
    }

    /// Of them, those that stay unless somebody ends.
    pub(crate) fn held(&self) -> u64 {
        self.held.load(Ordering::Relaxed)
    }

    /// And for which nobody ends yet.
    pub(crate) fn after_evictions(&self) -> u64 {
        let evicting = self.evicting.load(Ordering::Relaxed);
        self.held().saturating_sub(evicting)
    }

    /// So many of those that stayed are on their way out.
    pub(crate) fn begin_ending(&self, bytes: u64) {
        self.ending.fetch_add(bytes, Ordering::Relaxed);
        self.held.fetch_sub(bytes, Ordering::Relaxed);
    }

    /// What one session that is over still holds for others has changed.
    pub(crate) fn update_ending(&self, before: u64, after: u64) {
        if before != after {
            self.ending
                .fetch_add(after.wrapping_sub(before), Ordering::Relaxed);
        }
    }

    /// So many of those are gone.
    pub(crate) fn finish_ending(&self, bytes: u64) {
        self.ending.fetch_sub(bytes, Ordering::Relaxed);
    }

    /// So many queued bytes will go, since their session is to end.
    pub(crate) fn begin_eviction(&self, bytes: u64) {
        self.evicting.fetch_add(bytes, Ordering::Relaxed);
    }

    /// So many of those are gone.
    pub(crate) fn finish_eviction(&self, bytes: u64) {
        self.evicting.fetch_sub(bytes, Ordering::Relaxed);
    }

    /// Past it sessions end; the last sixteenth is for what comes meanwhile.
    pub(crate) fn high_mark(&self) -> u64 {
        self.limit - self.limit / 16
    }

    /// Until it is no more than this, so that the next end is some time away.
    pub(crate) fn low_mark(&self) -> u64 {
        self.limit - self.limit / 8
    }

    /// What each of so many sessions may hold.
    pub(crate) fn even_share(&self, sessions: usize) -> u64 {
        self.low_mark() / u64::try_from(sessions).unwrap_or(u64::MAX).max(1)
    }
}
