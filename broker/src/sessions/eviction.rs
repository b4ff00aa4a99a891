//! Eviction: which offline sessions end so that all of them together stay within
//! `limits.kept_bytes`.
//!
//! An offline session counts for:
//!
//! - its queue: the bytes of each message, as `limits.outbox_bytes` counts them, and a fixed cost;
//! - itself and its will: an [`OfflineCost`](super::cost::OfflineCost) each.
//!
//! A message that waits in many queues counts in each, although they share its memory. So the
//! number is the most that the sessions can cost.

use super::offline::{Due, OfflineSession};
use super::registry::Sessions;
use crate::kept_bytes::KeptBytes;
use crate::outbox::Outbox;
use crate::policy::SessionId;
use std::ops::RangeInclusive;
use std::sync::Arc;

/// A session chosen for eviction.
#[derive(Debug)]
pub(crate) struct Evicted {
    due: Due,
    outbox: Arc<Outbox>,
    /// Bytes of its queue, which count as being evicted.
    queue_bytes: u64,
    /// All bytes that it holds.
    pub bytes: u64,
}

impl Evicted {
    /// Frees its queue at once, since the lanes may be busy. The returned work ends the session in
    /// them.
    pub(crate) fn release_queue(self, kept: &KeptBytes, now: u64) -> Due {
        self.outbox.disconnect(None, false, now);
        kept.finish_eviction(self.queue_bytes);
        self.due
    }
}

impl Sessions {
    /// Adds a session whose connection has ended, after the lanes have been told. Returns all
    /// sessions that must end for it, perhaps itself.
    ///
    /// If the limit is reached, this evicts others instead of waiting for the expiry task, which
    /// may be waiting for a lane: thousands of clients may disconnect at once, with queues that did
    /// not count before. For a session that holds more than an even share no other is evicted.
    pub(crate) fn go_offline(
        &self,
        session: SessionId,
        offline: Box<OfflineSession>,
        kept: &KeptBytes,
        now: u64,
    ) -> Vec<Due> {
        let mut ended = Vec::new();
        if !kept.has_capacity(0) && !self.exceeds_share(session, &offline, kept) {
            let evicted = self.evict(kept).into_iter();
            ended.extend(evicted.map(|session| session.release_queue(kept, now)));
        }
        ended.extend(self.add_offline(session, offline));
        ended
    }

    /// Whether a session that goes offline holds more than an even share of `limits.kept_bytes`.
    fn exceeds_share(&self, id: SessionId, offline: &OfflineSession, kept: &KeptBytes) -> bool {
        let state = self.state.lock();
        let record = state.by_number.get(&id.n);
        let queue = record.map_or(0, |record| record.outbox.kept_bytes());
        offline.bytes().saturating_add(queue) > kept.even_share(state.offline.len() + 1)
    }

    /// Chooses sessions to evict, if usage is above the high mark, until it will be below the low
    /// mark:
    ///
    /// 1. sessions without credentials that hold more than an even share;
    /// 2. other sessions without credentials;
    /// 3. sessions with credentials that hold more than an even share, if usage is still above the
    ///    high mark.
    ///
    /// In each group the one that has been offline longest is first. So a small queue of a user is
    /// never evicted, and no user is evicted for sessions without credentials.
    pub(crate) fn evict(&self, kept: &KeptBytes) -> Vec<Evicted> {
        let mut guard = self.state.lock();
        let state = &mut *guard;
        // Read under the lock, and without what is being evicted: otherwise two threads at once
        // would both evict for the same bytes.
        let used = kept.after_evictions();
        if used <= kept.high_mark() {
            return Vec::new();
        }
        let share = kept.even_share(state.offline.len());
        let mut excess = used - kept.low_mark();
        let mut chosen = Vec::new();
        let more = share.saturating_add(1)..=u64::MAX;
        let rounds: [(bool, RangeInclusive<u64>); 3] =
            [(false, more.clone()), (false, 1..=share), (true, more)];
        for (authenticated, holding) in rounds {
            // Users are evicted only if the others were not enough.
            if authenticated && excess + kept.low_mark() <= kept.high_mark() {
                break;
            }
            for number in state.offline.longest_offline(authenticated) {
                if excess == 0 {
                    break;
                }
                let Some(record) = state.by_number.get(&number) else {
                    continue;
                };
                let own_cost = record.offline.as_ref().map_or(0, |offline| offline.bytes());
                let queue = record.outbox.kept_bytes();
                let bytes = own_cost.saturating_add(queue);
                if holding.contains(&bytes) {
                    excess = excess.saturating_sub(bytes);
                    chosen.push((number, record.outbox.clone(), queue, bytes));
                }
            }
        }
        let mut evicted = Vec::new();
        for (number, outbox, queue_bytes, bytes) in chosen {
            if let Some(due) = state.end(number) {
                state.counts.evicted_for_bytes += 1;
                kept.begin_eviction(queue_bytes);
                evicted.push(Evicted {
                    due,
                    outbox,
                    queue_bytes,
                    bytes,
                });
            }
        }
        evicted
    }
}

#[cfg(test)]
#[path = "eviction_tests.rs"]
mod tests;
