//! The place in the retained messages that a SUBSCRIBE brings.

use super::entry::{FilterEntry, SubscribeEntry};
use super::subscription::Subscription;
use super::walk::WalkFilters;
use crate::SessionId;
use roommq_mqtt::cost::STRING_COST;

/// The place that the replay of retained messages for a SUBSCRIBE, or for a part of one, has come to
/// in one lane.
///
/// [`Lane::replay`](super::Lane::replay) moves it on, a part at a time, and changes nothing in the lane: the reader decides
/// when, and other entries come between. It holds the filters and a key, and no message. A SUBSCRIBE to
/// `a/#` by entry 17, while the lane retains three messages:
///
/// ```text
///   entry                retained: topic, set by entry         replay
///   17 Subscribe a/#     a/1 by 3   a/2 by 9   a/3 by 12       a/1
///   18 Publish a/2       a/1 by 3   a/2 by 18  a/3 by 12       a/3: a/2 has come live
/// ```
///
/// It reads current values. A message that was set by the SUBSCRIBE's own entry or a later one is passed
/// over, because the client receives it live. So is all that a filter matches once the session has
/// unsubscribed from it.
#[derive(Debug)]
pub struct Cursor {
    pub(super) session: SessionId,
    pub(super) filters: WalkFilters,
    /// What each filter asks for, by its position. The slots are never read.
    pub(super) subscriptions: Vec<Subscription>,
    /// The number of the SUBSCRIBE's entry.
    pub(super) before: u64,
    /// The key of a topic: all before it are done.
    pub(super) place: String,
    /// How many of the filters that match the topic at `place` have brought it.
    pub(super) given: usize,
}

impl Cursor {
    /// A cursor for some filters of a SUBSCRIBE, which is the entry with this number.
    pub(super) fn new(s: &SubscribeEntry<'_>, wanted: &[&FilterEntry<'_>], before: u64) -> Self {
        let of = |f: &&FilterEntry<'_>| Subscription::of(0, f, s.identifier, s.keeps);
        Cursor {
            session: s.who.session,
            filters: WalkFilters::new(wanted.iter().map(|f| f.filter)),
            subscriptions: wanted.iter().map(of).collect(),
            before,
            place: String::new(),
            given: 0,
        }
    }

    /// A key before which nothing is left. Keys have the order of topics.
    #[must_use]
    pub fn place(&self) -> &str {
        &self.place
    }

    /// The bytes that it counts for.
    #[must_use]
    pub fn cost(&self) -> usize {
        let filters = self.filters.iter().map(|(key, _)| {
            let one = size_of::<Subscription>() + STRING_COST;
            key.len() + one
        });
        size_of::<Cursor>() + STRING_COST + self.place.len() + filters.sum::<usize>()
    }
}
