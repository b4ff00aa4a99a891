//! The subscription index: which subscriptions match a topic.

use super::subscription::{Slot, Subscription, take_slot};
use super::tree::Tree;
use ahash::RandomState;
use smol_str::SmolStr;
use std::collections::HashMap;

mod snapshot;

/// Subscriptions by filter. Literal filters are in a hash map, filters with wildcards in a
/// tree.
///
/// ```text
///   literal   chat/berlin/main   -> [slot 1, slot 4]
///             chat/berlin/topic  -> [slot 4]
///   wild      chat/berlin/#      -> [slot 2]
///             +/berlin/main      -> [slot 1]
///
///   matches("chat/berlin/main")  =  slots 1, 4 (one look-up), 2 and 1 (the tree)
/// ```
///
/// Slot 1 is found twice, by two filters: the caller merges the matches of a slot, since each
/// subscriber receives one copy. Most topics of most brokers match literal filters alone, which
/// cost one look-up.
///
/// The index is also used outside of lanes, for the messages that wait for a session that is
/// resumed.
#[derive(Debug, Default)]
pub struct Index {
    /// A filter of up to 23 bytes is stored in the map itself. Comparing it then costs no second
    /// access to memory, which counts for the first message after a while.
    literal: HashMap<SmolStr, Vec<Subscription>, RandomState>,
    wild: Tree,
    /// How many subscriptions the tree holds.
    wild_count: usize,
}

impl Index {
    /// Adds a subscription, or replaces the one of the same slot and filter [MQTT-3.8.4-3]. True if
    /// there was none.
    pub fn insert(&mut self, filter: &str, subscription: Subscription) -> bool {
        let list = if is_literal(filter) {
            self.literal.entry(filter.into()).or_default()
        } else {
            self.wild.list_mut(filter)
        };
        if let Some(old) = list.iter_mut().find(|s| s.slot == subscription.slot) {
            *old = subscription;
            return false;
        }
        list.push(subscription);
        self.wild_count += usize::from(!is_literal(filter));
        true
    }

    /// Removes the slot's subscription to exactly this filter [MQTT-3.10.4-1]; no topic matches it
    /// any more [MQTT-3.10.4-2]. True if there was one.
    pub fn remove(&mut self, filter: &str, slot: Slot) -> bool {
        if is_literal(filter) {
            let Some(list) = self.literal.get_mut(filter) else {
                return false;
            };
            let had = take_slot(list, slot);
            if list.is_empty() {
                self.literal.remove(filter);
            }
            return had;
        }
        let had = self.wild.remove(filter, slot);
        self.wild_count -= usize::from(had);
        had
    }

    /// The slot's subscription to exactly this filter.
    #[must_use]
    pub fn find(&self, filter: &str, slot: Slot) -> Option<&Subscription> {
        let list = if is_literal(filter) {
            self.literal.get(filter)?.as_slice()
        } else {
            self.wild.list(filter)?
        };
        list.iter().find(|s| s.slot == slot)
    }

    /// Whether [`matches`](Self::matches) may find one slot twice.
    #[must_use]
    pub fn may_overlap(&self) -> bool {
        self.wild_count > 0
    }

    /// Whether no subscription is left, nor any memory that held one.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.literal.is_empty() && self.wild.is_empty() && self.wild_count == 0
    }

    /// Calls `found` with every subscription whose filter matches `topic`, compared byte by byte
    /// [MQTT-4.7.3-4]. A slot with several such filters is found several times. Returns how many places
    /// it visited.
    pub fn matches<'a>(&'a self, topic: &str, mut found: impl FnMut(&'a Subscription)) -> usize {
        if let Some(list) = self.literal.get(topic) {
            list.iter().for_each(&mut found);
        }
        if self.wild_count == 0 {
            return 1;
        }
        1 + self.wild.matches(topic, &mut found)
    }
}

/// Whether a filter has no wildcard.
pub(super) fn is_literal(filter: &str) -> bool {
    !filter.bytes().any(|b| matches!(b, b'+' | b'#'))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;
    use roommq_mqtt::packet::{QoS, SubscribeOptions, TopicFilter};

    fn subscription(slot: Slot) -> Subscription {
        Subscription {
            slot,
            options: SubscribeOptions::of(QoS::AtMostOnce),
            identifier: None,
            guarded: false,
            keeps: false,
            mount: None,
        }
    }

    fn reached(index: &Index, topic: &str) -> Vec<Slot> {
        let mut slots = Vec::new();
        index.matches(topic, |s| slots.push(s.slot));
        slots.sort_unstable();
        slots
    }

    #[test]
    fn subscribing_twice_to_a_filter_replaces_the_first() {
        for filter in ["a/b", "a/#"] {
            let mut index = Index::default();
            assert!(index.insert(filter, subscription(1)));
            assert!(!index.insert(filter, subscription(1)));
            assert_eq!(reached(&index, "a/b"), [1]);
            assert!(index.remove(filter, 1));
            assert!(!index.remove(filter, 1));
            assert!(reached(&index, "a/b").is_empty());
            assert!(index.is_empty());
        }
    }

    proptest! {
        #[test]
        fn finds_what_each_filter_alone_matches(
            filters in proptest::collection::vec("(\\$s|a|ab|\\+|)(/(a|ab|\\+|)){0,5}(/#)?|#", 1..24),
            gone in proptest::collection::vec(any::<bool>(), 24),
            topics in proptest::collection::vec("(\\$s|a|ab|)(/(a|ab|)){0,5}", 1..12),
        ) {
            let mut index = Index::default();
            let mut held = Vec::new();
            for (slot, filter) in (0..).zip(&filters) {
                let Ok(parsed) = TopicFilter::new(filter.as_str().into()) else { continue };
                prop_assert!(index.insert(filter, subscription(slot)));
                held.push((slot, filter, parsed));
            }
            held.retain(|(slot, filter, _)| {
                let goes = gone[*slot as usize];
                assert!(!goes || index.remove(filter, *slot) && !index.remove(filter, *slot));
                !goes
            });
            for topic in topics.iter().filter(|topic| !topic.is_empty()) {
                let matching = held.iter().filter(|(_, _, parsed)| parsed.matches(topic));
                let expected: Vec<Slot> = matching.map(|(slot, _, _)| *slot).collect();
                prop_assert_eq!(reached(&index, topic), expected);
            }
            for (slot, filter, _) in held {
                prop_assert!(index.find(filter, slot).is_some() && index.remove(filter, slot));
            }
            prop_assert!(index.is_empty());
        }
    }
}
