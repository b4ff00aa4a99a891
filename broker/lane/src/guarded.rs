//! Guarded subscriptions, by their sessions. Each message needs the hook's permission for each of them.
//!
//! They are not in the index: `#` and `+/x` match messages of all rooms, and their holder may see those
//! of a few. So a message asks first who may see it, then what they have subscribed to.
//!
//! ```text
//!   message to rooms/a/x  ->  the hook: sessions 4 and 9 are in room a  ->  filters of 4, filters of 9
//! ```

use super::subscription::{Slot, Subscription};
use roommq_mqtt::packet::TopicFilter;
use std::collections::BTreeMap;

/// All guarded subscriptions of a lane, but those of shared groups.
#[derive(Debug, Default)]
pub(super) struct Guarded {
    /// Each list is sorted by filter, and not empty.
    by_slot: BTreeMap<Slot, Vec<(TopicFilter, Subscription)>>,
}

impl Guarded {
    /// Adds a subscription, or replaces the one of the same slot and filter. True if there was none.
    pub fn insert(&mut self, filter: &str, subscription: Subscription) -> bool {
        let Ok(filter) = TopicFilter::new(filter.into()) else {
            return false; // an entry has valid filters only
        };
        let list = self.by_slot.entry(subscription.slot).or_default();
        match place(list, filter.as_str()) {
            Ok(at) => {
                list[at].1 = subscription;
                false
            }
            Err(at) => {
                list.insert(at, (filter, subscription));
                true
            }
        }
    }

    /// Removes the slot's subscription to exactly this filter. True if there was one.
    pub fn remove(&mut self, filter: &str, slot: Slot) -> bool {
        let Some(list) = self.by_slot.get_mut(&slot) else {
            return false;
        };
        let Ok(at) = place(list, filter) else {
            return false;
        };
        list.remove(at);
        if list.is_empty() {
            self.by_slot.remove(&slot);
        }
        true
    }

    /// The slot's subscription to exactly this filter.
    pub fn find(&self, filter: &str, slot: Slot) -> Option<&Subscription> {
        let list = self.by_slot.get(&slot)?;
        Some(&list.get(place(list, filter).ok()?)?.1)
    }

    /// How many sessions have any.
    pub fn sessions(&self) -> usize {
        self.by_slot.len()
    }

    /// The slots of these sessions, ascending.
    pub fn slots(&self) -> impl Iterator<Item = Slot> {
        self.by_slot.keys().copied()
    }

    /// The subscriptions of a session, by filter.
    pub fn of(&self, slot: Slot) -> &[(TopicFilter, Subscription)] {
        self.by_slot.get(&slot).map_or(&[], Vec::as_slice)
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Subscription)> {
        let all = self.by_slot.values().flatten();
        all.map(|(filter, subscription)| (filter.as_str(), subscription))
    }
}

/// Where a filter is in a list, or belongs.
fn place(list: &[(TopicFilter, Subscription)], filter: &str) -> Result<usize, usize> {
    list.binary_search_by(|(own, _)| own.as_str().cmp(filter))
}

#[cfg(test)]
#[path = "guarded_tests.rs"]
mod tests;
