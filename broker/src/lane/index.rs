//! Which subscriptions a topic reaches: literal filters in a hash map, wildcards in a tree of levels.

use crate::packet::SubscribeOptions;
use crate::policy::Mount;
use std::collections::HashMap;
use std::num::NonZeroU32;
use std::sync::Arc;

/// Levels of a filter, at most: the tree of wildcards is walked by recursion, a level a call, and costs
/// hundreds of bytes a level.
pub(crate) const MOST_LEVELS: usize = 128;

/// A place in the lane's table of subscribers.
pub(crate) type Slot = u32;

/// One subscription.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Subscription {
    pub slot: Slot,
    pub options: SubscribeOptions,
    pub identifier: Option<NonZeroU32>,
    /// Each match is asked of the hook.
    pub guarded: bool,
    pub mount: Option<Arc<Mount>>,
}

/// All subscriptions of a lane.
#[derive(Debug, Default)]
pub(crate) struct Index {
    literal: HashMap<Box<str>, Vec<Subscription>>,
    wild: Node,
    wild_count: usize,
}

#[derive(Debug, Default)]
struct Node {
    children: HashMap<Box<str>, Node>,
    /// `+` at this level.
    plus: Option<Box<Node>>,
    /// Filters that end here.
    here: Vec<Subscription>,
    /// Filters that end with `#` below here.
    below: Vec<Subscription>,
}

impl Index {
    /// Adds a subscription, or replaces the slot's own to the same filter [MQTT-3.8.4-3]. True where it
    /// is new.
    pub(crate) fn insert(&mut self, filter: &str, subscription: Subscription) -> bool {
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

    /// Takes the slot's subscription to this very filter away [MQTT-3.10.4-1], and `topic`s reach it no more
    /// [MQTT-3.10.4-2]; true where there was one.
    pub(crate) fn remove(&mut self, filter: &str, slot: Slot) -> bool {
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

    /// The slot's subscription to this filter.
    pub(crate) fn find(&self, filter: &str, slot: Slot) -> Option<&Subscription> {
        let list = if is_literal(filter) {
            self.literal.get(filter)?
        } else {
            self.wild.list(filter)?
        };
        list.iter().find(|s| s.slot == slot)
    }

    /// Whether a slot can be found more than once for one topic.
    pub(crate) fn may_overlap(&self) -> bool {
        self.wild_count > 0
    }

    /// Whether no subscription, and no place for one, is left.
    #[cfg(any(test, feature = "fuzzing"))]
    pub(crate) fn is_empty(&self) -> bool {
        self.literal.is_empty() && self.wild.is_empty() && self.wild_count == 0
    }

    /// Calls `found` with every subscription that `topic` reaches, byte by byte [MQTT-4.7.3-4]; a slot with
    /// several filters comes several times.
    pub(crate) fn matches<'a>(&'a self, topic: &str, mut found: impl FnMut(&'a Subscription)) {
        if let Some(list) = self.literal.get(topic) {
            list.iter().for_each(&mut found);
        }
        if self.wild_count > 0 {
            // A wildcard at the first level does not match a leading `$` [MQTT-4.7.2-1].
            let dollar = topic.starts_with('$');
            self.wild.matches(Some(topic), dollar, &mut found);
        }
    }
}

impl Node {
    fn list_mut(&mut self, filter: &str) -> &mut Vec<Subscription> {
        let mut node = self;
        for level in filter.split('/') {
            node = match level {
                "#" => return &mut node.below,
                "+" => node.plus.get_or_insert_default(),
                _ => node.children.entry(level.into()).or_default(),
            };
        }
        &mut node.here
    }

    fn list(&self, filter: &str) -> Option<&Vec<Subscription>> {
        let mut node = self;
        for level in filter.split('/') {
            node = match level {
                "#" => return Some(&node.below),
                "+" => node.plus.as_deref()?,
                _ => node.children.get(level)?,
            };
        }
        Some(&node.here)
    }

    fn remove(&mut self, filter: &str, slot: Slot) -> bool {
        let (level, rest) = split(filter);
        if level == "#" {
            return take_slot(&mut self.below, slot);
        }
        let child = match level {
            "+" => self.plus.as_deref_mut(),
            _ => self.children.get_mut(level),
        };
        let Some(child) = child else { return false };
        let had = match rest {
            Some(rest) => child.remove(rest, slot),
            None => take_slot(&mut child.here, slot),
        };
        if had && child.is_empty() {
            match level {
                "+" => self.plus = None,
                _ => drop(self.children.remove(level)),
            }
        }
        had
    }

    fn matches<'a>(
        &'a self,
        topic: Option<&str>,
        dollar: bool,
        found: &mut impl FnMut(&'a Subscription),
    ) {
        // `a/#` matches `a` itself too (4.7.1.2).
        if !dollar {
            self.below.iter().for_each(&mut *found);
        }
        let Some(topic) = topic else {
            self.here.iter().for_each(found);
            return;
        };
        let (level, rest) = split(topic);
        if let Some(child) = self.children.get(level) {
            child.matches(rest, false, found);
        }
        if let (Some(child), false) = (&self.plus, dollar) {
            child.matches(rest, false, found);
        }
    }

    fn is_empty(&self) -> bool {
        self.children.is_empty()
            && self.plus.is_none()
            && self.here.is_empty()
            && self.below.is_empty()
    }
}

fn split(levels: &str) -> (&str, Option<&str>) {
    match levels.split_once('/') {
        Some((level, rest)) => (level, Some(rest)),
        None => (levels, None),
    }
}

fn is_literal(filter: &str) -> bool {
    !filter.contains(['+', '#'])
}

fn take_slot(list: &mut Vec<Subscription>, slot: Slot) -> bool {
    let Some(at) = list.iter().position(|s| s.slot == slot) else {
        return false;
    };
    list.swap_remove(at);
    if list.capacity() > 32 && list.len() * 4 < list.capacity() {
        list.shrink_to_fit();
    }
    true
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::packet::{QoS, TopicFilter};
    use proptest::prelude::*;

    fn subscription(slot: Slot) -> Subscription {
        Subscription {
            slot,
            options: SubscribeOptions::of(QoS::AtMostOnce),
            identifier: None,
            guarded: false,
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
    fn a_second_subscribe_to_a_filter_replaces() {
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
        fn agrees_with_each_filter_asked_alone(
            filters in proptest::collection::vec("(\\$s|a|b|\\+|)(/(a|b|\\+|)){0,3}(/#)?|#", 1..12),
            gone in proptest::collection::vec(any::<bool>(), 12),
            topic in "(\\$s|a|b|)(/(a|b|)){0,3}",
        ) {
            prop_assume!(!topic.is_empty());
            let mut index = Index::default();
            let mut expected = Vec::new();
            for (slot, filter) in (0..).zip(&filters) {
                let Ok(parsed) = TopicFilter::new(filter.as_str().into()) else { continue };
                index.insert(filter, subscription(slot));
                if gone[slot as usize] {
                    prop_assert!(index.remove(filter, slot));
                } else if parsed.matches(&topic) {
                    expected.push(slot);
                }
            }
            prop_assert_eq!(reached(&index, &topic), expected);
        }
    }
}
