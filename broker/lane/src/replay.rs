//! Reading the retained messages that a SUBSCRIBE brings, in parts.

use super::cursor::Cursor;
use super::lane::Lane;
use super::retained::RetainedMessage;
use super::subscription::Subscription;
use super::walk::topic_of;
use std::ops::ControlFlow;

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
            if subscriber.filters.contains(&topic_of(key)) {
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
