//! The turns of the members of shared groups on this node.

use roommq_lane::{Group, Slot, Subscription, Subscriptions, spread};
use std::collections::HashMap;

/// The member of each shared group of a lane whose turn it is, modulo their number.
#[derive(Debug, Default)]
pub(super) struct Turns {
    /// By the number of the group. Groups that have received nothing are missing.
    next: HashMap<Slot, usize>,
}

impl Turns {
    /// All members of a group of this lane, from the one whose turn it is.
    pub(super) fn in_turn<'g>(
        &mut self,
        lane: u16,
        all: &Subscriptions,
        group: &'g Group,
    ) -> impl Iterator<Item = &'g Subscription> + Clone + use<'g> {
        if !self.next.contains_key(&group.slot) {
            // Groups that are gone are looked for now and then, not each time.
            if self.next.len() >= 2 * all.groups() {
                self.next.retain(|group, _| all.group_at(*group).is_some());
            }
            self.next.insert(group.slot, first_turn(lane, &group.key));
        }
        let next = self.next.get(&group.slot).copied().unwrap_or_default();
        let members = group.members();
        let (before, from) = members.split_at(next % members.len().max(1));
        from.iter().chain(before)
    }

    /// Sets the turn behind the member at this position of [`in_turn`](Self::in_turn), which has
    /// taken a message. The members before it could not: they lose their turn, so that the one
    /// after them does not receive twice as much as the others.
    pub(super) fn advance_past(&mut self, group: &Group, position: usize) {
        if let Some(next) = self.next.get_mut(&group.slot) {
            *next = next.wrapping_add(position + 1);
        }
    }
}

/// The number at which the turns of a group start. It differs from lane to lane and from filter to
/// filter: else a few messages on many topics would all go to the first member.
fn first_turn(lane: u16, filter: &str) -> usize {
    usize::from(lane) + usize::from(spread(filter.bytes(), u16::MAX))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const GROUP: &str = "$share/g/a";

    fn group_of_three(filter: &str) -> Subscriptions {
        let mut all = Subscriptions::default();
        for slot in 0..3 {
            all.insert(filter, Subscription::placeholder(slot));
        }
        all
    }

    #[test]
    fn members_take_turns() {
        let (all, mut turns) = (group_of_three(GROUP), Turns::default());
        let group = all.group(GROUP).unwrap();
        let mut next = || {
            let first = turns.in_turn(0, &all, group).next().unwrap().slot;
            turns.advance_past(group, 0);
            first
        };
        let firsts: Vec<_> = (0..6).map(|_| next()).collect();
        // Whichever member is first.
        assert_eq!(firsts[..3], firsts[3..]);
        assert_eq!(firsts.iter().sum::<Slot>(), 6, "{firsts:?}");
    }

    /// A group receives one message in each of 16 lanes, or one by each of 300 filters of one lane.
    #[test]
    fn turns_start_at_different_members() {
        let first = |lane: u16, filter: &str| {
            let all = group_of_three(filter);
            let group = all.group(filter).unwrap();
            let mut members = Turns::default().in_turn(lane, &all, group);
            members.next().unwrap().slot
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
    fn a_member_that_is_skipped_does_not_double_the_share_of_the_next() {
        let (all, mut turns) = (group_of_three(GROUP), Turns::default());
        let group = all.group(GROUP).unwrap();
        let mut taken = [0; 3];
        for _ in 0..30 {
            let mut members = turns.in_turn(0, &all, group).enumerate();
            let (position, member) = members.find(|(_, m)| m.slot != 0).unwrap();
            taken[member.slot as usize] += 1;
            turns.advance_past(group, position);
        }
        assert_eq!(taken, [0, 15, 15]);
    }

    #[test]
    fn groups_that_are_gone_are_forgotten() {
        let (mut all, mut turns) = (Subscriptions::default(), Turns::default());
        for n in 0..100 {
            let filter = format!("$share/g/{n}");
            all.insert(&filter, Subscription::placeholder(1));
            let group = all.group(&filter).unwrap();
            assert_eq!(turns.in_turn(0, &all, group).count(), 1);
            assert!(all.remove(&filter, 1));
        }
        assert!(turns.next.len() <= 2, "{turns:?}");
    }
}
