//! Offline sessions, and the two orders in which they are looked at: by time, and for eviction.

use super::cost::OfflineCost;
use super::session_state::SessionState;
use crate::metrics::Counters;
use crate::packet::Will;
use crate::policy::{Principal, SessionId};
use std::cmp::Reverse;
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

/// A session whose client is disconnected. Its queued messages are in its outbox, its subscriptions
/// in the lanes.
///
/// Example: a 5.0 client with session expiry 3600 s and a will with delay 60 s loses its connection
/// at time t. Then `since` is t, the will is due at t + 60 000, and `expires` is t + 3 600 000. If
/// the client reconnects after 30 s, the will is not sent.
#[derive(Debug)]
pub(crate) struct OfflineSession {
    pub state: SessionState,
    /// When the connection ended, in milliseconds of lane time.
    pub since: u64,
    /// When the session ends [MQTT-3.1.2-11, 5.0 MQTT-4.1.0-2]; `u64::MAX` is never.
    pub expires: u64,
    /// Sent when it is due or when the session ends, whichever is first [MQTT-3.1.2-8, 3.1.3.2.2].
    pub will: Option<DelayedWill>,
    cost: OfflineCost,
}

/// A will that is not due yet.
#[derive(Debug)]
pub(crate) struct DelayedWill {
    pub will: Will,
    /// In milliseconds of lane time.
    pub due: u64,
    cost: OfflineCost,
}

/// Work on an offline session; see [`carry_out`](super::carry_out).
#[derive(Debug)]
pub(crate) enum Due {
    /// Send the will, as from the connection with this number. The session stays offline.
    Will(SessionId, u32, Principal, Box<DelayedWill>),
    /// End the session. If it still has a will, send that first.
    End(SessionId, Box<OfflineSession>),
}

impl OfflineSession {
    /// From now on the cost of the session counts for `limits.kept_bytes` until it is dropped, and
    /// the cost of the will until the will is dropped.
    pub(crate) fn new(
        mut state: SessionState,
        period: OfflinePeriod,
        counters: &Arc<Counters>,
    ) -> OfflineSession {
        // The tables may have been larger before.
        state.unreleased.shrink_to_fit();
        state.filters.shrink_to_fit();
        OfflineSession {
            cost: OfflineCost::of_session(&state, counters),
            state,
            since: period.since,
            expires: period.expires,
            will: period.will.map(|(will, due)| DelayedWill {
                cost: OfflineCost::of_will(&will, counters),
                will,
                due,
            }),
        }
    }

    /// The session's state and its offline period. Its cost counts no longer.
    pub(crate) fn into_parts(self) -> (SessionState, OfflinePeriod) {
        let period = OfflinePeriod {
            since: self.since,
            expires: self.expires,
            will: self.will.map(|delayed| (delayed.will, delayed.due)),
        };
        (self.state, period)
    }

    /// When its will or its end is due; `u64::MAX` is never.
    fn next_due(&self) -> u64 {
        let will = self.will.as_ref().map_or(u64::MAX, |will| will.due);
        self.expires.min(will)
    }

    /// Bytes that count for `limits.kept_bytes`, without its queue.
    pub(super) fn bytes(&self) -> u64 {
        self.cost.bytes + self.will.as_ref().map_or(0, |will| will.cost.bytes)
    }

    /// Whether `limits.kept_bytes` is not exceeded now, with this session.
    pub(super) fn fits(&self) -> bool {
        self.cost.fits()
    }

    /// Counts its bytes as ending: they are freed without an eviction.
    pub(super) fn mark_ending(&mut self) {
        self.cost.mark_ending();
        if let Some(will) = &mut self.will {
            will.cost.mark_ending();
        }
    }
}

fn eviction_rank(number: u64, offline: &OfflineSession) -> (bool, u64, u64) {
    (offline.state.who.authenticated, offline.since, number)
}

/// The numbers of all offline sessions, in three orders.
#[derive(Debug, Default)]
pub(super) struct OfflineOrder {
    /// By the time of the next will or end.
    due: BTreeSet<(u64, u64)>,
    /// Sessions without credentials first, since anybody can create any number of them; then by the
    /// time of the disconnect.
    by_eviction: BTreeSet<(bool, u64, u64)>,
    /// By user, with or without credentials: the time of the disconnect and the number of each session.
    by_user: HashMap<(bool, Arc<str>), SessionsBySince>,
    /// The users in the order in which they lose a session when there are too many.
    holders: BTreeSet<Holder>,
}

/// The time of the disconnect and the number of each session.
type SessionsBySince = BTreeSet<(u64, u64)>;

/// Whether a user has credentials, how many sessions it has, and since when the first of them is offline. They compare
/// in this order.
type Holder = (bool, Reverse<usize>, u64, Arc<str>);

impl OfflineOrder {
    pub(super) fn len(&self) -> usize {
        self.by_eviction.len()
    }

    /// Adds a session. True if nothing is due before it.
    pub(super) fn add(&mut self, number: u64, offline: &OfflineSession) -> bool {
        self.by_eviction.insert(eviction_rank(number, offline));
        self.change_user(offline, |sessions| sessions.insert((offline.since, number)));
        self.reschedule(number, offline);
        self.next_due() == Some(offline.next_due())
    }

    /// Adds the next time of a session whose last one was taken by [`take_due`](Self::take_due).
    pub(super) fn reschedule(&mut self, number: u64, offline: &OfflineSession) {
        if offline.next_due() != u64::MAX {
            self.due.insert((offline.next_due(), number));
        }
    }

    pub(super) fn remove(&mut self, number: u64, offline: &OfflineSession) {
        self.by_eviction.remove(&eviction_rank(number, offline));
        self.change_user(offline, |sessions| {
            sessions.remove(&(offline.since, number))
        });
        self.due.remove(&(offline.next_due(), number));
    }

    /// Changes the sessions of a user, and its place in the order of users.
    fn change_user(
        &mut self,
        offline: &OfflineSession,
        change: impl FnOnce(&mut SessionsBySince) -> bool,
    ) {
        let who = &offline.state.who;
        let place = |sessions: &SessionsBySince| {
            let (since, _) = sessions.first()?;
            let count = Reverse(sessions.len());
            Some((who.authenticated, count, *since, Arc::clone(&who.user)))
        };
        let user = (who.authenticated, Arc::clone(&who.user));
        let sessions = self.by_user.entry(user.clone()).or_default();
        if let Some(before) = place(sessions) {
            self.holders.remove(&before);
        }
        change(sessions);
        match place(sessions) {
            Some(after) => drop(self.holders.insert(after)),
            None => drop(self.by_user.remove(&user)),
        }
    }

    /// The session to evict when there are too many: of a user without credentials before one with; of the user who has
    /// most of them; the one that has been offline longest.
    pub(super) fn first_to_evict(&self) -> Option<u64> {
        let (authenticated, _, _, user) = self.holders.first()?;
        let user = (*authenticated, Arc::clone(user));
        let (_, number) = self.by_user.get(&user)?.first()?;
        Some(*number)
    }

    /// The sessions with or without credentials, the one that has been offline longest first.
    pub(super) fn longest_offline(&self, authenticated: bool) -> impl Iterator<Item = u64> {
        let all = (authenticated, 0, 0)..=(authenticated, u64::MAX, u64::MAX);
        self.by_eviction.range(all).map(|(_, _, number)| *number)
    }

    /// When the next will or end is due.
    pub(super) fn next_due(&self) -> Option<u64> {
        self.due.first().map(|(at, _)| *at)
    }

    /// Takes a session of which something is due.
    pub(super) fn take_due(&mut self, now: u64) -> Option<u64> {
        if self.next_due()? > now {
            return None;
        }
        self.due.pop_first().map(|(_, number)| number)
    }
}

/// How long a session may stay offline. Times are in milliseconds of lane time.
pub(crate) struct OfflinePeriod {
    pub since: u64,
    /// When the session ends; `u64::MAX` is never.
    pub expires: u64,
    /// The will, and when it is due.
    pub will: Option<(Will, u64)>,
}
