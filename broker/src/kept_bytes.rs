//! The bytes that all offline sessions hold together, bounded by `limits.kept_bytes`.
//!
//! ```text
//! 0 ---------------- low mark ---- high mark ---- limit
//!                     87.5 %        93.75 %       100 %
//! ```
//!
//! Above the high mark the server evicts offline sessions until usage is below the low mark. At the
//! limit an outbox takes a message only in place of its own older ones. Connected sessions cost
//! nothing.

use std::sync::atomic::{AtomicU64, Ordering};
use tokio::sync::Notify;

/// Counts the bytes of offline sessions, and says when the bounds are reached.
#[derive(Debug, Default)]
pub(crate) struct KeptBytes {
    /// Bytes of offline sessions. They are freed when a client reconnects or its session ends.
    held: AtomicU64,
    /// Bytes of ended sessions: wills not sent yet, and messages for other members of shared
    /// groups. They are freed without an eviction.
    ending: AtomicU64,
    /// The part of `held` that belongs to queues of sessions chosen for eviction.
    evicting: AtomicU64,
    /// Bytes.
    limit: u64,
    /// Notified when usage has risen above the high mark.
    pub(crate) needs_eviction: Notify,
}

impl KeptBytes {
    pub(crate) fn new(limit: u64) -> Self {
        KeptBytes {
            limit,
            ..KeptBytes::default()
        }
    }

    /// Replaces the bytes that one session held `before` by those that it holds `after`.
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

    /// Requests an eviction if usage is above the high mark. Call it after usage has grown, and
    /// after a session that can be evicted has been added.
    pub(crate) fn notify_if_high(&self) {
        if self.after_evictions() > self.high_mark() {
            self.needs_eviction.notify_one();
        }
    }

    /// Whether the limit leaves `bytes` more. Bytes that are being evicted count as free.
    pub(crate) fn has_capacity(&self, bytes: u64) -> bool {
        let ending = self.ending.load(Ordering::Relaxed);
        let used = self.after_evictions().saturating_add(ending);
        used.saturating_add(bytes) <= self.limit
    }

    /// All bytes that count for the limit.
    pub(crate) fn total(&self) -> u64 {
        self.held()
            .saturating_add(self.ending.load(Ordering::Relaxed))
    }

    /// Bytes of sessions that have not ended.
    pub(crate) fn held(&self) -> u64 {
        self.held.load(Ordering::Relaxed)
    }

    /// The same without the queues that are being evicted.
    pub(crate) fn after_evictions(&self) -> u64 {
        let evicting = self.evicting.load(Ordering::Relaxed);
        self.held().saturating_sub(evicting)
    }

    /// Moves `bytes` from held to ending.
    pub(crate) fn begin_ending(&self, bytes: u64) {
        self.ending.fetch_add(bytes, Ordering::Relaxed);
        self.held.fetch_sub(bytes, Ordering::Relaxed);
    }

    /// Replaces the bytes that one ended session held `before` by those that it holds `after`.
    pub(crate) fn update_ending(&self, before: u64, after: u64) {
        if before != after {
            self.ending
                .fetch_add(after.wrapping_sub(before), Ordering::Relaxed);
        }
    }

    /// Frees `bytes` of ended sessions.
    pub(crate) fn finish_ending(&self, bytes: u64) {
        self.ending.fetch_sub(bytes, Ordering::Relaxed);
    }

    /// Counts a queue of `bytes` as free ahead of time: its session has been chosen for eviction.
    pub(crate) fn begin_eviction(&self, bytes: u64) {
        self.evicting.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Takes that back once the queue is freed.
    pub(crate) fn finish_eviction(&self, bytes: u64) {
        self.evicting.fetch_sub(bytes, Ordering::Relaxed);
    }

    /// Evictions begin above it. The sixteenth above it is for what arrives meanwhile.
    pub(crate) fn high_mark(&self) -> u64 {
        self.limit - self.limit / 16
    }

    /// Evictions end below it, so that the next one is some time away.
    pub(crate) fn low_mark(&self) -> u64 {
        self.limit - self.limit / 8
    }

    /// An even share of one session: the low mark divided by the number of `sessions`.
    pub(crate) fn even_share(&self, sessions: usize) -> u64 {
        self.low_mark() / u64::try_from(sessions).unwrap_or(u64::MAX).max(1)
    }
}
