//! The memory that offline sessions may use in one lane.

use super::messages::Messages;
use super::subscription::Slot;
use roommq_mqtt::cost::{FILTER_COST, LANE_COST, MESSAGE_COST, REF_COST};
use std::collections::BTreeSet;

mod snapshot;

pub(super) use snapshot::PlaceImage;

/// Sessions that one entry ends, at most.
pub(super) const ENDS_AT_ONCE: usize = 1_000;

/// The lane's share of `limits.kept_bytes`, and the offline sessions in the order in which they
/// end.
///
/// Each lane may use `kept_bytes / lanes.count` for offline sessions; a message that waits for many
/// counts once. When that is used up, the lane ends offline sessions until an eighth is free: those
/// without credentials first, of these the one that holds most (to a power of two), among equals
/// the one offline longest. An ended session is gone in all lanes, and its client finds session
/// present 0.
///
/// | counted | bytes |
/// |---|---|
/// | an offline session that the lane knows | [`LANE_COST`] |
/// | a filter of it | [`FILTER_COST`] and its text |
/// | a reference of an offline session | [`REF_COST`] |
/// | a form of such references | [`FORM_COST`](roommq_mqtt::cost::FORM_COST) and its identifiers |
/// | a message that any of them waits for | its memory, once: [`Messages::offline_bytes`] |
///
/// A message counts for what a session *holds* in full, though others may wait for it as well: what
/// a session holds decides only which one ends. It changes with each message, and its power of two
/// seldom does, so that the order is seldom touched.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(super) struct OfflineShare {
    limit: u64,
    /// Bytes of all offline sessions, without messages.
    used: u64,
    /// The one that ends first is first.
    order: BTreeSet<Rank>,
}

/// An offline session's position. The fields compare in this order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Rank {
    authenticated: bool,
    /// 64 minus the bits of the number of bytes that it holds.
    zeros: u8,
    /// When it went offline.
    since: u64,
    slot: Slot,
}

/// An offline session, as the share counts it. It is kept beside the session's queue, so that a
/// message costs no search.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Place {
    rank: Rank,
    /// Bytes of the session and its filters.
    own: u64,
    references: u64,
}

/// What waits for an offline session.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) struct Waits {
    /// As [`Queue::references`](super::pending::Queue::references) counts them.
    pub references: usize,
    /// Bytes of their messages, as queues count them.
    pub bytes: u64,
}

/// Bytes of an offline session with these filters.
pub(super) fn own_cost<'a>(filters: impl Iterator<Item = &'a str>) -> u64 {
    let filters = filters.map(|filter| FILTER_COST + filter.len());
    (LANE_COST + filters.sum::<usize>()) as u64
}

impl Place {
    fn used(&self) -> u64 {
        self.own + self.references * REF_COST as u64
    }

    fn set(&mut self, waits: Waits) {
        self.references = waits.references as u64;
        let messages = self.references * MESSAGE_COST as u64 + waits.bytes;
        let zeros = (self.used() + messages).leading_zeros();
        self.rank.zeros = u8::try_from(zeros).unwrap_or(u8::MAX);
    }
}

impl OfflineShare {
    /// Sets the limit in bytes.
    pub(super) fn set_limit(&mut self, limit: u64) {
        self.limit = limit;
    }

    /// Adds a session that has gone offline, with its [`own_cost`].
    pub(super) fn add(
        &mut self,
        slot: Slot,
        since: u64,
        authenticated: bool,
        own: u64,
        waits: Waits,
    ) -> Place {
        let rank = Rank {
            authenticated,
            zeros: 0,
            since,
            slot,
        };
        let mut place = Place {
            rank,
            own,
            references: 0,
        };
        place.set(waits);
        self.used += place.used();
        self.order.insert(place.rank);
        place
    }

    /// More or less waits for the session now.
    pub(super) fn update(&mut self, place: &mut Place, waits: Waits) {
        let (rank, used) = (place.rank, place.used());
        place.set(waits);
        self.used = self.used - used + place.used();
        if rank != place.rank {
            self.order.remove(&rank);
            self.order.insert(place.rank);
        }
    }

    /// Removes a session that is connected again or has ended.
    pub(super) fn remove(&mut self, place: &Place) {
        self.used -= place.used();
        self.order.remove(&place.rank);
    }

    /// Bytes that are used.
    pub(super) fn used(&self, messages: &Messages) -> u64 {
        self.used + messages.offline_bytes()
    }

    /// Makes sure that so many bytes more are within the share. If they are not, it ends sessions
    /// until an eighth is free behind them. `end` drops what waits for a session and returns its
    /// place.
    ///
    /// False if that is not enough: the new message must not be kept. It ends no session for a
    /// message that has no capacity even in an empty share.
    pub(super) fn reserve(
        &mut self,
        more: u64,
        messages: &mut Messages,
        mut end: impl FnMut(Slot, &mut Messages) -> Option<Place>,
    ) -> bool {
        let fits = |share: &OfflineShare, messages: &Messages, limit: u64| {
            share.used(messages).saturating_add(more) <= limit
        };
        if fits(self, messages, self.limit) {
            return true;
        }
        let low_mark = self.limit - self.limit / 8;
        if more > low_mark {
            return false;
        }
        for _ in 0..ENDS_AT_ONCE {
            if fits(self, messages, low_mark) {
                break;
            }
            let Some(first) = self.order.pop_first() else {
                break;
            };
            if let Some(place) = end(first.slot, messages) {
                self.remove(&place);
            }
        }
        fits(self, messages, self.limit)
    }
}

#[cfg(test)]
#[path = "share_tests.rs"]
mod tests;
