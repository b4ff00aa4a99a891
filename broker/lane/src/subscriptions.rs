//! All subscriptions of a lane: those of single sessions, and those that a group shares (4.8.2).
//!
//! In the index, a shared group is one subscription, whose slot is a number above those of all
//! sessions:
//!
//! ```text
//!   SUBSCRIBE chat/#            by slot 1     index: chat/#  ->  slot 1, slot FIRST_GROUP_SLOT + 1
//!   SUBSCRIBE $share/g/chat/#   by slot 2                                     |
//!   SUBSCRIBE $share/g/chat/#   by slot 3     groups: "$share/g/chat/#"  <----+
//!                                                     members: slots 2, 3
//! ```

use super::guarded::Guarded;
use super::index::Index;
use super::lane_of::spans_lanes;
use super::subscription::{Slot, Subscription};
use roommq_mqtt::packet::TopicFilter;
use std::collections::HashMap;
use std::sync::Arc;

mod snapshot;

/// Slots from here on are shared groups.
const FIRST_GROUP_SLOT: Slot = 1 << 31;

/// The index and the groups of one lane.
#[derive(Debug, Default)]
pub struct Subscriptions {
    index: Index,
    guarded: Guarded,
    /// By the whole filter.
    group_slots: HashMap<Arc<str>, Slot>,
    groups: HashMap<Slot, Group>,
    /// The slot that was given to a group last.
    last_group_slot: Slot,
    /// As [`count`](Self::count) lists them.
    count: [u64; 4],
}

/// A shared group: the members of one `$share/<group>/<filter>`. Both parts distinguish it from
/// other groups [MQTT-4.8.2-4].
#[derive(Debug)]
pub struct Group {
    /// The number of the group, among the slots. A later group has another.
    pub slot: Slot,
    /// The whole filter, `$share/` included.
    pub key: Arc<str>,
    /// In the order in which they joined; never empty.
    members: Vec<Subscription>,
}

impl Subscriptions {
    /// Adds a subscription, or replaces the one of the same slot and filter. True if there was
    /// none.
    pub fn insert(&mut self, filter: &str, subscription: Subscription) -> bool {
        let new = self.put(filter, subscription);
        self.count[kind(filter)] += u64::from(new);
        new
    }

    /// [`insert`](Self::insert) without counting.
    fn put(&mut self, filter: &str, subscription: Subscription) -> bool {
        let Some(inner) = shared_inner(filter) else {
            return self.put_own(filter, subscription);
        };
        let known = self.group_slots.get(filter);
        if let Some(group) = known.and_then(|slot| self.groups.get_mut(slot)) {
            let mut members = group.members.iter_mut();
            if let Some(own) = members.find(|m| m.slot == subscription.slot) {
                *own = subscription;
                return false;
            }
            group.members.push(subscription);
            return true;
        }
        let key: Arc<str> = filter.into();
        let slot = self.free_group();
        self.group_slots.insert(key.clone(), slot);
        let group = Group {
            slot,
            key,
            members: vec![subscription],
        };
        self.groups.insert(slot, group);
        // Each member has options of its own.
        self.index.insert(&inner, Subscription::placeholder(slot))
    }

    /// The same for a subscription of a single session. Other rules may guard what others before did not.
    fn put_own(&mut self, filter: &str, subscription: Subscription) -> bool {
        let slot = subscription.slot;
        if subscription.guarded {
            let had = self.index.remove(filter, slot);
            self.guarded.insert(filter, subscription) && !had
        } else {
            let had = self.guarded.remove(filter, slot);
            self.index.insert(filter, subscription) && !had
        }
    }

    /// A slot that no group has.
    fn free_group(&mut self) -> Slot {
        loop {
            self.last_group_slot = FIRST_GROUP_SLOT | self.last_group_slot.wrapping_add(1);
            if !self.groups.contains_key(&self.last_group_slot) {
                return self.last_group_slot;
            }
        }
    }

    /// Removes the slot's subscription to exactly this filter. True if there was one.
    pub fn remove(&mut self, filter: &str, slot: Slot) -> bool {
        let had = match shared_inner(filter) {
            None => self.guarded.remove(filter, slot) || self.index.remove(filter, slot),
            Some(inner) => self.leave(filter, &inner, slot).is_some(),
        };
        self.count[kind(filter)] -= u64::from(had);
        had
    }

    /// How many there are to filters of one lane, not shared and shared; then how many to filters
    /// that span lanes, as `+/berlin`, which every lane has to know.
    #[must_use]
    pub fn count(&self) -> [u64; 4] {
        self.count
    }

    /// Removes a member from the group of a shared filter, which applies `inner` to topics.
    fn leave(&mut self, filter: &str, inner: &str, slot: Slot) -> Option<Subscription> {
        let number = *self.group_slots.get(filter)?;
        let group = self.groups.get_mut(&number)?;
        let at = group.members.iter().position(|m| m.slot == slot)?;
        let member = group.members.remove(at);
        if group.members.is_empty() {
            self.groups.remove(&number);
            self.group_slots.remove(filter);
            self.index.remove(inner, number);
        }
        Some(member)
    }

    /// The slot's subscription to exactly this filter.
    #[must_use]
    pub fn find(&self, filter: &str, slot: Slot) -> Option<&Subscription> {
        if !is_shared(filter) {
            let guarded = self.guarded.find(filter, slot);
            return guarded.or_else(|| self.index.find(filter, slot));
        }
        let group = self.group(filter)?;
        group.members.iter().find(|m| m.slot == slot)
    }

    /// Whether one slot may have several subscriptions that match a topic.
    #[must_use]
    pub fn may_overlap(&self) -> bool {
        self.index.may_overlap() || self.guarded.sessions() > 0
    }

    /// Those of single sessions that are guarded. [`matches`](Self::matches) does not find them.
    pub(super) fn guarded(&self) -> &Guarded {
        &self.guarded
    }

    /// Calls `found` with every single session's subscription that matches `topic` and is not guarded, and `group`
    /// with every shared group that does. Returns how many places of the index it visited.
    pub fn matches<'a>(
        &'a self,
        topic: &str,
        mut found: impl FnMut(&'a Subscription),
        mut group: impl FnMut(&'a Group),
    ) -> usize {
        self.index.matches(topic, |s| {
            if s.slot < FIRST_GROUP_SLOT {
                found(s);
            } else if let Some(shared) = self.groups.get(&s.slot) {
                group(shared);
            }
        })
    }

    /// The group of a shared filter, `$share/` included.
    #[must_use]
    pub fn group(&self, key: &str) -> Option<&Group> {
        self.group_at(*self.group_slots.get(key)?)
    }

    /// The group with this number.
    #[must_use]
    pub fn group_at(&self, slot: Slot) -> Option<&Group> {
        self.groups.get(&slot)
    }

    /// How many groups there are.
    #[must_use]
    pub fn groups(&self) -> usize {
        self.groups.len()
    }
}

impl Group {
    /// All members, in the order in which they joined.
    #[must_use]
    pub fn members(&self) -> &[Subscription] {
        &self.members
    }
}

/// Whether a filter is shared (4.8.2).
pub fn is_shared(filter: &str) -> bool {
    filter.starts_with("$share/")
}

/// The place of a filter's subscriptions in [`Subscriptions::count`].
fn kind(filter: &str) -> usize {
    let spans = TopicFilter::new(filter.into()).is_ok_and(|parsed| spans_lanes(&parsed));
    usize::from(is_shared(filter)) + 2 * usize::from(spans)
}

/// The filter that a shared one applies to topics; none for a filter that is not shared.
fn shared_inner(filter: &str) -> Option<String> {
    if !is_shared(filter) {
        return None;
    }
    let parsed = TopicFilter::new(filter.into()).ok()?;
    Some(parsed.inner().to_owned())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    /// The slots that a topic reaches, and those of the members of each group that it reaches.
    fn reached(all: &Subscriptions, topic: &str) -> (Vec<Slot>, Vec<Vec<Slot>>) {
        let (mut own, mut groups) = (Vec::new(), Vec::new());
        let members = |g: &Group| g.members().iter().map(|m| m.slot).collect();
        all.matches(topic, |s| own.push(s.slot), |g| groups.push(members(g)));
        (own, groups)
    }

    #[test]
    fn groups_are_independent() {
        let mut all = Subscriptions::default();
        for slot in [1, 2, 3] {
            assert!(all.insert("$share/g/a/#", Subscription::placeholder(slot)));
        }
        assert!(
            !all.insert("$share/g/a/#", Subscription::placeholder(2)),
            "again"
        );
        assert!(all.insert("a/#", Subscription::placeholder(1)));
        assert!(all.insert("$share/h/a/#", Subscription::placeholder(1)));
        assert!(all.insert("$share/g/b", Subscription::placeholder(1)));
        let (own, mut groups) = reached(&all, "a/b");
        groups.sort();
        assert_eq!((own, groups), (vec![1], vec![vec![1], vec![1, 2, 3]]));
        assert!(all.remove("$share/g/a/#", 2) && !all.remove("$share/g/a/#", 2));
        assert!(all.find("$share/g/a/#", 2).is_none());
        assert!(all.find("$share/g/a/#", 3).is_some());
        for (filter, slot) in [
            ("$share/g/a/#", 1),
            ("$share/g/a/#", 3),
            ("$share/h/a/#", 1),
        ] {
            assert!(all.remove(filter, slot));
        }
        assert_eq!(reached(&all, "a/b"), (vec![1], vec![]));
        assert!(all.remove("$share/g/b", 1));
        assert!(all.groups.is_empty() && all.group_slots.is_empty());
    }

    #[test]
    fn each_kind_of_subscription_is_counted() {
        let mut all = Subscriptions::default();
        let filters = ["a", "a/b/#", "a/#", "#", "$share/g/a/b", "$share/g/+"];
        for (slot, filter) in [(1, filters), (2, filters), (1, filters)]
            .into_iter()
            .flat_map(|(slot, filters)| filters.map(|filter| (slot, filter)))
        {
            all.insert(filter, Subscription::placeholder(slot));
        }
        let expected = [4, 2, 4, 2];
        assert_eq!(all.count(), expected, "own and shared, then spanning");
        for filter in filters {
            assert!(all.remove(filter, 1) && all.remove(filter, 2) && !all.remove(filter, 2));
        }
        assert_eq!(all.count(), [0; 4]);
    }
}
