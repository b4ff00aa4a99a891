//! Lanes: ordered logs of entries, and the state that applying them in order makes.
//!
//! A topic's lane is a hash of its first two levels, so all that can concern one place has one order.
//! Architecture invariant: [`Lane::apply`] is synchronous, knows no clock, socket or task, and does not
//! care who calls it.

mod courier;
mod embedded;
mod entrance;
mod entry;
mod fanout;
mod handover;
mod index;
mod keeper;
mod log;
mod replay;
mod resume;
mod retained;
mod sharing;
mod state;
mod stock;
mod subscribers;
mod subscriptions;
mod timers;
mod tree;
mod walk;

pub use embedded::QUIET_TARGETS;

pub(crate) use courier::Courier;
pub(crate) use embedded::Embedded;
pub(crate) use entrance::{Entrance, Places};
pub(crate) use entry::{
    Batch, Entry, FilterEntry, GoneEntry, Origin, PropertiesEntry, PublishEntry, SubscribeEntry,
    UnsubscribeEntry,
};
pub(crate) use index::{Index, Subscription};
pub(crate) use keeper::{Barriers, Keeper, Surroundings};
pub(crate) use log::{LaneLog, LogError};
pub(crate) use retained::Portion;
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) use retained::{Kept, Retained};
pub(crate) use state::Lane;
pub(crate) use stock::Stock;
pub(crate) use timers::Timers;

use crate::packet::TopicFilter;

/// The lane of a topic, the same on every node: a hash of its first two levels.
pub(crate) fn lane_of(topic: &str, lanes: u16) -> u16 {
    let end = topic
        .match_indices('/')
        .nth(1)
        .map_or(topic.len(), |(at, _)| at);
    hash(topic.as_bytes().iter().take(end), lanes)
}

/// The lane that a filter lives in; none: in all of them.
pub(crate) fn lane_of_filter(filter: &TopicFilter, lanes: u16) -> Option<u16> {
    let (first, second) = filter.literal_head()?;
    Some(match second {
        Some(second) => {
            let bytes = first.as_bytes().iter().chain(b"/").chain(second.as_bytes());
            hash(bytes, lanes)
        }
        None => hash(first.as_bytes().iter(), lanes),
    })
}

fn hash<'a>(bytes: impl Iterator<Item = &'a u8>, lanes: u16) -> u16 {
    let mut hash = bytes.fold(0xcbf2_9ce4_8422_2325_u64, |h, b| {
        (h ^ u64::from(*b)).wrapping_mul(0x0100_0000_01b3)
    });
    // FNV-1a mixes the last bytes badly, and rooms differ in those: MurmurHash3's finalizer.
    for factor in [0xff51_afd7_ed55_8ccd, 0xc4ce_b9fe_1a85_ec53] {
        hash = (hash ^ (hash >> 33)).wrapping_mul(factor);
    }
    u16::try_from((hash >> 32) % u64::from(lanes.max(1))).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn lanes_are_used_evenly() {
        let mut counts = [0u32; 16];
        for room in 0..16_000 {
            counts[usize::from(lane_of(&format!("rooms/{room}/chat"), 16))] += 1;
        }
        assert!(
            counts.iter().all(|c| (800..1_200).contains(c)),
            "{counts:?}"
        );
    }

    proptest! {
        #[test]
        fn a_filter_lives_where_its_topics_are(
            filter in "(a|b|\\+)(/(a|b|c|\\+)){0,3}(/#)?",
            topic in "(a|b)(/(a|b|c)){0,4}",
        ) {
            let parsed = TopicFilter::new(filter.as_str().into()).unwrap();
            if let (true, Some(lane)) = (parsed.matches(&topic), lane_of_filter(&parsed, 1_000)) {
                prop_assert_eq!(lane, lane_of(&topic, 1_000));
            }
        }
    }
}
