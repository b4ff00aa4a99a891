//! Sessions without a connection, in the order in which something is due.

use super::cost::OfflineCost;
use super::session_state::SessionState;
use crate::metrics::Counters;
use crate::packet::Will;
use crate::policy::{Principal, SessionId};
use std::collections::BTreeSet;
use std::sync::Arc;

/// A session that waits for its client.
#[derive(Debug)]
pub(crate) struct OfflineSession {
    pub state: SessionState,
    /// Milliseconds since the Unix epoch.
    pub since: u64,
    /// When it ends [MQTT-3.1.2-11, 5.0 MQTT-4.1.0-2]; `u64::MAX`: never.
    pub expires: u64,
    /// Sent when it is due, or at the session's end where that is earlier [MQTT-3.1.2-8, 3.1.3.2.2].
    pub will: Option<DelayedWill>,
    cost: OfflineCost,
}

/// A will that waits, with memory of its own.
#[derive(Debug)]
pub(crate) struct DelayedWill {
    pub will: Will,
    /// Milliseconds since the Unix epoch.
    pub due: u64,
    cost: OfflineCost,
}

/// What has to be done.
#[derive(Debug)]
pub(crate) enum Due {
    /// The will of a session that goes on sleeping.
    Will(SessionId, Principal, Box<DelayedWill>),
    /// The session is over, its will too where there still is one.
    End(SessionId, Box<OfflineSession>),
}

impl OfflineSession {
    /// With a will and when it is due. From here on what it costs counts for `limits.kept_bytes`, until it is dropped;
    /// the will's part until that is.
    pub(crate) fn new(
        mut state: SessionState,
        period: OfflinePeriod,
        counters: &Arc<Counters>,
    ) -> OfflineSession {
        // They are as large as they once had to be.
        state.unreleased.shrink_to_fit();
        state.filters.shrink_to_fit();
        OfflineSession {
            cost: OfflineCost::of_session(&state, counters),
            state,
            since: period.since,
            expires: period.expires,
            will: period.will.map(|(will, due)| DelayedWill {
                cost: OfflineCost::of_will(&will, counters),
                will: will.detached(),
                due,
            }),
        }
    }

    /// What it was, and for how long it was offline; its cost counts no more.
    pub(crate) fn into_parts(self) -> (SessionState, OfflinePeriod) {
        let period = OfflinePeriod {
            since: self.since,
            expires: self.expires,
            will: self.will.map(|delayed| (delayed.will, delayed.due)),
        };
        (self.state, period)
    }

    fn next_due(&self) -> u64 {
        let will = self.will.as_ref().map_or(u64::MAX, |will| will.due);
        self.expires.min(will)
    }

    /// Bytes that count beside its queue.
    pub(super) fn bytes(&self) -> u64 {
        self.cost.bytes() + self.will.as_ref().map_or(0, |will| will.cost.bytes())
    }

    /// Whether there was room for it.
    pub(super) fn fits(&self) -> bool {
        self.cost.fits()
    }

    /// It ends.
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

/// Who is next.
#[derive(Debug, Default)]
pub(super) struct OfflineOrder {
    due: BTreeSet<(u64, u64)>,
    /// Those without credentials first, then by the time since when: anybody can make as many as there may be.
    by_eviction: BTreeSet<(bool, u64, u64)>,
}

impl OfflineOrder {
    pub(super) fn len(&self) -> usize {
        self.by_eviction.len()
    }

    /// True where nothing else is due earlier.
    pub(super) fn add(&mut self, number: u64, offline: &OfflineSession) -> bool {
        self.by_eviction.insert(eviction_rank(number, offline));
        self.reschedule(number, offline);
        self.next_due() == Some(offline.next_due())
    }

    /// After something of it was done.
    pub(super) fn reschedule(&mut self, number: u64, offline: &OfflineSession) {
        if offline.next_due() != u64::MAX {
            self.due.insert((offline.next_due(), number));
        }
    }

    pub(super) fn remove(&mut self, number: u64, offline: &OfflineSession) {
        self.by_eviction.remove(&eviction_rank(number, offline));
        self.due.remove(&(offline.next_due(), number));
    }

    /// Who makes room for others.
    pub(super) fn first_to_evict(&self) -> Option<u64> {
        self.by_eviction.first().map(|(_, _, number)| *number)
    }

    /// Those with credentials or those without, from the one whose client has been away longest.
    pub(super) fn longest_offline(&self, authenticated: bool) -> impl Iterator<Item = u64> {
        let all = (authenticated, 0, 0)..=(authenticated, u64::MAX, u64::MAX);
        self.by_eviction.range(all).map(|(_, _, number)| *number)
    }

    /// When the next is due.
    pub(super) fn next_due(&self) -> Option<u64> {
        self.due.first().map(|(at, _)| *at)
    }

    pub(super) fn take_due(&mut self, now: u64) -> Option<u64> {
        if self.next_due()? > now {
            return None;
        }
        self.due.pop_first().map(|(_, number)| number)
    }
}

/// How long a session is without a connection. All times in milliseconds since the Unix epoch.
pub(crate) struct OfflinePeriod {
    pub since: u64,
    /// When it ends; `u64::MAX`: never.
    pub expires: u64,
    /// With when it is due.
    pub will: Option<(Will, u64)>,
}
