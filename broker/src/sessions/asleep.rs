//! Sessions without a connection, in the order in which something is due.

use super::weight::Weight;
use crate::packet::{PacketId, Will};
use crate::policy::{Principal, SessionId};
use crate::session::Filters;
use crate::sys::Counters;
use bytestring::ByteString;
use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;

/// What a session is between two connections, beside its outbox and its subscriptions in the lanes.
#[derive(Debug)]
pub(crate) struct Kept {
    pub who: Principal,
    pub client_id: ByteString,
    /// QoS 2 ids taken and not yet released.
    pub unreleased: HashSet<PacketId>,
    /// As the client named them.
    pub filters: Filters,
    /// Lanes in which the session has had something.
    pub lanes: BTreeSet<u16>,
    /// Number of the last SUBSCRIBE or UNSUBSCRIBE.
    pub ticket: u32,
}

/// A session that waits for its client.
#[derive(Debug)]
pub(crate) struct Asleep {
    pub kept: Kept,
    /// Milliseconds since the Unix epoch.
    pub since: u64,
    /// When it ends [MQTT-3.1.2-11, 5.0 MQTT-4.1.0-2]; `u64::MAX`: never.
    pub expires: u64,
    /// Sent when it is due, or at the session's end where that is earlier [MQTT-3.1.2-8, 3.1.3.2.2].
    pub will: Option<DelayedWill>,
    weight: Weight,
}

/// A will that waits, with memory of its own.
#[derive(Debug)]
pub(crate) struct DelayedWill {
    pub will: Will,
    /// Milliseconds since the Unix epoch.
    pub due: u64,
    weight: Weight,
}

/// What has to be done.
#[derive(Debug)]
pub(crate) enum Due {
    /// The will of a session that goes on sleeping.
    Will(SessionId, Principal, Box<DelayedWill>),
    /// The session is over, its will too where there still is one.
    End(SessionId, Box<Asleep>),
}

impl Asleep {
    /// With a will and when it is due. From here on what it costs counts for `limits.kept_bytes`, until it is dropped;
    /// the will's part until that is.
    pub(crate) fn new(
        mut kept: Kept,
        since: u64,
        expires: u64,
        will: Option<(Will, u64)>,
        counters: &Arc<Counters>,
    ) -> Asleep {
        // They are as large as they once had to be.
        kept.unreleased.shrink_to_fit();
        kept.filters.shrink_to_fit();
        Asleep {
            weight: Weight::of_session(&kept, counters),
            kept,
            since,
            expires,
            will: will.map(|(will, due)| DelayedWill {
                weight: Weight::of_will(&will, counters),
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

fn rank(number: u64, asleep: &Asleep) -> (bool, u64, u64) {
    (asleep.kept.who.authenticated, asleep.since, number)
}

/// Who is next.
#[derive(Debug, Default)]
pub(super) struct Order {
    due: BTreeSet<(u64, u64)>,
    /// Those without credentials first, then by the time since when: anybody can make as many as there may be.
    asleep: BTreeSet<(bool, u64, u64)>,
}

impl Order {
    pub(super) fn len(&self) -> usize {
        self.asleep.len()
    }

    /// True where nothing else is due earlier.
    pub(super) fn add(&mut self, number: u64, asleep: &Asleep) -> bool {
        self.asleep.insert(rank(number, asleep));
        self.again(number, asleep);
        self.next() == Some(asleep.next())
    }

    /// After something of it was done.
    pub(super) fn again(&mut self, number: u64, asleep: &Asleep) {
        if asleep.next() != u64::MAX {
            self.due.insert((asleep.next(), number));
        }
    }

    pub(super) fn forget(&mut self, number: u64, asleep: &Asleep) {
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
