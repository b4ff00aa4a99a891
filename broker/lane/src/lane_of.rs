//! The lane of a topic or a filter. Every node computes the same.
//!
//! Lanes are numbered from 0. Topics under `$SYS` are about one node alone, so they have a lane that no
//! other node shares: its number is that of the lanes that have a log.

use roommq_mqtt::hash::fnv1a;
use roommq_mqtt::packet::TopicFilter;

/// The lane of a topic among `lanes` lanes, by a hash of its first two levels; `lanes` itself, the
/// lane of the node, for a topic under `$SYS`.
///
/// `chat/berlin`, `chat/berlin/main` and `chat/berlin/a/b` have the same lane. `chat/paris` may
/// have another.
#[must_use]
pub fn lane_of(topic: &str, lanes: u16) -> u16 {
    if is_sys(topic) {
        return lanes;
    }
    let mut slashes = 0;
    let first_two = topic.bytes().take_while(|byte| {
        slashes += u8::from(*byte == b'/');
        slashes < 2
    });
    spread(first_two, lanes)
}

/// The lane in which a filter's subscriptions are kept; none: in every lane.
///
/// | filter | lane |
/// |---|---|
/// | `chat/berlin/#`, `$share/g/chat/berlin/+` | that of `chat/berlin` |
/// | `chat` | that of `chat` |
/// | `chat/#`, `+/berlin`, `#` | all: topics of any lane may match |
/// | `$SYS/#` | that of the node, which no filter of all lanes reaches [MQTT-4.7.2-1] |
pub fn lane_of_filter(filter: &TopicFilter, lanes: u16) -> Option<u16> {
    if is_sys(filter.inner()) {
        return Some(lanes);
    }
    let (first, second) = filter.literal_head()?;
    Some(match second {
        Some(second) => spread(first.bytes().chain(*b"/").chain(second.bytes()), lanes),
        None => spread(first.bytes(), lanes),
    })
}

/// Whether a filter's subscriptions are kept in every lane.
pub fn spans_lanes(filter: &TopicFilter) -> bool {
    !is_sys(filter.inner()) && filter.literal_head().is_none()
}

/// Whether a topic is under `$SYS`, or a filter (without `$share/<group>/`) can match only such topics.
fn is_sys(name: &str) -> bool {
    let rest = name.strip_prefix("$SYS");
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// A number below `count`, evenly spread, that depends on `bytes` alone.
pub fn spread(bytes: impl Iterator<Item = u8>, count: u16) -> u16 {
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

    #[test]
    fn topics_under_sys_belong_to_the_lane_of_the_node() {
        for name in ["$SYS", "$SYS/broker", "$SYS/broker/uptime"] {
            assert_eq!(lane_of(name, 3), 3, "{name}");
        }
        for name in ["$SYSTEM/a", "$aws/a", "a/$SYS"] {
            assert!(lane_of(name, 3) < 3, "{name}");
        }
        for (name, spans) in [
            ("$SYS/#", false),
            ("$share/g/$SYS/+/x", false),
            ("$SYSTEM/#", true),
            ("#", true),
            ("$share/g/a/#", true),
            ("a/b/#", false),
        ] {
            let filter = TopicFilter::new(name.into()).unwrap();
            assert_eq!(spans_lanes(&filter), spans, "{name}");
            assert_eq!(lane_of_filter(&filter, 3).is_none(), spans, "{name}");
            assert_eq!(
                lane_of_filter(&filter, 3) == Some(3),
                name.contains("$SYS/"),
                "{name}"
            );
        }
    }

    proptest! {
        #[test]
        fn a_filter_has_the_lane_of_the_topics_that_it_matches(
            filter in "(a|b|\\$SYS|\\+)(/(a|b|c|\\+)){0,3}(/#)?",
            topic in "(a|b|\\$SYS)(/(a|b|c)){0,4}",
        ) {
            let parsed = TopicFilter::new(filter.as_str().into()).unwrap();
            let of_topic = lane_of(&topic, 1_000);
            match lane_of_filter(&parsed, 1_000) {
                _ if !parsed.matches(&topic) => {}
                Some(lane) => prop_assert_eq!(lane, of_topic),
                None => prop_assert!(of_topic < 1_000, "not of the node"),
            }
        }
    }
}
