//! Retained messages of a lane, in the order of their topics: level by level, what stands above before what is below.

use super::walk::{Walk, key_of, topic_of};
use crate::packet::{PublishProperties, QoS, string_cost};
use crate::policy::Limit;
use bytes::Bytes;
use roommq_config::Limits;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;

/// A message that is kept.
#[derive(Debug, Clone)]
pub(crate) struct RetainedMessage {
    /// Milliseconds since the Unix epoch; its expiry counts from here.
    pub at: u64,
    pub payload: Bytes,
    pub qos: QoS,
    /// With what was stamped; none where all are unset.
    pub properties: Option<Box<PublishProperties>>,
    /// What of it counts towards the lane's [`RetainedLimits`].
    pub limit: Limit,
}

impl RetainedMessage {
    /// Whole seconds left to live: none where it lives for ever, `Some(0)` where it is over.
    pub(crate) fn seconds_left(&self, now: u64) -> Option<u32> {
        let expiry = self.properties.as_ref()?.message_expiry?;
        Some(remaining(expiry, self.at, now))
    }

    /// When its time is over; none: never.
    pub(crate) fn expires_at(&self) -> Option<u64> {
        let expiry = self.properties.as_ref()?.message_expiry?;
        Some(expires_at(expiry, self.at))
    }

    /// What it counts for at a topic of so many bytes: each of its strings, and what that costs beside its bytes. With a time
    /// to live the topic stands in two places.
    fn cost(&self, topic: usize) -> usize {
        let topics = if self.expires_at().is_some() { 2 } else { 1 };
        let properties = self
            .properties
            .as_deref()
            .map_or(0, PublishProperties::cost);
        topics * string_cost(topic) + string_cost(self.payload.len()) + properties
    }
}

/// When `expiry` seconds of a message used at `at` are over.
pub(crate) fn expires_at(expiry: u32, at: u64) -> u64 {
    at.saturating_add(u64::from(expiry) * 1000)
}

/// Seconds of `expiry` that are left at `now` of a message used at `at` [MQTT-3.3.2-6].
pub(crate) fn remaining(expiry: u32, at: u64, now: u64) -> u32 {
    let waited = u32::try_from(now.saturating_sub(at) / 1000).unwrap_or(u32::MAX);
    expiry.saturating_sub(waited)
}

/// What one lane may keep of messages that count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct RetainedLimits {
    pub messages: usize,
    /// Of topics, payloads and properties, and what these cost.
    pub bytes: usize,
}

impl RetainedLimits {
    /// A lane's part of what all may keep: which lane a topic is in is settled, so each decides alone, and on every
    /// node alike.
    pub(crate) fn of(all: &Limits, lanes: u16) -> Self {
        let lanes = usize::from(lanes.max(1));
        RetainedLimits {
            messages: all.retained.div_ceil(lanes),
            bytes: all.retained_bytes.div_ceil(lanes),
        }
    }
}

/// What is used of [`RetainedLimits`].
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
struct RetainedUsage {
    messages: usize,
    bytes: usize,
}

/// The store: no part of any session, and none's end clears it [3.1.1 MQTT-3.1.2-7].
#[derive(Debug)]
pub(crate) struct RetainedStore {
    /// By what [`key_of`] makes of the topic.
    by_key: BTreeMap<Box<str>, RetainedMessage>,
    /// Of all payloads.
    bytes: usize,
    limits: RetainedLimits,
    /// What of the limits is used, and of as many bytes again for those that the hook counts.
    used: RetainedUsage,
    used_by_hook: RetainedUsage,
    /// Those that end by themselves, by when; with their keys.
    expiring: BTreeSet<(u64, Box<str>)>,
}

impl RetainedStore {
    pub(crate) fn new(limits: RetainedLimits) -> Self {
        RetainedStore {
            by_key: BTreeMap::new(),
            bytes: 0,
            limits,
            used: RetainedUsage::default(),
            used_by_hook: RetainedUsage::default(),
            expiring: BTreeSet::new(),
        }
    }

    /// Keeps `message`, of whatever QoS, in place of the one before [MQTT-3.3.1-5, 3.1.1 MQTT-3.3.1-7], or clears the
    /// topic where its payload is empty [MQTT-3.3.1-6, 3.1.1 MQTT-3.3.1-10, MQTT-3.3.1-11, 5.0 MQTT-3.3.1-7]. False where it
    /// finds no room; the one before is gone even so: it is no longer what the topic has.
    pub(crate) fn set(&mut self, topic: &str, message: RetainedMessage) -> bool {
        let key = key_of(topic);
        let (cost, limit) = (message.cost(key.len()), message.limit);
        if message.payload.is_empty() {
            if let Some(old) = self.by_key.remove(key.as_str()) {
                self.uncount(&key, &old);
            }
            return true;
        }
        let (end, payload) = (message.expires_at(), message.payload.len());
        if let Some(known) = self.by_key.get_mut(key.as_str()) {
            let old = std::mem::replace(known, message);
            self.uncount(&key, &old);
            if !self.fits(limit, cost) {
                self.by_key.remove(key.as_str());
                return false;
            }
        } else {
            if !self.fits(limit, cost) {
                return false;
            }
            self.by_key.insert(key.as_str().into(), message);
        }
        self.bytes += payload;
        if let Some((used, _)) = self.usage(limit) {
            used.messages += 1;
            used.bytes += cost;
        }
        if let Some(end) = end {
            self.expiring.insert((end, key.into()));
        }
        true
    }

    /// What is used of that by which such messages are bound, and what that is.
    fn usage(&mut self, limit: Limit) -> Option<(&mut RetainedUsage, RetainedLimits)> {
        match limit {
            Limit::None => None,
            Limit::OfLane => Some((&mut self.used, self.limits)),
            Limit::OfBytes => {
                let all = RetainedLimits {
                    messages: usize::MAX,
                    ..self.limits
                };
                Some((&mut self.used_by_hook, all))
            }
        }
    }

    fn fits(&mut self, limit: Limit, cost: usize) -> bool {
        self.usage(limit).is_none_or(|(used, all)| {
            let bytes = used.bytes.saturating_add(cost);
            used.messages < all.messages && bytes <= all.bytes
        })
    }

    fn uncount(&mut self, key: &str, old: &RetainedMessage) {
        let cost = old.cost(key.len());
        self.bytes -= old.payload.len();
        if let Some((used, _)) = self.usage(old.limit) {
            used.messages -= 1;
            used.bytes -= cost;
        }
        if let Some(end) = old.expires_at() {
            self.expiring.remove(&(end, key.into()));
        }
    }

    /// When the next message ends by itself, in milliseconds since the Unix epoch.
    pub(crate) fn next_expiry(&self) -> Option<u64> {
        self.expiring.first().map(|(end, _)| *end)
    }

    /// Takes the next one away whose time is over at `now`; its topic.
    pub(crate) fn take_expired(&mut self, now: u64) -> Option<String> {
        if self.next_expiry()? > now {
            return None;
        }
        let (_, key) = self.expiring.pop_first()?;
        if let Some(over) = self.by_key.remove(&key) {
            self.uncount(&key, &over);
        }
        Some(topic_of(&key))
    }

    /// How many there are, and the bytes of their payloads.
    pub(crate) fn size(&self) -> (usize, usize) {
        (self.by_key.len(), self.bytes)
    }

    /// What each of all lanes may keep.
    pub(crate) fn limits(&self) -> RetainedLimits {
        self.limits
    }

    /// Whether a message stands at the topic.
    pub(crate) fn contains(&self, topic: &str) -> bool {
        self.by_key.contains_key(key_of(topic).as_str())
    }

    /// Shows `visit` all that any of these filters matches (none of them shared), in the order of topics, those apart
    /// whose time is over, with the places of the filters, in order. Costs what the filters can
    /// match, not what is kept; ends where `visit` breaks off.
    pub(crate) fn matching<'f>(
        &self,
        filters: impl Iterator<Item = &'f str>,
        now: u64,
        mut visit: impl FnMut(&str, &RetainedMessage, &[usize]) -> ControlFlow<()>,
    ) {
        Walk::new(filters).over(&self.by_key, |key, kept, places| {
            if kept.seconds_left(now) == Some(0) {
                return ControlFlow::Continue(());
            }
            visit(&topic_of(key), kept, places)
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: RetainedLimits = RetainedLimits {
        messages: 100,
        bytes: 1_000,
    };

    fn kept(payload: &'static str, expiry: Option<u32>) -> RetainedMessage {
        RetainedMessage {
            at: 1_000,
            limit: Limit::OfLane,
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

    fn topics(store: &RetainedStore, filter: &str, now: u64) -> Vec<String> {
        let mut found = Vec::new();
        store.matching([filter].into_iter(), now, |topic, _, _| {
            found.push(topic.to_owned());
            ControlFlow::Continue(())
        });
        found
    }

    #[test]
    fn finds_by_filter_in_order() {
        let mut store = RetainedStore::new(LIMITS);
        for topic in ["a", "a/b", "a/c", "a-b", "ab", "b/c", "$s/c"] {
            store.set(topic, kept("x", None));
        }
        assert_eq!(topics(&store, "a/#", 0), ["a", "a/b", "a/c"]);
        assert_eq!(topics(&store, "a/b", 0), ["a/b"]);
        assert_eq!(topics(&store, "+/c", 0), ["a/c", "b/c"]);
        assert_eq!(
            topics(&store, "#", 0),
            ["a", "a/b", "a/c", "a-b", "ab", "b/c"]
        );
        assert_eq!(topics(&store, "a/+", 0), ["a/b", "a/c"]);
        store.set("a/b", kept("", None));
        assert_eq!(topics(&store, "a/+", 0), ["a/c"]);
        assert!(!store.contains("a/b") && store.contains("a/c"));
    }

    #[test]
    fn its_size_follows() {
        let mut store = RetainedStore::new(LIMITS);
        store.set("a", kept("123", None));
        store.set("b", kept("12345", Some(2)));
        store.set("a", kept("1", Some(1)));
        assert_eq!(store.size(), (2, 6));
        store.set("never", kept("", None));
        assert!(store.take_expired(2_000).is_some());
        assert_eq!(store.size(), (1, 5));
        store.set("b", kept("", None));
        assert_eq!(store.size(), (0, 0));
    }

    #[test]
    fn what_is_over_is_not_sent() {
        let mut store = RetainedStore::new(LIMITS);
        store.set("a", kept("x", Some(2)));
        assert_eq!(topics(&store, "a", 2_999), ["a"]);
        assert!(topics(&store, "a", 3_000).is_empty());
        assert_eq!(kept("x", Some(2)).seconds_left(2_000), Some(1));
    }

    #[test]
    fn what_is_over_is_taken_away_once() {
        let mut store = RetainedStore::new(LIMITS);
        for (topic, expiry) in [("a", Some(2)), ("b", Some(1)), ("c", None), ("d", Some(1))] {
            store.set(topic, kept("x", expiry));
        }
        store.set("b", kept("longer", Some(3)));
        store.set("d", kept("", None));
        assert_eq!(store.next_expiry(), Some(3_000));
        assert_eq!(store.take_expired(2_999), None);
        assert_eq!(store.take_expired(4_000).as_deref(), Some("a"));
        assert_eq!(store.take_expired(4_000).as_deref(), Some("b"));
        assert_eq!(store.take_expired(u64::MAX), None);
        assert!(store.contains("c") && !store.contains("a") && store.expiring.is_empty());
    }

    #[test]
    fn past_the_share_nothing_new_is_kept() {
        // What two messages of one byte count for, and six bytes more.
        let bytes = 2 * (string_cost(1) + string_cost(1)) + 6;
        let limits = RetainedLimits { messages: 2, bytes };
        let all = Limits {
            retained: 4,
            retained_bytes: 2 * bytes - 1,
            ..Limits::default()
        };
        assert_eq!(RetainedLimits::of(&all, 2), limits);
        let mut store = RetainedStore::new(limits);
        let free = RetainedMessage {
            limit: Limit::None,
            ..kept("as long as it likes", Some(1))
        };
        assert!(store.set("free", free));
        assert!(store.set("a", kept("1", None)) && store.set("b", kept("1", None)));
        assert!(!store.set("c", kept("1", None)), "the third");
        assert!(store.set("b", kept("1234567", None)), "in its place");
        assert!(!store.set("a", kept("12", None)), "too long");
        assert!(
            !store.contains("a"),
            "the old one is not the topic's any more"
        );
        let of_bytes = |payload| RetainedMessage {
            limit: Limit::OfBytes,
            ..kept(payload, None)
        };
        // There are as many bytes again, for as many messages as there may be.
        for topic in ["x", "y"] {
            assert!(store.set(topic, of_bytes("1")));
        }
        assert!(!store.set("z", of_bytes("1")) && store.set("x", of_bytes("1234567")));
        assert!(!store.set("x", of_bytes("12345678")) && !store.contains("x"));
        assert!(store.set("y", of_bytes("")));
        assert!(
            !store.set("d", kept("1", Some(1))),
            "its topic stands twice"
        );
        assert!(store.set("b", kept("", None)) && store.set("d", kept("1", Some(1))));
        while store.take_expired(9_000).is_some() {}
        assert!(store.set("d", kept("", None)));
        let nothing = RetainedUsage::default();
        assert_eq!((store.used, store.used_by_hook), (nothing, nothing));
        assert_eq!(store.size(), (0, 0));
    }

    #[test]
    fn many_strings_of_no_bytes_count() {
        let with = |pairs: usize| RetainedMessage {
            properties: Some(Box::new(PublishProperties {
                user_properties: vec![Default::default(); pairs],
                ..PublishProperties::default()
            })),
            ..kept("x", None)
        };
        let [none, thousand] = [0, 1_000].map(|pairs| with(pairs).cost(1));
        assert_eq!(thousand - none, 2_000 * string_cost(0));
        assert_eq!(none, kept("x", None).cost(1));
        let expiring = kept("x", Some(1)).cost(1);
        assert_eq!(expiring - none, string_cost(1), "its topic, once more");
    }
}
