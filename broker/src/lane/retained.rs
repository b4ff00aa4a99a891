//! Retained messages of a lane, in the order of their topics.

use crate::packet::{PublishProperties, QoS, TopicFilter};
use bytes::Bytes;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;

/// A message that is kept.
#[derive(Debug, Clone)]
pub(crate) struct Kept {
    /// Milliseconds since the Unix epoch; its expiry counts from here.
    pub at: u64,
    pub payload: Bytes,
    pub qos: QoS,
    /// With what was stamped; none where all are unset.
    pub properties: Option<Box<PublishProperties>>,
}

impl Kept {
    /// Whole seconds left to live: none where it lives for ever, `Some(0)` where it is over.
    pub(crate) fn left(&self, now: u64) -> Option<u32> {
        let expiry = self.properties.as_ref()?.message_expiry?;
        Some(remaining(expiry, self.at, now))
    }

    /// When its time is over; none: never.
    pub(crate) fn end(&self) -> Option<u64> {
        let expiry = self.properties.as_ref()?.message_expiry?;
        Some(end(expiry, self.at))
    }
}

/// When `expiry` seconds of a message taken at `at` are over.
pub(crate) fn end(expiry: u32, at: u64) -> u64 {
    at.saturating_add(u64::from(expiry) * 1000)
}

/// Seconds of `expiry` that are left at `now` of a message taken at `at` [MQTT-3.3.2-6].
pub(crate) fn remaining(expiry: u32, at: u64, now: u64) -> u32 {
    let waited = u32::try_from(now.saturating_sub(at) / 1000).unwrap_or(u32::MAX);
    expiry.saturating_sub(waited)
}

/// The store: no part of any session, and none's end clears it [3.1.1 MQTT-3.1.2-7].
#[derive(Debug, Default)]
pub(crate) struct Retained {
    by_topic: BTreeMap<Box<str>, Kept>,
    /// Of all payloads.
    bytes: usize,
    /// Those that end by themselves, by when.
    mortal: BTreeSet<(u64, Box<str>)>,
}

impl Retained {
    /// Keeps `message`, of whatever QoS, in place of the one before [MQTT-3.3.1-5, 3.1.1 MQTT-3.3.1-7], or clears the
    /// topic where its payload is empty [MQTT-3.3.1-6, 3.1.1 MQTT-3.3.1-10, MQTT-3.3.1-11, 5.0 MQTT-3.3.1-7].
    pub(crate) fn set(&mut self, topic: &str, message: Kept) {
        if let Some(old) = self.by_topic.get(topic) {
            self.bytes -= old.payload.len();
            if let Some(end) = old.end() {
                self.mortal.remove(&(end, topic.into()));
            }
        }
        self.bytes += message.payload.len();
        if message.payload.is_empty() {
            self.by_topic.remove(topic);
            return;
        }
        if let Some(end) = message.end() {
            self.mortal.insert((end, topic.into()));
        }
        if let Some(kept) = self.by_topic.get_mut(topic) {
            *kept = message;
        } else {
            self.by_topic.insert(topic.into(), message);
        }
    }

    /// When the next message ends by itself, in milliseconds since the Unix epoch.
    pub(crate) fn next_end(&self) -> Option<u64> {
        self.mortal.first().map(|(end, _)| *end)
    }

    /// Takes the next one away whose time is over at `now`; its topic.
    pub(crate) fn take_over(&mut self, now: u64) -> Option<Box<str>> {
        if self.next_end()? > now {
            return None;
        }
        let (_, topic) = self.mortal.pop_first()?;
        let over = self.by_topic.remove(&topic);
        self.bytes -= over.map_or(0, |message| message.payload.len());
        Some(topic)
    }

    /// How many there are, and the bytes of their payloads.
    pub(crate) fn size(&self) -> (usize, usize) {
        (self.by_topic.len(), self.bytes)
    }

    /// Whether a message stands at the topic.
    pub(crate) fn holds(&self, topic: &str) -> bool {
        self.by_topic.contains_key(topic)
    }

    /// All that match, in the order of their topics, those apart whose time is over.
    pub(crate) fn matching<'a>(
        &'a self,
        filter: &'a TopicFilter,
        now: u64,
    ) -> impl Iterator<Item = (&'a str, &'a Kept)> {
        let text = filter.inner();
        let prefix = text.find(['+', '#']).map_or(text, |at| &text[..at]);
        // `a/#` matches `a` too, which sorts before `a/`.
        let from = prefix.strip_suffix('/').unwrap_or(prefix);
        self.by_topic
            .range::<str, _>((Bound::Included(from), Bound::Unbounded))
            .take_while(move |(topic, _)| topic.starts_with(from))
            .filter(move |(topic, kept)| filter.matches(topic) && kept.left(now) != Some(0))
            .map(|(topic, kept)| (&**topic, kept))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn kept(payload: &'static str, expiry: Option<u32>) -> Kept {
        Kept {
            at: 1_000,
            payload: payload.into(),
            qos: QoS::AtMostOnce,
            properties: expiry.map(|e| {
                Box::new(PublishProperties {
                    message_expiry: Some(e),
                    ..PublishProperties::default()
                })
            }),
        }
    }

    fn topics(store: &Retained, filter: &str, now: u64) -> Vec<String> {
        let filter = TopicFilter::new(filter.into()).unwrap();
        let found = store.matching(&filter, now);
        found.map(|(t, _)| t.to_owned()).collect()
    }

    #[test]
    fn finds_by_filter_in_order() {
        let mut store = Retained::default();
        for topic in ["a", "a/b", "a/c", "a-b", "ab", "b/c", "$s/c"] {
            store.set(topic, kept("x", None));
        }
        assert_eq!(topics(&store, "a/#", 0), ["a", "a/b", "a/c"]);
        assert_eq!(topics(&store, "a/b", 0), ["a/b"]);
        assert_eq!(topics(&store, "+/c", 0), ["a/c", "b/c"]);
        assert_eq!(
            topics(&store, "#", 0),
            ["a", "a-b", "a/b", "a/c", "ab", "b/c"]
        );
        assert_eq!(topics(&store, "a/+", 0), ["a/b", "a/c"]);
        store.set("a/b", kept("", None));
        assert_eq!(topics(&store, "a/+", 0), ["a/c"]);
        assert!(!store.holds("a/b") && store.holds("a/c"));
    }

    #[test]
    fn its_size_follows() {
        let mut store = Retained::default();
        store.set("a", kept("123", None));
        store.set("b", kept("12345", Some(2)));
        store.set("a", kept("1", Some(1)));
        assert_eq!(store.size(), (2, 6));
        store.set("never", kept("", None));
        assert!(store.take_over(2_000).is_some());
        assert_eq!(store.size(), (1, 5));
        store.set("b", kept("", None));
        assert_eq!(store.size(), (0, 0));
    }

    #[test]
    fn what_is_over_is_not_sent() {
        let mut store = Retained::default();
        store.set("a", kept("x", Some(2)));
        assert_eq!(topics(&store, "a", 2_999), ["a"]);
        assert!(topics(&store, "a", 3_000).is_empty());
        assert_eq!(kept("x", Some(2)).left(2_000), Some(1));
    }

    #[test]
    fn what_is_over_is_taken_away_once() {
        let mut store = Retained::default();
        for (topic, expiry) in [("a", Some(2)), ("b", Some(1)), ("c", None), ("d", Some(1))] {
            store.set(topic, kept("x", expiry));
        }
        store.set("b", kept("longer", Some(3)));
        store.set("d", kept("", None));
        assert_eq!(store.next_end(), Some(3_000));
        assert_eq!(store.take_over(2_999), None);
        assert_eq!(store.take_over(4_000).as_deref(), Some("a"));
        assert_eq!(store.take_over(4_000).as_deref(), Some("b"));
        assert_eq!(store.take_over(u64::MAX), None);
        assert!(store.holds("c") && !store.holds("a") && store.mortal.is_empty());
    }
}
