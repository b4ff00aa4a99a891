//! The retained messages of a lane in a snapshot.

use super::{RetainedLimits, RetainedMessage, RetainedStore, topic_of};
use crate::entry::{PropertiesEntry, as_bytes};
use crate::{Limit, RestoreError};
use bytes::Bytes;
use roommq_mqtt::packet::QoS;
use serde::{Deserialize, Serialize};

/// The messages by the key of their topic.
pub(crate) type RetainedImage<'a> = Vec<MessageImage<'a>>;

#[derive(Serialize, Deserialize)]
pub(crate) struct MessageImage<'a> {
    key: &'a str,
    at: u64,
    #[serde(serialize_with = "as_bytes")]
    payload: &'a [u8],
    qos: QoS,
    #[serde(borrow)]
    properties: Option<Box<PropertiesEntry<'a>>>,
    limit: Limit,
    position: u64,
}

impl RetainedStore {
    pub(crate) fn snapshot(&self) -> RetainedImage<'_> {
        let RetainedStore {
            by_key,
            limits: _, // come with the rules
            // The rest follows from the messages.
            bytes: _,
            used: _,
            used_by_hook: _,
            expiring: _,
        } = self;
        let messages = by_key.iter().map(|(key, message)| {
            let RetainedMessage {
                at,
                payload,
                qos,
                properties,
                limit,
                position,
            } = message;
            MessageImage {
                key,
                at: *at,
                payload,
                qos: *qos,
                properties: properties.as_deref().and_then(PropertiesEntry::of),
                limit: *limit,
                position: *position,
            }
        });
        messages.collect()
    }

    pub(crate) fn restore(image: RetainedImage<'_>) -> Result<Self, RestoreError> {
        if !image.is_sorted_by(|a, b| a.key < b.key) {
            return Err(RestoreError::Damaged(
                "its retained messages are not in order",
            ));
        }
        // The limits were obeyed when the messages came.
        let mut store = RetainedStore::new(RetainedLimits {
            messages: usize::MAX,
            bytes: usize::MAX,
        });
        for message in image {
            let (topic, message) = (topic_of(message.key), message.message());
            store.set(&topic, message);
        }
        store.limits = RetainedLimits::default();
        Ok(store)
    }
}

impl MessageImage<'_> {
    fn message(self) -> RetainedMessage {
        let properties = self.properties.as_deref();
        let properties = properties.map(PropertiesEntry::to_properties);
        RetainedMessage {
            at: self.at,
            payload: Bytes::copy_from_slice(self.payload),
            qos: self.qos,
            properties: properties.map(Box::new),
            limit: self.limit,
            position: self.position,
        }
    }
}
