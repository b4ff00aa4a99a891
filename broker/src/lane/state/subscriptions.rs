//! All subscriptions of a lane: each session's own, and those that a group shares.
//!
//! A shared group stands in the index as one subscription, whose slot is a number above all sessions'.

use super::index::Index;
use super::lane_of::spread;
use super::subscription::{Slot, Subscription};
use crate::packet::{QoS, SubscribeOptions, TopicFilter};
use std::cell::Cell;
use std::collections::HashMap;
use std::sync::Arc;

/// Slots from here on are groups.
const FIRST_GROUP_SLOT: Slot = 1 << 31;

/// The index and the groups.
#[derive(Debug, Default)]
pub(crate) struct Subscriptions {
    lane: u16,
    index: Index,
    group_slots: HashMap<Arc<str>, Slot>,
    groups: HashMap<Slot, Group>,
    last_group_slot: Slot,
    count: SubscriptionCounts,
}

/// Subscriptions in numbers.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SubscriptionCounts {
    /// Each session's own, to filters that live in one lane.
    pub own: u64,
    /// Those to shared filters that do.
    pub shared: u64,
    /// The same of filters that live in every lane.
    pub spanning_own: u64,
    pub spanning_shared: u64,
}

impl SubscriptionCounts {
    fn of(&mut self, filter: &str) -> &mut u64 {
        match (is_shared(filter), spans_lanes(filter)) {
            (false, false) => &mut self.own,
            (true, false) => &mut self.shared,
            (false, true) => &mut self.spanning_own,
            (true, true) => &mut self.spanning_shared,
        }
    }
}

/// The members of one `$share/<group>/<filter>`: groups are told apart by both [MQTT-4.8.2-4].
#[derive(Debug)]
pub(crate) struct Group {
    /// The whole filter.
    pub key: Arc<str>,
    /// Never empty.
    members: Vec<Subscription>,
    /// Whose turn it is, modulo their number. It begins elsewhere in each lane, and for each filter: the first members
    /// would get most of few messages on many topics.
    next: Cell<usize>,
}

impl Subscriptions {
    /// Those of a lane.
    pub(crate) fn of(lane: u16) -> Self {
        Subscriptions {
            lane,
            ..Subscriptions::default()
        }
    }

    /// Adds a subscription, or replaces the slot's own to the same filter. True where it is new.
    pub(crate) fn insert(&mut self, filter: &str, subscription: Subscription) -> bool {
        let new = self.put(filter, subscription);
        *self.count.of(filter) += u64::from(new);
        new
    }

    fn put(&mut self, filter: &str, subscription: Subscription) -> bool {
        let Some(inner) = shared_inner(filter) else {
            return self.index.insert(filter, subscription);
        };
        if let Some(group) = self
            .group_slots
            .get(filter)
            .and_then(|g| self.groups.get_mut(g))
        {
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
            key,
            members: vec![subscription],
            next: Cell::new(usize::from(self.lane) + usize::from(first_turn(filter))),
        };
        self.groups.insert(slot, group);
        self.index.insert(&inner, placeholder(slot))
    }

    fn free_group(&mut self) -> Slot {
        loop {
            self.last_group_slot = FIRST_GROUP_SLOT | self.last_group_slot.wrapping_add(1);
            if !self.groups.contains_key(&self.last_group_slot) {
                return self.last_group_slot;
            }
        }
    }

    /// Takes the slot's subscription to this filter away; true where there was one.
    pub(crate) fn remove(&mut self, filter: &str, slot: Slot) -> bool {
        let had = self.take(filter, slot);
        *self.count.of(filter) -= u64::from(had);
        had
    }

    /// How many there are.
    pub(crate) fn count(&self) -> SubscriptionCounts {
        self.count
    }

    fn take(&mut self, filter: &str, slot: Slot) -> bool {
        let Some(inner) = shared_inner(filter) else {
            return self.index.remove(filter, slot);
        };
        let Some(number) = self.group_slots.get(filter).copied() else {
            return false;
        };
        let Some(group) = self.groups.get_mut(&number) else {
            return false;
        };
        let Some(at) = group.members.iter().position(|m| m.slot == slot) else {
            return false;
        };
        group.members.remove(at);
        if group.members.is_empty() {
            self.groups.remove(&number);
            self.group_slots.remove(filter);
            self.index.remove(&inner, number);
        }
        true
    }

    /// The slot's subscription to this filter.
    pub(crate) fn find(&self, filter: &str, slot: Slot) -> Option<&Subscription> {
        if !is_shared(filter) {
            return self.index.find(filter, slot);
        }
        let group = self.group(filter)?;
        group.members.iter().find(|m| m.slot == slot)
    }

    /// Whether a slot can be found more than once for one topic.
    pub(crate) fn may_overlap(&self) -> bool {
        self.index.may_overlap()
    }

    /// Calls `found` with every subscription of a session that `topic` reaches, and `group` with every group.
    pub(crate) fn matches<'a>(
        &'a self,
        topic: &str,
        mut found: impl FnMut(&'a Subscription),
        mut group: impl FnMut(&'a Group),
    ) {
        self.index.matches(topic, |s| {
            if s.slot < FIRST_GROUP_SLOT {
                found(s);
            } else if let Some(shared) = self.groups.get(&s.slot) {
                group(shared);
            }
        });
    }

    /// The group of a shared filter.
    pub(crate) fn group(&self, key: &str) -> Option<&Group> {
        self.groups.get(self.group_slots.get(key)?)
    }
}

impl Group {
    /// All members, first whose turn it is.
    pub(crate) fn in_turn(&self) -> impl Iterator<Item = &Subscription> + Clone {
        let first = self.next.get() % self.members.len().max(1);
        let (before, from) = self.members.split_at(first);
        from.iter().chain(before)
    }

    /// The member at this place of [`in_turn`](Self::in_turn) has had its turn; those before it could not take theirs,
    /// and no other gets twice as much for that.
    pub(crate) fn advance_past(&self, place: usize) {
        self.next.set(self.next.get().wrapping_add(place + 1));
    }

    pub(crate) fn members(&self) -> &[Subscription] {
        &self.members
    }
}

/// Whether a filter is a shared one (4.8.2).
pub(crate) fn is_shared(filter: &str) -> bool {
    filter.starts_with("$share/")
}

/// Where the turns of a filter begin, the same on every node.
fn first_turn(filter: &str) -> u16 {
    spread(filter.bytes(), u16::MAX)
}

/// Whether a filter lives in every lane.
fn spans_lanes(filter: &str) -> bool {
    let parsed = TopicFilter::new(filter.into());
    parsed.is_ok_and(|parsed| parsed.literal_head().is_none())
}

fn shared_inner(filter: &str) -> Option<String> {
    if !is_shared(filter) {
        return None;
    }
    let parsed = TopicFilter::new(filter.into()).ok()?;
    Some(parsed.inner().to_owned())
}

/// What stands in the index for a group.
fn placeholder(slot: Slot) -> Subscription {
    Subscription {
        slot,
        options: SubscribeOptions::of(QoS::AtMostOnce),
        identifier: None,
        guarded: false,
        mount: None,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn reached(all: &Subscriptions, topic: &str) -> (Vec<Slot>, Vec<Vec<Slot>>) {
        let (mut own, mut groups) = (Vec::new(), Vec::new());
        all.matches(
            topic,
            |s| own.push(s.slot),
            |g| {
                groups.push(g.in_turn().map(|m| m.slot).collect());
                g.advance_past(0);
            },
        );
        (own, groups)
    }

    #[test]
    fn members_take_turns_and_groups_are_apart() {
        let mut all = Subscriptions::default();
        for slot in [1, 2, 3] {
            assert!(all.insert("$share/g/a/#", placeholder(slot)));
        }
        assert!(!all.insert("$share/g/a/#", placeholder(2)), "again");
        assert!(all.insert("a/#", placeholder(1)));
        assert!(all.insert("$share/h/a/#", placeholder(1)));
        assert!(all.insert("$share/g/b", placeholder(1)));
        let firsts: Vec<_> = (0..6)
            .map(|_| {
                let (own, mut groups) = reached(&all, "a/b");
                assert_eq!((own, groups.len()), (vec![1], 2));
                groups.retain(|g| g.len() == 3);
                groups[0][0]
            })
            .collect();
        // Wherever they begin.
        assert_eq!(firsts[..3], firsts[3..]);
        assert_eq!(firsts.iter().sum::<Slot>(), 12, "{firsts:?}");
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

    /// Whom `$share/g/b/#` gives one message in each of 16 lanes, or in one lane one of each of 16 filters.
    #[test]
    fn turns_begin_at_different_members() {
        let first = |lane: u16, filter: &str| {
            let mut all = Subscriptions::of(lane);
            for slot in 0..3 {
                all.insert(filter, placeholder(slot));
            }
            let group = all.group(filter).unwrap();
            group.in_turn().next().unwrap().slot
        };
        let counts =
            |firsts: Vec<Slot>| [0, 1, 2].map(|s| firsts.iter().filter(|f| **f == s).count());
        let mut lanes = counts((0..16).map(|lane| first(lane, "$share/g/b/#")).collect());
        lanes.sort_unstable();
        assert_eq!(lanes, [5, 5, 6]);
        let filters = counts(
            (0..300)
                .map(|n| first(0, &format!("$share/g/b/{n}")))
                .collect(),
        );
        assert!(filters.iter().all(|n| (70..130).contains(n)), "{filters:?}");
    }

    #[test]
    fn who_could_not_take_a_turn_leaves_no_double_one() {
        let mut all = Subscriptions::default();
        for slot in 0..3 {
            all.insert("$share/g/a", placeholder(slot));
        }
        let group = all.group("$share/g/a").unwrap();
        let mut taken = [0; 3];
        for _ in 0..30 {
            let able = group.in_turn().enumerate().find(|(_, m)| m.slot != 0);
            let (place, member) = able.unwrap();
            taken[member.slot as usize] += 1;
            group.advance_past(place);
        }
        assert_eq!(taken, [0, 15, 15]);
    }

    #[test]
    fn each_kind_is_counted_apart() {
        let mut all = Subscriptions::default();
        let filters = ["a", "a/b/#", "a/#", "#", "$share/g/a/b", "$share/g/+"];
        for (slot, filter) in [(1, filters), (2, filters), (1, filters)]
            .into_iter()
            .flat_map(|(slot, filters)| filters.map(|filter| (slot, filter)))
        {
            all.insert(filter, placeholder(slot));
        }
        let expected = SubscriptionCounts {
            own: 4,
            shared: 2,
            spanning_own: 4,
            spanning_shared: 2,
        };
        assert_eq!(all.count(), expected);
        for filter in filters {
            assert!(all.remove(filter, 1) && all.remove(filter, 2) && !all.remove(filter, 2));
        }
        assert_eq!(all.count(), SubscriptionCounts::default());
    }
}
