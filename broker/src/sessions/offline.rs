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
    pub kept: SessionState,
    /// Milliseconds since the Unix epoch.
    pub since: u64,
    /// When it ends [MQTT-3.1.2-11, 5.0 MQTT-4.1.0-2]; `u64::MAX`: never.
    pub expires: u64,
    /// Sent when it is due, or at the session's end where that is earlier [MQTT-3.1.2-8, 3.1.3.2.2].
    pub will: Option<DelayedWill>,
    weight: OfflineCost,
}

/// A will that waits, with memory of its own.
#[derive(Debug)]
pub(crate) struct DelayedWill {
    pub will: Will,
    /// Milliseconds since the Unix epoch.
    pub due: u64,
    weight: OfflineCost,
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
        mut kept: SessionState,
        since: u64,
        expires: u64,
        will: Option<(Will, u64)>,
        counters: &Arc<Counters>,
    ) -> OfflineSession {
        // They are as large as they once had to be.
        kept.unreleased.shrink_to_fit();
        kept.filters.shrink_to_fit();
        OfflineSession {
            weight: OfflineCost::of_session(&kept, counters),
            kept,
            since,
            expires,
            will: will.map(|(will, due)| DelayedWill {
                weight: OfflineCost::of_will(&will, counters),
                will: will.detached(),
                due,
            }),
        }
    }

    fn next(&self) -> u64 {
        let will = self.will.as_ref().map_or(u64::MAX, |will| will.due);
        self.expires.min(will)
    }

    /// Bytes that count beside its queue.
    pub(super) fn bytes(&self) -> u64 {
        self.weight.bytes() + self.will.as_ref().map_or(0, |will| will.weight.bytes())
    }

    /// Whether there was room for it.
    pub(super) fn fits(&self) -> bool {
        self.weight.fits()
    }

    /// It ends.
    pub(super) fn leave(&mut self) {
        self.weight.leave();
        if let Some(will) = &mut self.will {
            will.weight.leave();
        }
    }
}

fn rank(number: u64, asleep: &OfflineSession) -> (bool, u64, u64) {
    (asleep.kept.who.authenticated, asleep.since, number)
}

/// Who is next.
#[derive(Debug, Default)]
pub(super) struct OfflineOrder {
    due: BTreeSet<(u64, u64)>,
    /// Those without credentials first, then by the time since when: anybody can make as many as there may be.
    asleep: BTreeSet<(bool, u64, u64)>,
}

impl OfflineOrder {
    pub(super) fn len(&self) -> usize {
        self.asleep.len()
    }

    /// True where nothing else is due earlier.
    pub(super) fn add(&mut self, number: u64, asleep: &OfflineSession) -> bool {
        self.asleep.insert(rank(number, asleep));
        self.again(number, asleep);
        self.next() == Some(asleep.next())
    }

    /// After something of it was done.
    pub(super) fn again(&mut self, number: u64, asleep: &OfflineSession) {
        if asleep.next() != u64::MAX {
            self.due.insert((asleep.next(), number));
        }
    }

    pub(super) fn forget(&mut self, number: u64, asleep: &OfflineSession) {
        self.asleep.remove(&rank(number, asleep));
        self.due.remove(&(asleep.next(), number));
    }

    /// Who makes room for others.
    pub(super) fn first_to_go(&self) -> Option<u64> {
        self.asleep.first().map(|(_, _, number)| *number)
    }

    /// Those with credentials or those without, from the one whose client has been away longest.
    pub(super) fn longest_away(&self, authenticated: bool) -> impl Iterator<Item = u64> {
        let all = (authenticated, 0, 0)..=(authenticated, u64::MAX, u64::MAX);
        self.asleep.range(all).map(|(_, _, number)| *number)
    }

    /// When the next is due.
    pub(super) fn next(&self) -> Option<u64> {
        self.due.first().map(|(at, _)| *at)
    }

    pub(super) fn take_due(&mut self, now: u64) -> Option<u64> {
        if self.next()? > now {
            return None;
        }
        self.due.pop_first().map(|(_, number)| number)
    }
}

/// How long a session is without a connection. All times in milliseconds since the Unix epoch.
pub(crate) struct Absence {
    pub since: u64,
    /// When it ends; `u64::MAX`: never.
    pub expires: u64,
    /// With when it is due.
    pub will: Option<(Will, u64)>,
}
