//! Packet ids of outgoing messages. They are given round robin, so that a late acknowledgement does not find a newer message
//! that has taken over the id.

use crate::packet::PacketId;

/// How many ids there are: 1 to 65,535.
const ALL: u16 = u16::MAX;

/// The last id given. It goes on over all connections of a session.
#[derive(Debug, Default)]
pub(super) struct PacketIds {
    /// 0 before the first.
    last: u16,
    /// So many ids after `last` are known to be free, since ids come into use only by being given here. The ids in use are looked
    /// at once for all of them, which is almost never if messages are acknowledged in turn.
    free: u16,
}

impl PacketIds {
    /// The next id that is not in use [3.1.1 MQTT-2.3.1-4, 5.0 MQTT-2.2.1-4, MQTT-4.3.2-1]. There always is one: the window is
    /// smaller than the number of ids.
    pub(super) fn next(&mut self, in_use: &(impl Iterator<Item = PacketId> + Clone)) -> PacketId {
        if self.free == 0 {
            self.look(in_use);
        }
        self.free = self.free.saturating_sub(1);
        self.last = after(self.last);
        PacketId::new(self.last).unwrap_or(PacketId::MIN)
    }

    /// Skips the ids in use right after `last`, and counts the free ones that follow.
    fn look(&mut self, in_use: &(impl Iterator<Item = PacketId> + Clone)) {
        let ahead = |last: u16| {
            let distances = in_use.clone().map(|id| distance(last, id.get()));
            distances.min().map_or(ALL, |nearest| nearest - 1)
        };
        self.free = ahead(self.last);
        if self.free > 0 {
            return;
        }
        // A client may leave thousands unacknowledged in a row: each is looked up, not searched for.
        let mut used = [0_u64; 1024];
        for id in in_use.clone() {
            used[usize::from(id.get() / 64)] |= 1 << (id.get() % 64);
        }
        for _ in 1..ALL {
            let next = after(self.last);
            if used[usize::from(next / 64)] & (1 << (next % 64)) == 0 {
                break;
            }
            self.last = next;
        }
        self.free = ahead(self.last);
    }

    /// As if `last` had been the last id given: a whole round of ids is more than a test sends.
    pub(super) fn skip_to(&mut self, last: u16) {
        *self = PacketIds { last, free: 0 };
    }
}

/// 0 is no packet id [3.1.1 MQTT-2.3.1-1, 5.0 MQTT-2.2.1-3].
fn after(id: u16) -> u16 {
    if id == ALL { 1 } else { id + 1 }
}

/// Steps from `last` to `id`, at least one.
fn distance(last: u16, id: u16) -> u16 {
    if id > last {
        id - last
    } else {
        ALL - (last - id)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    #[test]
    fn one_after_the_other_and_then_from_the_start() {
        let mut ids = PacketIds::default();
        for round in 0..3 {
            for expected in 1..=ALL {
                let next = ids.next(&std::iter::empty());
                assert_eq!(next.get(), expected, "round {round}");
            }
        }
    }

    #[test]
    fn the_last_free_one_is_found() {
        let mut ids = PacketIds::default();
        for free in [1, 2, 30_000, ALL, 7] {
            let used = (1..=ALL).filter(|id| *id != free).filter_map(PacketId::new);
            assert_eq!(ids.next(&used).get(), free);
        }
    }

    proptest! {
        /// The next that is free, as whoever tries one after the other would find it.
        #[test]
        fn the_next_free_one_in_the_round(
            start in prop_oneof![0..40_u16, 65_500..=ALL],
            steps in prop::collection::vec((any::<bool>(), any::<prop::sample::Index>()), 0..200),
        ) {
            let mut ids = PacketIds::default();
            ids.skip_to(start);
            let (mut used, mut last) = (BTreeSet::<u16>::new(), start);
            for (give, which) in steps {
                // Ids close ahead of the round get into use, too: a session that has gone round once.
                if !give && !used.is_empty() {
                    let gone = *which.get(&used.iter().copied().collect::<Vec<_>>());
                    used.remove(&gone);
                    continue;
                }
                if which.index(9) == 0 {
                    last = last.wrapping_sub(20);
                    ids.skip_to(last);
                }
                let mut expected = after(last);
                while used.contains(&expected) {
                    expected = after(expected);
                }
                let in_use = used.iter().filter_map(|id| PacketId::new(*id));
                let next = ids.next(&in_use).get();
                prop_assert_eq!(next, expected);
                used.insert(next);
                last = next;
            }
        }
    }
}
