//! What lanes hold, in numbers.

use super::subscriptions::SubscriptionCounts;

/// What all lanes hold.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct LaneTotals {
    /// Retained messages, and the bytes of their payloads.
    pub retained: u64,
    pub retained_bytes: u64,
    /// Subscriptions but the shared ones.
    pub subscriptions: u64,
    /// Each member of a group counts.
    pub shared: u64,
}

/// What one lane holds.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct LaneCounts {
    pub retained: u64,
    pub retained_bytes: u64,
    pub subscriptions: SubscriptionCounts,
}

impl LaneCounts {
    pub(crate) fn new(
        (retained, bytes): (usize, usize),
        subscriptions: SubscriptionCounts,
    ) -> Self {
        LaneCounts {
            retained: retained as u64,
            retained_bytes: bytes as u64,
            subscriptions,
        }
    }
}

impl LaneTotals {
    /// The stocks of all lanes, together.
    pub(crate) fn sum(lanes: impl Iterator<Item = LaneCounts>) -> Self {
        let mut sum = LaneTotals::default();
        let mut spanning = (0, 0);
        for lane in lanes {
            let count = lane.subscriptions;
            sum.retained += lane.retained;
            sum.retained_bytes += lane.retained_bytes;
            sum.subscriptions += count.own;
            sum.shared += count.shared;
            // Every lane has these, one a little before the other.
            spanning.0 = count.spanning_own.max(spanning.0);
            spanning.1 = count.spanning_shared.max(spanning.1);
        }
        sum.subscriptions += spanning.0;
        sum.shared += spanning.1;
        sum
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_spans_lanes_counts_once() {
        let lane = |own, spanning_own| {
            let count = SubscriptionCounts {
                own,
                shared: 1,
                spanning_own,
                spanning_shared: 2,
            };
            LaneCounts::new((3, 30), count)
        };
        let sum = LaneTotals::sum([lane(1, 4), lane(0, 5), lane(2, 5)].into_iter());
        let expected = LaneTotals {
            retained: 9,
            retained_bytes: 90,
            subscriptions: 3 + 5,
            shared: 3 + 2,
        };
        assert_eq!(sum, expected);
    }
}
