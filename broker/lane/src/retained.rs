//! The retained messages of a lane, ordered by topic: a topic comes before those below it.

use super::walk::{SLASH, WalkFilters, key_of, topic_of, walk};
use crate::Limit;
use bytes::Bytes;
use roommq_mqtt::packet::{PublishProperties, QoS, string_cost};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::{Bound, ControlFlow};

mod snapshot;

/// A retained message, stored under its topic.
#[derive(Debug, Clone)]
pub struct RetainedMessage {
    /// When the lane received it, in milliseconds of lane time. Its expiry counts from here.
    pub at: u64,
    /// Any bytes, at least one.
    pub payload: Bytes,
    /// Of the message as it was published.
    pub qos: QoS,
    /// Stamps of the lane's hook included; none if no property is set.
    pub properties: Option<Box<PublishProperties>>,
    /// Says how it counts towards the lane's [`RetainedLimits`].
    pub limit: Limit,
    /// The number of the entry in the lane that set it.
    pub position: u64,
}

impl RetainedMessage {
    /// The whole seconds until it expires; 0: it has expired; none: it never does.
    pub fn seconds_left(&self, now: u64) -> Option<u32> {
        let expiry = self.properties.as_ref()?.message_expiry?;
        Some(remaining(expiry, self.at, now))
    }

    /// Whether it has expired.
    pub(super) fn has_expired(&self, now: u64) -> bool {
        self.seconds_left(now) == Some(0)
    }

    /// When it expires, in milliseconds of lane time; none: never.
    pub fn expires_at(&self) -> Option<u64> {
        let expiry = self.properties.as_ref()?.message_expiry?;
        Some(expires_at(expiry, self.at))
    }

    /// The bytes that it counts for, at a topic with so many: topic, payload and properties, each
    /// with the overhead of a string. The topic of a message that expires is stored twice.
    fn cost(&self, topic: usize) -> usize {
        let topics = if self.expires_at().is_some() { 2 } else { 1 };
        let properties = self.properties.as_deref();
        let properties = properties.map_or(0, PublishProperties::cost);
        topics * string_cost(topic) + string_cost(self.payload.len()) + properties
    }
}

/// When a message that was received at `at` expires, with an expiry of so many seconds. Both times
/// are in milliseconds of lane time.
pub fn expires_at(expiry: u32, at: u64) -> u64 {
    at.saturating_add(u64::from(expiry) * 1000)
}

/// The seconds of `expiry` that are left at `now` of a message that was received at `at`: the time
/// that it has waited in the server is subtracted [MQTT-3.3.2-6].
pub fn remaining(expiry: u32, at: u64, now: u64) -> u32 {
    let waited = u32::try_from(now.saturating_sub(at) / 1000).unwrap_or(u32::MAX);
    expiry.saturating_sub(waited)
}

/// How many retained messages may be held, and how many bytes. Exactly so many are allowed.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct RetainedLimits {
    /// Messages, at most.
    pub messages: usize,
    /// Of topics, payloads and properties, overhead included.
    pub bytes: usize,
}

impl RetainedLimits {
    /// One lane's share of these limits of a server with so many lanes, rounded up. A lane decides
    /// by its own share alone, so every node decides the same.
    #[must_use]
    pub fn share(self, lanes: u16) -> Self {
        let lanes = usize::from(lanes.max(1));
        RetainedLimits {
            messages: self.messages.div_ceil(lanes),
            bytes: self.bytes.div_ceil(lanes),
        }
    }
}

/// How much of [`RetainedLimits`] is used.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
struct RetainedUsage {
    messages: usize,
    bytes: usize,
}

/// The retained messages of one lane. They belong to no session, and no session's end removes them
/// [3.1.1 MQTT-3.1.2-7].
///
/// A message counts by its [`Limit`]:
///
/// | limit | messages | bytes |
/// |---|---|---|
/// | `OfLane` | at most [`RetainedLimits::messages`] | at most [`RetainedLimits::bytes`] |
/// | `OfBytes` | counted by the hook | as many bytes again |
/// | `None` | counted by the hook | not counted |
#[derive(Debug)]
pub struct RetainedStore {
    /// By the [key](key_of) of the topic.
    by_key: BTreeMap<Box<str>, RetainedMessage>,
    /// Bytes of all payloads.
    bytes: usize,
    limits: RetainedLimits,
    /// By messages with [`Limit::OfLane`].
    used: RetainedUsage,
    /// By messages with [`Limit::OfBytes`].
    used_by_hook: RetainedUsage,
    /// When messages expire, with their keys.
    expiring: BTreeSet<(u64, Box<str>)>,
}

impl RetainedStore {
    #[must_use]
    /// A store without messages.
    pub fn new(limits: RetainedLimits) -> Self {
        RetainedStore {
            by_key: BTreeMap::new(),
            bytes: 0,
            limits,
            used: RetainedUsage::default(),
            used_by_hook: RetainedUsage::default(),
            expiring: BTreeSet::new(),
        }
    }

    /// Stores `message`, whatever its QoS, and replaces the topic's retained message [MQTT-3.3.1-5,
    /// 3.1.1 MQTT-3.3.1-7]. An empty payload removes it [MQTT-3.3.1-6, 3.1.1 MQTT-3.3.1-10,
    /// MQTT-3.3.1-11, 5.0 MQTT-3.3.1-7].
    ///
    /// False if the limits do not allow the new message. The old one is removed even then:
    /// subscribers must not receive a value that the topic has no more.
    pub fn set(&mut self, topic: &str, message: RetainedMessage) -> bool {
        let key = key_of(topic);
        let (cost, limit) = (message.cost(key.len()), message.limit);
        if message.payload.is_empty() {
            self.remove(topic);
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

    /// Removes the topic's retained message.
    pub fn remove(&mut self, topic: &str) {
        let key = key_of(topic);
        if let Some(old) = self.by_key.remove(key.as_str()) {
            self.uncount(&key, &old);
        }
    }

    /// The topics that have a retained message, of this topic and all topics below it.
    #[must_use]
    pub fn below(&self, topic: &str) -> Vec<String> {
        let key = key_of(topic);
        let is_below = |other: &str| {
            let rest = other.strip_prefix(key.as_str());
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(SLASH))
        };
        let from = self
            .by_key
            .range::<str, _>((Bound::Included(key.as_str()), Bound::Unbounded));
        let below = from.take_while(|(other, _)| is_below(other));
        below.map(|(other, _)| topic_of(other)).collect()
    }

    /// The usage of messages with this limit, and its bounds; none: they are not limited.
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

    /// Whether one more message with this limit and cost is allowed.
    fn fits(&mut self, limit: Limit, cost: usize) -> bool {
        self.usage(limit).is_none_or(|(used, all)| {
            let bytes = used.bytes.saturating_add(cost);
            used.messages < all.messages && bytes <= all.bytes
        })
    }

    /// Takes a message that has been removed out of all counts.
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

    /// When the next message expires, in milliseconds of lane time; none: none will.
    #[must_use]
    pub fn next_expiry(&self) -> Option<u64> {
        self.expiring.first().map(|(end, _)| *end)
    }

    /// Removes one message that has expired at `now`, the earliest first, and returns its topic.
    pub fn take_expired(&mut self, now: u64) -> Option<String> {
        if self.next_expiry()? > now {
            return None;
        }
        let (_, key) = self.expiring.pop_first()?;
        if let Some(expired) = self.by_key.remove(&key) {
            self.uncount(&key, &expired);
        }
        Some(topic_of(&key))
    }

    /// How many messages there are, and the bytes of their payloads.
    #[must_use]
    pub fn size(&self) -> (usize, usize) {
        (self.by_key.len(), self.bytes)
    }

    /// Sets new limits. Messages above them stay until they are cleared, replaced or expire.
    pub fn set_limits(&mut self, limits: RetainedLimits) {
        self.limits = limits;
    }

    /// The limits of this lane.
    #[must_use]
    pub fn limits(&self) -> RetainedLimits {
        self.limits
    }

    /// The retained message of a topic, expired or not.
    #[must_use]
    pub fn get(&self, topic: &str) -> Option<&RetainedMessage> {
        self.by_key.get(key_of(topic).as_str())
    }

    /// Goes on with a walk of filters at `place`, a key. Calls `visit` with the key of each message that
    /// matches and has not expired, in the order of topics, and with the positions of the filters that
    /// match it. Returns whether it has come to the end.
    ///
    /// It stops when `visit` breaks, and at the end of the `budget`: `place` is where it goes on. The
    /// cost follows what the filters can match, not what the lane holds.
    pub fn walk(
        &self,
        filters: &WalkFilters,
        place: &mut String,
        budget: &mut usize,
        now: u64,
        mut visit: impl FnMut(&str, &RetainedMessage, &[usize]) -> ControlFlow<()>,
    ) -> bool {
        if let Some(key) = filters.only_topic() {
            let message = self.by_key.get(key).filter(|m| !m.has_expired(now));
            *budget = budget.saturating_sub(1);
            return message.is_none_or(|message| {
                key < place.as_str() || visit(key, message, &[0]).is_continue()
            });
        }
        walk(
            filters,
            &self.by_key,
            place,
            budget,
            |key, message, found| {
                if message.has_expired(now) {
                    return ControlFlow::Continue(());
                }
                visit(key, message, found)
            },
        )
    }
}

#[cfg(test)]
#[path = "retained_tests.rs"]
mod tests;
