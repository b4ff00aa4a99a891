//! The lane of a topic or a filter. Every node computes the same.

use crate::hash::fnv1a;
use crate::packet::TopicFilter;

/// The lane of a topic among `lanes` lanes: a hash of its first two levels.
///
/// `chat/berlin`, `chat/berlin/main` and `chat/berlin/a/b` have the same lane. `chat/paris` may
/// have another.
pub(crate) fn lane_of(topic: &str, lanes: u16) -> u16 {
    let end = topic
        .match_indices('/')
        .nth(1)
        .map_or(topic.len(), |(at, _)| at);
    spread(topic.bytes().take(end), lanes)
}

/// The lane in which a filter's subscriptions are kept; none: in every lane.
///
/// | filter | lane |
/// |---|---|
/// | `chat/berlin/#`, `$share/g/chat/berlin/+` | that of `chat/berlin` |
/// | `chat` | that of `chat` |
/// | `chat/#`, `+/berlin`, `#` | all: topics of any lane may match |
pub(crate) fn lane_of_filter(filter: &TopicFilter, lanes: u16) -> Option<u16> {
    let (first, second) = filter.literal_head()?;
    Some(match second {
        Some(second) => spread(first.bytes().chain(*b"/").chain(second.bytes()), lanes),
        None => spread(first.bytes(), lanes),
    })
}

/// A number below `count`, evenly spread, that depends on `bytes` alone.
pub(super) fn spread(bytes: impl Iterator<Item = u8>, count: u16) -> u16 {
    let mut hash = fnv1a(bytes);
    // Topics often differ in their last bytes only, and FNV-1a mixes those badly. MurmurHash3's
    // finalizer spreads them.
    for factor in [0xff51_afd7_ed55_8ccd, 0xc4ce_b9fe_1a85_ec53] {
        hash = (hash ^ (hash >> 33)).wrapping_mul(factor);
    }
    u16::try_from((hash >> 32) % u64::from(count.max(1))).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn topics_are_spread_evenly_over_the_lanes() {
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
        fn a_filter_has_the_lane_of_the_topics_that_it_matches(
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
