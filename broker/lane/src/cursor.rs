//! The retained messages that a SUBSCRIBE brings, read in parts.

use super::entry::{FilterEntry, SubscribeEntry};
use super::lane::Lane;
use super::retained::RetainedMessage;
use super::subscription::Subscription;
use super::walk::{WalkFilters, topic_of};
use crate::SessionId;
use roommq_mqtt::cost::STRING_COST;
use std::ops::ControlFlow;

/// The place that the replay of retained messages for a SUBSCRIBE, or for a part of one, has come to
/// in one lane.
///
/// [`Lane::replay`] moves it on, a part at a time, and changes nothing in the lane: the reader decides
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
    session: SessionId,
    filters: WalkFilters,
    /// What each filter asks for, by its position. The slots are never read.
    subscriptions: Vec<Subscription>,
    /// The number of the SUBSCRIBE's entry.
    before: u64,
    /// The key of a topic: all before it are done.
    place: String,
    /// How many of the filters that match the topic at `place` have brought it.
    given: usize,
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

impl Lane {
    /// Goes on with a replay. Calls `give` with each retained message that is left and whose key is not
    /// behind `until`, and with the subscription that it matches. Returns whether all have been given.
    ///
    /// It stops when `give` breaks: that message is not given, and comes again. It also stops when the
    /// `budget` is used up, whose units are topics looked at and searches in the filters.
    ///
    /// Messages come in the order of topics, for all filters at once. One that several filters match
    /// comes once for each [3.1.1 MQTT-3.8.4-4, 5.0 MQTT-3.8.4-5].
    pub fn replay(
        &self,
        cursor: &mut Cursor,
        until: Option<&str>,
        budget: &mut usize,
        mut give: impl FnMut(&str, &RetainedMessage, &Subscription) -> ControlFlow<()>,
    ) -> bool {
        let slot = self.subscribers.slot_of(cursor.session);
        let Some(subscriber) = slot.and_then(|slot| self.subscribers.get(slot)) else {
            return true;
        };
        // Nothing more comes by a filter that the session has left [MQTT-3.10.4-2].
        let mut held = vec![None; cursor.subscriptions.len()];
        for (key, position) in cursor.filters.iter() {
            if subscriber.filters.contains(&*topic_of(key)) {
                held[position] = cursor.subscriptions.get(position);
            }
        }
        if held.iter().all(Option::is_none) {
            return true;
        }
        let all_guarded = held.iter().flatten().all(|s| s.guarded);
        let (start, given) = (cursor.place.clone(), cursor.given);
        cursor.given = 0;
        let (filters, place) = (&cursor.filters, &mut cursor.place);
        self.retained.walk(
            filters,
            place,
            budget,
            self.now,
            |key, message, positions| {
                if message.position >= cursor.before {
                    return ControlFlow::Continue(());
                }
                let given = if *key == *start { given } else { 0 };
                if until.is_some_and(|until| key > until) {
                    cursor.given = given;
                    return ControlFlow::Break(());
                }
                let topic = topic_of(key);
                // The hook is asked once a topic: thousands of filters of one packet may match it.
                let mut seen = None;
                let mut is_hidden = || {
                    let see = || self.hook.may_see(subscriber.actor(), &topic);
                    !*seen.get_or_insert_with(see)
                };
                if all_guarded && is_hidden() {
                    return ControlFlow::Continue(());
                }
                for (at, position) in positions.iter().enumerate().skip(given) {
                    if let Some(Some(subscription)) = held.get(*position)
                        && !(subscription.guarded && is_hidden())
                        && give(&topic, message, subscription).is_break()
                    {
                        cursor.given = at;
                        return ControlFlow::Break(());
                    }
                }
                ControlFlow::Continue(())
            },
        )
    }
}
