//! The private parts of a lane that the models compare with a reference: the subscription index and the
//! retained messages.

use bytes::Bytes;
use roommq_lane::{
    Index, Limit, RetainedLimits, RetainedMessage, RetainedStore, Subscription, WalkFilters,
    topic_of,
};
use roommq_mqtt::packet::{QoS, SubscribeOptions};
use std::num::NonZeroU32;
use std::ops::ControlFlow;

/// The subscription index of one lane. Filters are without `$share/<group>/`; a slot is a subscriber.
#[derive(Debug, Default)]
pub struct SubscriptionIndex(Index);

impl SubscriptionIndex {
    /// Adds a subscription, or replaces the slot's own to the same filter; true where it is new.
    pub fn insert(&mut self, filter: &str, slot: u32, identifier: NonZeroU32) -> bool {
        let subscription = Subscription {
            slot,
            options: SubscribeOptions::of(QoS::AtMostOnce),
            identifier: Some(identifier),
            guarded: false,
            keeps: false,
            mount: None,
        };
        self.0.insert(filter, subscription)
    }

    /// Takes the slot's subscription to this very filter out; true where there was one.
    pub fn remove(&mut self, filter: &str, slot: u32) -> bool {
        self.0.remove(filter, slot)
    }

    /// The identifier of the slot's subscription to this very filter; none where there is no subscription.
    #[must_use]
    pub fn identifier(&self, filter: &str, slot: u32) -> Option<NonZeroU32> {
        self.0.find(filter, slot).and_then(|s| s.identifier)
    }

    /// Slot and identifier of each subscription that `topic` reaches.
    #[must_use]
    pub fn matches(&self, topic: &str) -> Vec<(u32, Option<NonZeroU32>)> {
        let mut reached = Vec::new();
        self.0
            .matches(topic, |s| reached.push((s.slot, s.identifier)));
        reached
    }

    /// Whether a topic may reach a slot more than once.
    #[must_use]
    pub fn may_overlap(&self) -> bool {
        self.0.may_overlap()
    }

    /// Whether no subscription, and no memory for one, is left.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// The retained messages of one lane, with a payload of one byte each.
#[derive(Debug)]
pub struct RetainedTopics(RetainedStore);

impl RetainedTopics {
    /// Keeps so many messages at most, of any size.
    #[must_use]
    pub fn new(messages: usize) -> Self {
        let bytes = usize::MAX;
        RetainedTopics(RetainedStore::new(RetainedLimits { messages, bytes }))
    }

    /// Retains a message at `topic`; false where there is no capacity for it.
    pub fn set(&mut self, topic: &str) -> bool {
        let message = RetainedMessage {
            at: 0,
            payload: Bytes::from_static(b"x"),
            qos: QoS::AtMostOnce,
            properties: None,
            limit: Limit::OfLane,
            position: 0,
        };
        self.0.set(topic, message)
    }

    /// The topics that match one of the filters, in the order in which they are sent, each with the places of the filters that it
    /// matches.
    #[must_use]
    pub fn matching(&self, filters: &[&str]) -> Vec<(String, Vec<usize>)> {
        let filters = WalkFilters::new(filters.iter().copied());
        let (mut topics, mut place) = (Vec::new(), String::new());
        // A topic at a time.
        while !self
            .0
            .walk(&filters, &mut place, &mut 1, 0, |key, _, places| {
                topics.push((topic_of(key), places.to_vec()));
                ControlFlow::Continue(())
            })
        {}
        topics
    }
}
