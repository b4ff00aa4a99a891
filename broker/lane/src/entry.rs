//! The entries of a lane's log, and how one is encoded.
//!
//! An entry is self-contained: it carries ids instead of pointers, and everything that the policy
//! decided before. Its time is that of its batch. Every node that applies the same log therefore
//! reaches the same state.

use crate::{Actor, EndReason, Mount, Request, SessionId};
use bytes::Bytes;
use bytestring::ByteString;
use postcard::ser_flavors::Flavor;
use roommq_mqtt::packet::{PublishProperties, QoS, SubscribeOptions};
use roommq_mqtt::session::{Done, MessageNo};
use serde::{Deserialize, Serialize, Serializer};
use std::borrow::Cow;

/// One thing that happens in a lane.
///
/// Alice joins, publishes, and loses her connection; her session is kept for a while. The lane's
/// log, with Alice's session 7 and its connection 1 as `7.1`:
///
/// ```text
/// position  entry
///       17  Subscribe     who: 7.1 alice, request_id: 3, filters: [0: chat/berlin/#]
///       18  Publish       origin: 7.1 alice, topic: chat/berlin/main, payload: "hi"
///       19  Disconnected  who: 7.1 alice, reason: Lost("keep-alive timed out")
///       20  Publish       origin: 9.4 bob, ...      (waits in Alice's queue)
///       21  Resume        who: 7.2 alice, ...       (connection 2: 7.1 is stale from now on)
/// ```
///
/// The order of the variants is part of the format: each is encoded by its number.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Entry<'a> {
    /// An application message.
    #[serde(borrow)]
    Publish(PublishEntry<'a>),
    /// The filters of one SUBSCRIBE that belong to this lane, or some of them: a long list is
    /// split.
    Subscribe(SubscribeEntry<'a>),
    /// The same for one UNSUBSCRIBE.
    Unsubscribe(UnsubscribeEntry<'a>),
    /// The connection has ended and the session stays, offline: its subscriptions keep receiving.
    Disconnected(DisconnectEntry<'a>),
    /// The session has ended, with its connection or later: its subscriptions are removed.
    Ended(DisconnectEntry<'a>),
    /// An offline session has a connection again. The entry lists the filters that the policy still
    /// allows, whose options the lane knows; it removes all other subscriptions of that session.
    Resume(SubscribeEntry<'a>),
    /// A timer that this lane had asked for has fired.
    Timer {
        /// The key that it was set by: the hook's own, or the lane's for retained messages that
        /// expire.
        key: &'a str,
        /// The hook's own; it ignores a generation that is not its latest.
        generation: u64,
    },
    /// The configuration that decides outcomes in this lane, from here on.
    Rules {
        /// Grows with each change. Rules whose version is not above that of the present ones change
        /// nothing.
        version: u64,
        /// The encoded [`LaneRules`](super::rules::LaneRules).
        #[serde(serialize_with = "as_bytes")]
        body: &'a [u8],
    },
    /// A session has finished with messages in its queue.
    Done(DoneEntry),
}

/// An application message.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PublishEntry<'a> {
    /// The sender. None: the server itself, which no hook judges.
    #[serde(borrow)]
    pub origin: Option<Actor<'a>>,
    /// The topic, with aliases resolved.
    pub topic: &'a str,
    #[serde(serialize_with = "as_bytes")]
    /// Any bytes.
    pub payload: &'a [u8],
    /// The sender's.
    pub qos: QoS,
    /// Whether the sender asks to retain it.
    pub retain: bool,
    /// None if no property is set.
    pub properties: Option<Box<PropertiesEntry<'a>>>,
}

impl<'a> PublishEntry<'a> {
    /// A message of the server itself: QoS 1, not retained, without properties.
    #[must_use]
    pub fn of_server(topic: &'a str, payload: &'a [u8]) -> Self {
        PublishEntry {
            origin: None,
            topic,
            payload,
            qos: QoS::AtLeastOnce,
            retain: false,
            properties: None,
        }
    }
}

/// The properties of an application message that subscribers receive.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PropertiesEntry<'a> {
    /// True: the payload is UTF-8.
    pub payload_format_indicator: Option<bool>,
    /// In seconds.
    pub message_expiry: Option<u32>,
    /// As the sender set it.
    pub content_type: Option<&'a str>,
    /// As the sender set it, with `inbox/me` resolved.
    pub response_topic: Option<&'a str>,
    #[serde(borrow)]
    /// As the sender set it.
    pub correlation_data: Option<&'a [u8]>,
    /// In the order in which the sender set them. Borrowed unless the entry was decoded.
    pub user_properties: Cow<'a, [(ByteString, ByteString)]>,
}

/// Filters that a session asks for, in a SUBSCRIBE or when it is resumed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SubscribeEntry<'a> {
    #[serde(borrow)]
    /// The client.
    pub who: Actor<'a>,
    /// The session's number for this request. Several lanes may answer one request by it.
    pub request_id: u32,
    /// Whether the session may outlive its connection: then the lane keeps its QoS 1 and 2 messages
    /// until it has finished with them.
    pub keeps: bool,
    /// The subscription identifier of the packet; 0: none.
    pub identifier: u32,
    #[serde(borrow)]
    /// At least one.
    pub filters: Vec<FilterEntry<'a>>,
}

/// One filter of a SUBSCRIBE, as the policy granted it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FilterEntry<'a> {
    /// The number of the filter in its packet, from 0. Its reason code has the same place in the
    /// answer.
    pub position: u16,
    /// With aliases resolved; a shared one begins with `$share/`.
    pub filter: &'a str,
    /// As the client asked for them.
    pub options: SubscribeOptions,
    /// How topics are renamed for this subscriber.
    pub mount: Option<Mount>,
    /// The hook is asked before each message whether this subscriber may see its topic.
    pub guarded: bool,
    /// The policy's findings, for the lane's hook.
    #[serde(borrow, serialize_with = "as_bytes")]
    pub proof: &'a [u8],
}

impl<'a> FilterEntry<'a> {
    /// The part that the lane's hook judges.
    #[must_use]
    pub fn request(&self) -> Request<'a> {
        Request {
            filter: self.filter,
            proof: self.proof,
        }
    }
}

/// Filters that a session gives up.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct UnsubscribeEntry<'a> {
    #[serde(borrow)]
    /// The client.
    pub who: Actor<'a>,
    /// As in [`SubscribeEntry::request_id`].
    pub request_id: u32,
    /// Each with its position in the packet.
    #[serde(borrow)]
    pub filters: Vec<(u16, &'a str)>,
}

/// A session that lost its connection, or that ended: the variant of [`Entry`] says which.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DisconnectEntry<'a> {
    #[serde(borrow)]
    /// The client.
    pub who: Actor<'a>,
    /// Why: the hook may tell other users.
    pub reason: EndReason,
    /// For a session that stays: all messages in its queue up to this one were sent to it, or it has
    /// finished with them.
    pub sent: MessageNo,
    /// Whether its user has shown credentials. Sessions without are evicted first.
    pub authenticated: bool,
}

/// Messages that a session has finished with: acknowledged or given up. The lane may hear the same
/// twice, and late.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DoneEntry {
    /// The session.
    pub session: SessionId,
    /// The messages, by their numbers in the lane.
    pub done: Done,
}

impl<'a> Entry<'a> {
    /// The entry alone, for what keeps one outside of a batch.
    #[must_use]
    pub fn to_bytes(&self) -> Bytes {
        let mut bytes = Vec::with_capacity(256);
        self.encode(&mut bytes);
        bytes.into_boxed_slice().into()
    }

    /// Adds the encoded entry to `bytes`. False, and nothing is added, if it cannot be encoded.
    pub(super) fn encode(&self, bytes: &mut Vec<u8>) -> bool {
        let before = bytes.len();
        let encoded = postcard::serialize_with_flavor(self, Behind(bytes));
        // Writing to a Vec cannot fail, so this is a bug.
        debug_assert!(encoded.is_ok(), "{encoded:?}");
        if encoded.is_err() {
            bytes.truncate(before);
        }
        encoded.is_ok()
    }

    /// The first entry of `bytes`, and the bytes behind it.
    pub fn decode(bytes: &'a [u8]) -> postcard::Result<(Self, &'a [u8])> {
        postcard::take_from_bytes(bytes)
    }
}

impl<'a> PropertiesEntry<'a> {
    /// The properties as an entry carries them; none if no property is set.
    pub fn of(p: &'a PublishProperties) -> Option<Box<Self>> {
        if *p == PublishProperties::default() {
            return None;
        }
        Some(Box::new(PropertiesEntry {
            payload_format_indicator: p.payload_format_indicator,
            message_expiry: p.message_expiry,
            content_type: p.content_type.as_deref(),
            response_topic: p.response_topic.as_deref(),
            correlation_data: p.correlation_data.as_deref(),
            user_properties: Cow::Borrowed(&p.user_properties),
        }))
    }

    /// The inverse of [`of`](Self::of): copies, which a read of a socket or a log does not outlive.
    pub(super) fn to_properties(&self) -> PublishProperties {
        PublishProperties {
            payload_format_indicator: self.payload_format_indicator,
            message_expiry: self.message_expiry,
            content_type: self.content_type.map(Into::into),
            response_topic: self.response_topic.map(Into::into),
            correlation_data: self.correlation_data.map(Bytes::copy_from_slice),
            user_properties: self.user_properties.to_vec(),
        }
    }
}

/// Encodes behind the bytes of a vector. Unlike postcard's own flavors it copies a string at once
/// also where nothing is optimized, as in tests.
pub(super) struct Behind<'a>(pub &'a mut Vec<u8>);

impl Flavor for Behind<'_> {
    type Output = ();

    fn try_push(&mut self, byte: u8) -> postcard::Result<()> {
        self.0.push(byte);
        Ok(())
    }

    fn try_extend(&mut self, bytes: &[u8]) -> postcard::Result<()> {
        self.0.extend_from_slice(bytes);
        Ok(())
    }

    fn finalize(self) -> postcard::Result<()> {
        Ok(())
    }
}

/// Writes a slice of bytes in one piece: by default, serde writes it byte by byte.
pub(super) fn as_bytes<S: Serializer>(bytes: &&[u8], s: S) -> Result<S::Ok, S::Error> {
    s.serialize_bytes(bytes)
}
