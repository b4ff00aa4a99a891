//! How much lanes hold, as `$SYS` reports it.

/// How much all lanes of a node hold together.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct LaneTotals {
    /// Retained messages.
    pub retained: u64,
    /// Bytes of their payloads.
    pub retained_bytes: u64,
    /// Subscriptions that are not shared.
    pub subscriptions: u64,
    /// Shared subscriptions: each member of each group counts.
    pub shared: u64,
    /// Bytes that offline sessions use, as `limits.kept_bytes` counts them.
    pub kept: u64,
}

/// How much one lane holds: retained messages, the bytes of their payloads, subscriptions as
/// [`Subscriptions::count`](super::subscriptions::Subscriptions::count) lists them, and the bytes of
/// offline sessions.
pub type LaneCounts = [u64; LANE_COUNTS];

/// How many numbers these are.
pub const LANE_COUNTS: usize = 7;

impl LaneTotals {
    /// The counts of all lanes together. A subscription that spans lanes counts once.
    pub fn sum(lanes: impl Iterator<Item = LaneCounts>) -> Self {
        let mut sum = LaneTotals::default();
        let mut spanning = (0, 0);
        for [
            retained,
            bytes,
            own,
            shared,
            spanning_own,
            spanning_shared,
            kept,
        ] in lanes
        {
            sum.kept += kept;
            sum.retained += retained;
            sum.retained_bytes += bytes;
            sum.subscriptions += own;
            sum.shared += shared;
            // Every lane has the spanning ones; a lane that has not yet applied the last entry has
            // a few less.
            spanning = (
                spanning_own.max(spanning.0),
                spanning_shared.max(spanning.1),
            );
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
    fn a_subscription_that_spans_lanes_counts_once() {
        let lane = |own, spanning_own| [3, 30, own, 1, spanning_own, 2, 10];
        let sum = LaneTotals::sum([lane(1, 4), lane(0, 5), lane(2, 5)].into_iter());
        let expected = LaneTotals {
            retained: 9,
            retained_bytes: 90,
            subscriptions: 3 + 5,
            shared: 3 + 2,
            kept: 30,
        };
        assert_eq!(sum, expected);
    }
}
