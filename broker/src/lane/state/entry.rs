//! The entries of a lane's log, and how a batch of them is encoded.
//!
//! An entry is self-contained: it carries ids instead of pointers, its own time, and everything
//! that the policy decided before. Every node that applies the same log therefore reaches the same
//! state.

use crate::packet::{PublishProperties, QoS, SubscribeOptions};
use crate::policy::{Actor, EndReason, Mount, Request, RulesError};
use postcard::ser_flavors::Flavor;
use serde::{Deserialize, Serialize, Serializer};

/// The first byte of every batch. A change to [`Entry`] that old readers cannot decode changes it.
const FORMAT: u8 = 2;

/// Entries of a batch, at most.
pub(crate) const BATCH_ENTRIES: usize = 1_024;

/// Bytes of a batch with more than one entry, at most. Topic aliases are expanded in an entry, so a
/// packet of eight bytes may need 64 KiB here.
pub(crate) const BATCH_BYTES: usize = 256 << 10;

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
///       20  Publish       origin: 9.4 bob, ...      (waits in Alice's outbox)
///       21  Resume        who: 7.2 alice, ...       (connection 2: 7.1 is stale from now on)
/// ```
///
/// The order of the variants is part of the format: each is encoded by its number.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) enum Entry<'a> {
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
        /// When it fired, in milliseconds since the Unix epoch.
        at: u64,
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
}

/// An application message.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct PublishEntry<'a> {
    /// When the server received it, in milliseconds since the Unix epoch. Its expiry counts from
    /// here.
    pub at: u64,
    /// The sender. None: the server itself, which no hook judges.
    #[serde(borrow)]
    pub origin: Option<Actor<'a>>,
    pub topic: &'a str,
    #[serde(serialize_with = "as_bytes")]
    pub payload: &'a [u8],
    pub qos: QoS,
    pub retain: bool,
    pub properties: Option<Box<PropertiesEntry<'a>>>,
}

impl<'a> PublishEntry<'a> {
    /// A message of the server itself: QoS 1, not retained, without properties.
    pub(crate) fn of_server(at: u64, topic: &'a str, payload: &'a [u8]) -> Self {
        PublishEntry {
            at,
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
pub(crate) struct PropertiesEntry<'a> {
    /// True: the payload is UTF-8.
    pub payload_format_indicator: Option<bool>,
    /// In seconds.
    pub message_expiry: Option<u32>,
    pub content_type: Option<&'a str>,
    pub response_topic: Option<&'a str>,
    #[serde(borrow)]
    pub correlation_data: Option<&'a [u8]>,
    #[serde(borrow)]
    pub user_properties: Vec<(&'a str, &'a str)>,
}

/// Filters that a session asks for, in a SUBSCRIBE or when it is resumed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct SubscribeEntry<'a> {
    /// In milliseconds since the Unix epoch.
    pub at: u64,
    #[serde(borrow)]
    pub who: Actor<'a>,
    /// The session's number for this request. Several lanes may answer one request by it.
    pub request_id: u32,
    /// The subscription identifier of the packet; 0: none.
    pub identifier: u32,
    #[serde(borrow)]
    pub filters: Vec<FilterEntry<'a>>,
}

/// One filter of a SUBSCRIBE, as the policy granted it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct FilterEntry<'a> {
    /// The number of the filter in its packet, from 0. Its reason code has the same place in the
    /// answer.
    pub position: u16,
    /// With aliases resolved; a shared one begins with `$share/`.
    pub filter: &'a str,
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
    pub(crate) fn request(&self) -> Request<'a> {
        Request {
            filter: self.filter,
            proof: self.proof,
        }
    }
}

/// Filters that a session gives up.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct UnsubscribeEntry<'a> {
    /// In milliseconds since the Unix epoch.
    pub at: u64,
    #[serde(borrow)]
    pub who: Actor<'a>,
    /// As in [`SubscribeEntry::request_id`].
    pub request_id: u32,
    /// Each with its position in the packet.
    #[serde(borrow)]
    pub filters: Vec<(u16, &'a str)>,
}

/// A session that lost its connection, or that ended: the variant of [`Entry`] says which.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct DisconnectEntry<'a> {
    /// In milliseconds since the Unix epoch.
    pub at: u64,
    #[serde(borrow)]
    pub who: Actor<'a>,
    /// Why: the hook may tell other users.
    pub reason: EndReason,
}

/// Encoded entries that are appended to one lane's log together.
///
/// ```text
/// +--------+------------------+------------------+----
/// | FORMAT | entry (postcard) | entry (postcard) | ...
/// +--------+------------------+------------------+----
/// ```
///
/// A batch takes one place in the lane's order: no other entry comes between its entries. It is
/// bounded by [`BATCH_ENTRIES`] and [`BATCH_BYTES`], but a single entry of any size fits.
#[derive(Debug, Default)]
pub(crate) struct Batch {
    bytes: Vec<u8>,
    entries: usize,
}

/// The batch has no capacity for one more entry. Nothing was added to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct BatchFull;

/// Why a batch, or the rest of one, cannot be read, and what to do about it. Its lane must stop: a
/// lane that skips an entry has a state that does not follow from its log.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BatchError {
    /// Another version of the server wrote it.
    #[error(
        "a batch has format {0}, and this version reads format {FORMAT}; \
         restart the server with the version that wrote the batch"
    )]
    Format(u8),
    /// A bug, or a damaged log.
    #[error("a batch is empty; restart the server and report this")]
    Empty,
    /// A bug, or a damaged log.
    #[error(
        "a batch of the right format holds no valid entry: {0}; restart the server and report this"
    )]
    Entry(#[from] postcard::Error),
    /// Another version of the server wrote the rules, a bug, or a damaged log.
    #[error("{0}; restart the server with the version that wrote these rules")]
    Rules(RulesError),
}

impl Batch {
    /// A batch of one entry.
    pub(crate) fn of(entry: &Entry<'_>) -> Self {
        let mut batch = Batch::default();
        batch.encode(entry);
        batch
    }

    /// As few batches as the entries need, in their order.
    pub(crate) fn all_of<'a>(entries: impl Iterator<Item = Entry<'a>>) -> Vec<Self> {
        let mut batches: Vec<Batch> = Vec::new();
        for entry in entries {
            let last = batches.last_mut();
            if last.is_none_or(|batch| batch.push(&entry).is_err()) {
                batches.push(Batch::of(&entry));
            }
        }
        batches
    }

    /// Adds an entry behind those that are in the batch.
    ///
    /// # Errors
    /// The batch would exceed a limit. An empty batch takes every entry.
    pub(crate) fn push(&mut self, entry: &Entry<'_>) -> Result<(), BatchFull> {
        let (entries, len) = (self.entries, self.bytes.len());
        if entries >= BATCH_ENTRIES {
            return Err(BatchFull);
        }
        self.encode(entry);
        if entries > 0 && self.bytes.len() > BATCH_BYTES {
            self.bytes.truncate(len);
            self.entries = entries;
            return Err(BatchFull);
        }
        Ok(())
    }

    fn encode(&mut self, entry: &Entry<'_>) {
        if self.bytes.is_empty() {
            self.bytes.reserve(256);
            self.bytes.push(FORMAT);
        }
        let before = self.bytes.len();
        match postcard::serialize_with_flavor(entry, Behind(&mut self.bytes)) {
            Ok(()) => self.entries += 1,
            // Writing to a Vec cannot fail, so this is a bug.
            Err(error) => {
                tracing::error!(%error, "an entry could not be encoded");
                self.bytes.truncate(before);
            }
        }
    }

    /// How many entries are in the batch.
    pub(crate) fn entries(&self) -> usize {
        self.entries
    }

    /// The bytes that the batch has when it is encoded.
    pub(crate) fn len(&self) -> usize {
        self.bytes.len()
    }

    /// The encoded batch. A log may hold it for long, so spare capacity is given back.
    pub(crate) fn into_bytes(self) -> bytes::Bytes {
        self.bytes.into_boxed_slice().into()
    }
}

/// The entries of a batch, in order. After the first that cannot be read there is no other.
///
/// # Errors
/// The batch is empty or has an unknown format.
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

impl<'a> PropertiesEntry<'a> {
    /// The properties as an entry carries them; none if no property is set.
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

/// Encodes behind the bytes of a vector. Unlike postcard's own flavors it copies a string at once
/// also where nothing is optimized, as in tests.
struct Behind<'a>(&'a mut Vec<u8>);

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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::policy::SessionId;
    use proptest::prelude::*;

    const WHO: Actor<'_> = Actor {
        session: SessionId { term: 9, n: 7 },
        connection: 1,
        user: "alice",
    };

    #[test]
    fn a_batch_is_read_as_it_was_written() {
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
            Entry::Rules {
                version: 6,
                body: b"rules",
            },
        ];
        let mut batch = Batch::default();
        for entry in &entries {
            assert_eq!(batch.push(entry), Ok(()));
        }
        let bytes = batch.into_bytes();
        let back: Vec<_> = read_batch(&bytes).unwrap().map(Result::unwrap).collect();
        assert_eq!(back, entries);
    }

    /// A message by the server with so many bytes.
    fn message(payload: &[u8]) -> Entry<'_> {
        Entry::Publish(PublishEntry::of_server(0, "t", payload))
    }

    #[test]
    fn a_batch_is_bounded_by_entries_and_by_bytes() {
        let mut batch = Batch::default();
        for _ in 0..BATCH_ENTRIES {
            assert_eq!(batch.push(&message(b"x")), Ok(()));
        }
        let len = batch.len();
        assert_eq!(batch.push(&message(b"x")), Err(BatchFull));
        assert_eq!(batch.len(), len, "it has not changed");

        let half = vec![7; BATCH_BYTES / 2];
        let mut batch = Batch::of(&message(&half));
        assert_eq!(batch.push(&message(&half)), Err(BatchFull));
        assert_eq!(batch.push(&message(b"x")), Ok(()), "a small one still fits");
        let bytes = batch.into_bytes();
        assert!(bytes.len() <= BATCH_BYTES);
        assert_eq!(read_batch(&bytes).unwrap().count(), 2);
    }

    #[test]
    fn one_entry_of_any_size_fits() {
        let large = vec![7; 2 * BATCH_BYTES];
        let mut batch = Batch::default();
        assert_eq!(batch.push(&message(&large)), Ok(()));
        assert_eq!(batch.push(&message(b"x")), Err(BatchFull));
        let bytes = batch.into_bytes();
        let entries: Vec<_> = read_batch(&bytes).unwrap().map(Result::unwrap).collect();
        assert_eq!(entries, [message(&large)]);
    }

    #[test]
    fn entries_fill_batches_in_order() {
        let payloads: Vec<Vec<u8>> = (0..10).map(|n| vec![n; BATCH_BYTES / 4]).collect();
        let batches = Batch::all_of(payloads.iter().map(|payload| message(payload)));
        let mut back = Vec::new();
        for batch in batches {
            let bytes = batch.into_bytes();
            let entries: Vec<_> = read_batch(&bytes).unwrap().map(Result::unwrap).collect();
            assert!((1..=3).contains(&entries.len()));
            back.extend(entries.iter().map(|entry| match entry {
                Entry::Publish(publish) => publish.payload.to_vec(),
                other => panic!("{other:?}"),
            }));
        }
        assert_eq!(back, payloads);
    }

    #[test]
    fn an_unknown_format_is_refused_and_named() {
        assert!(matches!(
            read_batch(&[9]).err(),
            Some(BatchError::Format(9))
        ));
        assert!(matches!(read_batch(&[]).err(), Some(BatchError::Empty)));
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            if let Ok(entries) = read_batch(&bytes) {
                prop_assert!(entries.count() <= 200);
            }
        }
    }
}
