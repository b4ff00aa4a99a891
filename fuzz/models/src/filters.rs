//! Names, filters, and who is reached by what, against `names`.

use super::lane::{RetainedTopics, SubscriptionIndex};
use super::names;
use roommq_lane::{lane_of, lane_of_filter};
use roommq_mqtt::packet::{NameError, TopicFilter, TopicName};
use std::num::NonZeroU32;

/// Texts in one input. What holds for this many holds for more, and each is compared with all.
const MOST: usize = 96;

/// What has been done so far.
struct World {
    lanes: u16,
    index: SubscriptionIndex,
    retained: RetainedTopics,
    /// Who holds which filter under which identifier: the list that the index is compared with.
    held: Vec<(u32, String, NonZeroU32)>,
    topics: Vec<String>,
    filters: Vec<TopicFilter>,
    count: u32,
}

pub(super) fn run(bytes: &[u8]) {
    let (lanes, rest) = bytes.split_first().unwrap_or((&0, &[]));
    let mut world = World {
        lanes: 1 + u16::from(*lanes) * 16,
        index: SubscriptionIndex::default(),
        retained: RetainedTopics::new(MOST),
        held: Vec::new(),
        topics: Vec::new(),
        filters: Vec::new(),
        count: 0,
    };
    for record in rest.split(|byte| *byte == 0xFF).take(MOST) {
        let Some((what, text)) = record.split_first() else {
            continue;
        };
        let Ok(text) = std::str::from_utf8(text) else {
            continue;
        };
        let slot = u32::from(*what >> 2) % 8;
        check_name(text);
        if let Some(filter) = check_filter(text) {
            world.ask(&filter);
            match what & 3 {
                0 => world.subscribe(slot, &filter),
                1 => world.unsubscribe(slot, &filter),
                _ => {}
            }
        }
        if what & 3 == 2 && names::is_topic(text) {
            world.publish(text);
        }
    }
    world.leave();
}

/// The position that an error names holds what it complains of.
fn points_right(text: &str, error: NameError) {
    let found = |at: usize, c: char| text.get(at..).is_some_and(|rest| rest.starts_with(c));
    let right = match error {
        NameError::Empty => text.is_empty(),
        NameError::TooLong(bytes) => bytes == text.len() && bytes > 65_535,
        NameError::Null(at) => found(at, '\0'),
        NameError::Control(at) => text
            .get(at..)
            .is_some_and(|rest| rest.starts_with(char::is_control) && !rest.starts_with('\0')),
        NameError::WildcardInName { wildcard, at }
        | NameError::ShareNameWildcard { wildcard, at } => found(at, wildcard),
        NameError::MultiLevel(at) => found(at, '#'),
        NameError::SingleLevel(at) => found(at, '+'),
        NameError::ShareNameEmpty | NameError::ShareFilterMissing => text.starts_with("$share/"),
    };
    assert!(right, "{error} in {text:?}");
}

fn check_name(text: &str) {
    let name = TopicName::new(text.into());
    assert_eq!(name.is_ok(), names::is_topic(text), "{text:?} as a name");
    match name {
        Ok(name) => {
            assert_eq!(name.as_str(), text);
            assert_eq!(name.detached(), name);
        }
        Err(error) => points_right(text, error),
    }
}

fn check_filter(text: &str) -> Option<TopicFilter> {
    let expected = names::filter(text);
    let filter = TopicFilter::new(text.into());
    assert_eq!(filter.is_ok(), expected.is_some(), "{text:?} as a filter");
    let (filter, expected) = match (filter, expected) {
        (Ok(filter), Some(expected)) => (filter, expected),
        (Err(error), _) => {
            points_right(text, error);
            return None;
        }
        _ => return None,
    };
    assert_eq!(filter.as_str(), text);
    assert_eq!(filter.share_group(), expected.group, "{text:?}");
    assert_eq!(filter.inner(), expected.levels.join("/"), "{text:?}");
    assert_eq!(filter.is_literal(), expected.is_literal(), "{text:?}");
    assert_eq!(
        filter.literal_head().is_some(),
        expected.has_one_head(),
        "{text:?}"
    );
    if let Some((first, second)) = filter.literal_head() {
        assert_eq!(
            (Some(&first), second.as_ref()),
            (expected.levels.first(), expected.levels.get(1))
        );
    }
    Some(filter)
}

impl World {
    /// A filter against each topic so far.
    fn ask(&mut self, filter: &TopicFilter) {
        for topic in &self.topics {
            self.compare(filter, topic);
        }
        let mut kept = Vec::new();
        for (topic, places) in self.retained.matching(&[filter.inner()]) {
            kept.push(topic);
            assert_eq!(places, [0]);
        }
        let mut expected: Vec<&str> = self.topics.iter().map(String::as_str).collect();
        expected.retain(|topic| filter.matches(topic));
        expected.sort_by(|a, b| a.split('/').cmp(b.split('/')));
        expected.dedup();
        assert_eq!(kept, expected, "retained messages for {filter}");
        if !self.filters.contains(filter) {
            self.filters.push(filter.clone());
        }
    }

    fn compare(&self, filter: &TopicFilter, topic: &str) {
        let Some(plain) = names::filter(filter.as_str()) else {
            panic!("{filter:?} was accepted");
        };
        let matches = plain.matches(topic);
        assert_eq!(filter.matches(topic), matches, "{filter:?} for {topic:?}");
        let lane = lane_of_filter(filter, self.lanes);
        let of_topic = lane_of(topic, self.lanes);
        match lane {
            _ if !matches => assert!(lane.is_none_or(|lane| lane <= self.lanes)),
            Some(lane) => assert_eq!(lane, of_topic, "{filter:?} for {topic:?}"),
            // `#` is in all lanes but that of the node.
            None => assert!(of_topic < self.lanes, "{filter:?} for {topic:?}"),
        }
    }

    fn subscribe(&mut self, slot: u32, filter: &TopicFilter) {
        let text = filter.inner();
        self.count += 1;
        let identifier = NonZeroU32::MIN.saturating_add(self.count);
        let before = self.held.len();
        self.held.retain(|(s, f, _)| (*s, &**f) != (slot, text));
        let is_new = self.index.insert(text, slot, identifier);
        assert_eq!(is_new, before == self.held.len(), "{text:?} of {slot}");
        self.held.push((slot, text.to_owned(), identifier));
        let found = self.index.identifier(text, slot);
        assert_eq!(found, Some(identifier), "{text:?} of {slot}");
    }

    fn unsubscribe(&mut self, slot: u32, filter: &TopicFilter) {
        let text = filter.inner();
        let before = self.held.len();
        self.held.retain(|(s, f, _)| (*s, &**f) != (slot, text));
        let had = self.index.remove(text, slot);
        assert_eq!(had, before > self.held.len(), "{text:?} of {slot}");
        assert!(self.index.identifier(text, slot).is_none());
    }

    fn publish(&mut self, topic: &str) {
        let is_sys = topic.split('/').next() == Some("$SYS");
        let lane = lane_of(topic, self.lanes);
        assert!(lane <= self.lanes && (lane == self.lanes) == is_sys);
        let mut reached = self.index.matches(topic);
        let mut expected: Vec<(u32, Option<NonZeroU32>)> = Vec::new();
        for (slot, filter, identifier) in &self.held {
            if names::plain(filter).matches(topic) {
                expected.push((*slot, Some(*identifier)));
            }
        }
        reached.sort_unstable();
        expected.sort_unstable();
        assert_eq!(reached, expected, "{topic:?} among {:?}", self.held);
        let several = reached.windows(2).any(|pair| pair[0].0 == pair[1].0);
        assert!(!several || self.index.may_overlap());
        for filter in &self.filters {
            self.compare(filter, topic);
        }
        self.retained.set(topic);
        self.topics.push(topic.to_owned());
    }

    /// Everybody goes, and nothing is left of them.
    fn leave(mut self) {
        for (slot, filter, _) in std::mem::take(&mut self.held) {
            assert!(self.index.remove(&filter, slot), "{filter:?} of {slot}");
        }
        assert!(self.index.is_empty(), "{:?}", self.index);
    }
}
