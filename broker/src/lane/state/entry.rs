//! What stands in a lane's log: self-contained, versioned entries that carry ids and not pointers, so
//! that every follower of the log comes to the same state.

use crate::packet::{PublishProperties, QoS, SubscribeOptions};
use crate::policy::{Actor, EndReason, Mount, Request, SessionId};
use serde::{Deserialize, Serialize, Serializer};

/// First byte of every batch.
const FORMAT: u8 = 1;

/// One thing that happens in a lane.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) enum Entry<'a> {
    /// An application message.
    #[serde(borrow)]
    Publish(PublishEntry<'a>),
    /// Filters of one SUBSCRIBE that live in this lane.
    Subscribe(SubscribeEntry<'a>),
    /// Filters of one UNSUBSCRIBE that live in this lane.
    Unsubscribe(UnsubscribeEntry<'a>),
    /// The connection of a session has ended, the session goes on.
    Disconnected(DisconnectEntry<'a>),
    /// A session has ended.
    Ended(DisconnectEntry<'a>),
    /// A session that slept has a connection again, and asks for its filters anew; others it had here are
    /// its no more.
    Resume(SubscribeEntry<'a>),
    /// A time that the lane's hook asked for.
    Timer {
        /// When the timer fired.
        at: u64,
        /// The hook's.
        key: &'a str,
        /// The hook's.
        generation: u64,
    },
    /// All that stands before has been applied when this one is.
    Barrier(u64),
    /// The keeper has nothing more to do for this lane.
    End,
}

/// Who sent a message; none: the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Origin<'a> {
    pub session: SessionId,
    pub user: &'a str,
}

/// An application message.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct PublishEntry<'a> {
    pub at: u64,
    #[serde(borrow)]
    pub origin: Option<Origin<'a>>,
    pub topic: &'a str,
    #[serde(serialize_with = "as_bytes")]
    pub payload: &'a [u8],
    pub qos: QoS,
    pub retain: bool,
    pub properties: Option<Box<PropertiesEntry<'a>>>,
}

/// Properties of an application message.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct PropertiesEntry<'a> {
    pub payload_format_indicator: Option<bool>,
    pub message_expiry: Option<u32>,
    pub content_type: Option<&'a str>,
    pub response_topic: Option<&'a str>,
    #[serde(borrow)]
    pub correlation_data: Option<&'a [u8]>,
    #[serde(borrow)]
    pub user_properties: Vec<(&'a str, &'a str)>,
}

/// Filters that ask to come to be.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct SubscribeEntry<'a> {
    pub at: u64,
    #[serde(borrow)]
    pub who: Origin<'a>,
    /// The session's number for the SUBSCRIBE, to answer it by.
    pub request_id: u32,
    /// Subscription identifier, 0: none.
    pub identifier: u32,
    #[serde(borrow)]
    pub filters: Vec<FilterEntry<'a>>,
}

/// One filter of a SUBSCRIBE.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct FilterEntry<'a> {
    /// Its place in the packet.
    pub position: u16,
    pub filter: &'a str,
    pub options: SubscribeOptions,
    pub mount: Option<Mount>,
    pub guarded: bool,
    #[serde(borrow, serialize_with = "as_bytes")]
    pub proof: &'a [u8],
}

impl<'a> FilterEntry<'a> {
    /// What the hook is asked.
    pub(crate) fn request(&self) -> Request<'a> {
        Request {
            filter: self.filter,
            proof: self.proof,
        }
    }
}

/// Filters that go.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct UnsubscribeEntry<'a> {
    pub at: u64,
    #[serde(borrow)]
    pub who: Origin<'a>,
    pub request_id: u32,
    /// Place in the packet, and filter.
    #[serde(borrow)]
    pub filters: Vec<(u16, &'a str)>,
}

/// A session that ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct DisconnectEntry<'a> {
    pub at: u64,
    #[serde(borrow)]
    pub who: Origin<'a>,
    pub reason: EndReason,
}

/// Entries on their way into one lane's log.
#[derive(Debug, Default)]
pub(crate) struct Batch {
    bytes: Vec<u8>,
}

/// A batch that cannot be read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BatchError {
    #[error("a batch of format {0}, where {FORMAT} is known")]
    Format(u8),
    #[error("an empty batch")]
    Empty,
    #[error("an entry that cannot be read: {0}")]
    Entry(#[from] postcard::Error),
}

impl Batch {
    /// Adds an entry.
    pub(crate) fn push(&mut self, entry: &Entry<'_>) {
        if self.bytes.is_empty() {
            self.bytes.reserve(256);
            self.bytes.push(FORMAT);
        }
        let kept = self.bytes.len();
        match postcard::to_extend(entry, std::mem::take(&mut self.bytes)) {
            Ok(bytes) => self.bytes = bytes,
            // A Vec takes everything, so this is a programming error; the batch stays readable.
            Err(error) => {
                tracing::error!(%error, "an entry could not be written");
                self.bytes.truncate(kept);
            }
        }
    }

    /// The whole, to append; a log may keep it for long, so it is cut to its size.
    pub(crate) fn into_bytes(self) -> bytes::Bytes {
        self.bytes.into_boxed_slice().into()
    }
}

/// The entries of a batch, in order.
pub(crate) fn read_batch(
    batch: &[u8],
) -> Result<impl Iterator<Item = Result<Entry<'_>, BatchError>>, BatchError> {
    let mut rest = match batch.split_first() {
        Some((&FORMAT, rest)) => rest,
        Some((&other, _)) => return Err(BatchError::Format(other)),
        None => return Err(BatchError::Empty),
    };
    Ok(std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        match postcard::take_from_bytes(rest) {
            Ok((entry, left)) => {
                rest = left;
                Some(Ok(entry))
            }
            Err(error) => {
                rest = &[];
                Some(Err(error.into()))
            }
        }
    }))
}

impl<'a> From<Origin<'a>> for Actor<'a> {
    fn from(origin: Origin<'a>) -> Self {
        Actor {
            session: origin.session,
            user: origin.user,
        }
    }
}

impl<'a> PropertiesEntry<'a> {
    /// None where nothing is set.
    pub(crate) fn of(p: &'a PublishProperties) -> Option<Box<Self>> {
        if *p == PublishProperties::default() {
            return None;
        }
        Some(Box::new(PropertiesEntry {
            payload_format_indicator: p.payload_format_indicator,
            message_expiry: p.message_expiry,
            content_type: p.content_type.as_deref(),
            response_topic: p.response_topic.as_deref(),
            correlation_data: p.correlation_data.as_deref(),
            user_properties: p
                .user_properties
                .iter()
                .map(|(n, v)| (&**n, &**v))
                .collect(),
        }))
    }
}

/// serde would write a slice of bytes one by one.
fn as_bytes<S: Serializer>(bytes: &&[u8], s: S) -> Result<S::Ok, S::Error> {
    s.serialize_bytes(bytes)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;

    const WHO: Origin<'_> = Origin {
        session: SessionId {
            client: 7,
            incarnation: 9,
        },
        user: "alice",
    };

    #[test]
    fn a_batch_gives_back_its_entries_in_order() {
        let properties = PropertiesEntry {
            payload_format_indicator: Some(true),
            message_expiry: Some(5),
            content_type: Some("text/plain"),
            response_topic: None,
            correlation_data: Some(&[1, 2]),
            user_properties: vec![("a", "b")],
        };
        let entries = [
            Entry::Publish(PublishEntry {
                at: 1,
                origin: Some(WHO),
                topic: "a/b",
                payload: b"hi",
                qos: QoS::AtLeastOnce,
                retain: true,
                properties: Some(Box::new(properties)),
            }),
            Entry::Unsubscribe(UnsubscribeEntry {
                at: 2,
                who: WHO,
                request_id: 3,
                filters: vec![(0, "a/#")],
            }),
            Entry::Ended(DisconnectEntry {
                at: 3,
                who: WHO,
                reason: EndReason::Lost("why".into()),
            }),
            Entry::Timer {
                at: 4,
                key: "k",
                generation: 5,
            },
            Entry::Disconnected(DisconnectEntry {
                at: 5,
                who: WHO,
                reason: EndReason::Orderly,
            }),
            Entry::Barrier(6),
        ];
        let mut batch = Batch::default();
        for entry in &entries {
            batch.push(entry);
        }
        let bytes = batch.into_bytes();
        let back: Vec<_> = read_batch(&bytes).unwrap().map(Result::unwrap).collect();
        assert_eq!(back, entries);
    }

    #[test]
    fn another_format_is_named() {
        assert!(matches!(
            read_batch(&[9]).err(),
            Some(BatchError::Format(9))
        ));
        assert!(matches!(read_batch(&[]).err(), Some(BatchError::Empty)));
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            if let Ok(entries) = read_batch(&bytes) {
                prop_assert!(entries.count() <= 200);
            }
        }
    }
}
