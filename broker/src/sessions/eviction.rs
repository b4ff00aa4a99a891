//! All that sessions hold whose clients are away, and who ends so that it stays within `limits.kept_bytes`.
//!
//! Each sleeping outbox adds to one number and takes away from it: its messages by their bytes, as
//! `limits.outbox_bytes` counts them, and a fixed cost for each. Sessions share the
//! bytes of a message that waits in many queues, so this is the most that they can cost. What a session costs beside
//! its queue, and its will, is a [`OfflineCost`](super::cost::OfflineCost) of each.

use super::offline::{Due, OfflineSession};
use super::registry::Sessions;
use crate::kept_bytes::KeptBytes;
use crate::outbox::Outbox;
use crate::policy::SessionId;
use std::ops::RangeInclusive;
use std::sync::Arc;

/// A session that has to end for the others, and its outbox.
#[derive(Debug)]
pub(crate) struct Evicted {
    due: Due,
    outbox: Arc<Outbox>,
    queue_bytes: u64,
    /// What it held.
    pub bytes: u64,
}

impl Evicted {
    /// Its queue goes at once, since lanes may be busy; all else is to be told to them.
    pub(crate) fn release_queue(self, kept: &KeptBytes, now: u64) -> Due {
        self.outbox.disconnect(None, false, now);
        kept.finish_eviction(self.queue_bytes);
        self.due
    }
}

impl Sessions {
    /// A session falls offline, as by [`Sessions::sleep`]. Where there is no room for it those make some who would have to
    /// anyway: many clients may go at once, with queues that nobody has counted yet, and the one task that sees to
    /// it may wait for a lane. One that holds more than an even share is its own end, and nobody else's. Gives back all
    /// that have to end.
    pub(crate) fn go_offline(
        &self,
        session: SessionId,
        offline: Box<OfflineSession>,
        kept: &KeptBytes,
        now: u64,
    ) -> Vec<Due> {
        let mut ended = Vec::new();
        if !kept.has_capacity(0) && !self.exceeds_even_share(session, &offline, kept) {
            let evicted = self.evict(kept).into_iter();
            ended.extend(evicted.map(|session| session.release_queue(kept, now)));
        }
        ended.extend(self.add_offline(session, offline));
        ended
    }

    /// Whether a session that falls offline holds more than an even share.
    fn exceeds_even_share(
        &self,
        session: SessionId,
        offline: &OfflineSession,
        kept: &KeptBytes,
    ) -> bool {
        let state = self.state.lock();
        let record = state.by_number.get(&session.client);
        let queue = record.map_or(0, |record| record.outbox.kept_bytes());
        offline.bytes().saturating_add(queue) > kept.even_share(state.offline.len() + 1)
    }

    /// Sessions that have to end where too much waits. The one whose client has been away longest first, of those
    /// without credentials and with more than an even share; then strangers with less; then users with more than
    /// an even share. So nobody loses a small queue to those who fill large ones, and no user's goes for strangers.
    pub(crate) fn evict(&self, kept: &KeptBytes) -> Vec<Evicted> {
        let mut guard = self.state.lock();
        let state = &mut *guard;
        // Under the lock, and without what has been promised: two at once would both make room for the same bytes.
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
            // Users' only where strangers' were not enough to go on with.
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
        let evicted = chosen
            .into_iter()
            .filter_map(|(number, outbox, queue_bytes, bytes)| {
                let due = state.end(number)?;
                state.evicted_for_bytes += 1;
                kept.begin_eviction(queue_bytes);
                Some(Evicted {
                    due,
                    outbox,
                    queue_bytes,
                    bytes,
                })
            });
        evicted.collect()
    }
}

#[cfg(test)]
#[path = "eviction_tests.rs"]
mod tests;
