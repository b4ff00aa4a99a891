//! A batch: entries that take one place in a lane's log together, and the header before them.

use super::entry::Entry;
use crate::{RulesError, WallTime};
use bytes::{Buf, BufMut, Bytes};
use std::borrow::Borrow;

/// The format that this version writes, and the latest that it can read.
const FORMAT: u8 = 5;

/// The oldest version that can read what this one writes. A change to [`Entry`] or to the header
/// that older versions cannot read sets it to [`FORMAT`].
const MIN_READER: u8 = 5;

/// Entries of a batch, at most.
pub const BATCH_ENTRIES: usize = 1_024;

/// Bytes of a batch with more than one entry, at most. Topic aliases are expanded in an entry, so a
/// packet of eight bytes may need 64 KiB here.
pub const BATCH_BYTES: usize = 256 << 10;

/// Bytes of an encoded header.
const HEADER_LEN: usize = CHECKSUM_AT + 4;

/// Where the checksum is in it.
const CHECKSUM_AT: usize = 38;

/// The identity of a batch in its lane, and the time of its entries.
///
/// The writer gives its batches the numbers 1, 2, 3 and so on in each lane, and begins again at 1
/// in each term. So a lane recognizes a batch that comes twice, and one that is missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BatchHeader {
    /// The node that wrote the batch.
    pub writer: u32,
    /// The run of that node: another after each start.
    pub term: u64,
    /// Counts the batches of this writer and term in the lane, from 1, without holes.
    pub number: u64,
    /// When the batch got its number, in milliseconds of lane time.
    pub at: u64,
    /// The same by the clock that people see.
    pub wall: WallTime,
}

/// Entries that are appended to one lane's log together.
///
/// ```text
///  byte 0       1           2       6     14      22    30     38        42
/// +--------+------------+--------+------+--------+----+------+---------+------------------+----
/// | FORMAT | MIN_READER | writer | term | number | at | wall | CRC-32C | entry (postcard) | ...
/// +--------+------------+--------+------+--------+----+------+---------+------------------+----
/// ```
///
/// Numbers are little endian. The checksum covers the entries, then all that is before itself.
///
/// A batch takes one place in the lane's order: no other entry comes between its entries. It is
/// bounded by [`BATCH_ENTRIES`] and [`BATCH_BYTES`], but a single entry of any size fits.
///
/// Entries that are applied in place are never encoded: their [`BatchHeader`] is a value beside them.
#[derive(Debug, Default)]
pub struct Batch {
    /// The entries, behind a gap for the header. Empty if there is no entry.
    bytes: Vec<u8>,
    entries: usize,
}

/// The batch has no capacity for one more entry. Nothing was added to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BatchFull;

/// Why a batch, or the rest of one, cannot be applied, and what to do about it. Its lane must stop:
/// a lane that skips an entry has a state that does not follow from its log.
#[derive(Debug, thiserror::Error)]
pub enum BatchError {
    /// A newer version of the server wrote it.
    #[error(
        "a batch needs a version that reads format {0}, and this one reads up to format {FORMAT}; \
         restart the server with the version that wrote the batch"
    )]
    NeedsReader(u8),
    /// A bug, or a damaged log.
    #[error("a batch is damaged: its checksum is wrong; restart the server and report this")]
    Checksum,
    /// A bug: the checksum was right.
    #[error("a batch is whole, and holds no valid entry: {0}; restart the server and report this")]
    Entry(#[from] postcard::Error),
    /// A bug: a log that nobody else writes to repeats nothing and loses nothing.
    #[error("batch {0} of this server is out of turn; restart the server and report this")]
    OutOfTurn(u64),
    /// Another version of the server wrote the rules, a bug, or a damaged log.
    #[error("{0}; restart the server with the version that wrote these rules")]
    Rules(RulesError),
}

impl Batch {
    /// A batch of one entry.
    #[must_use]
    pub fn of(entry: &Entry<'_>) -> Self {
        let mut batch = Batch::default();
        batch.encode(entry);
        batch
    }

    /// As few batches as the entries need, in their order.
    pub fn all_of<'a>(entries: impl IntoIterator<Item: Borrow<Entry<'a>>>) -> Vec<Self> {
        let mut batches: Vec<Batch> = Vec::new();
        for entry in entries {
            let (entry, last) = (entry.borrow(), batches.last_mut());
            if last.is_none_or(|batch| batch.push(entry).is_err()) {
                batches.push(Batch::of(entry));
            }
        }
        batches
    }

    /// Adds an entry behind those that are in the batch.
    ///
    /// # Errors
    /// The batch would exceed a limit. An empty batch takes every entry.
    pub fn push(&mut self, entry: &Entry<'_>) -> Result<(), BatchFull> {
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
            self.bytes.reserve(HEADER_LEN + 256);
            self.bytes.resize(HEADER_LEN, 0);
        }
        self.entries += usize::from(entry.encode(&mut self.bytes));
    }

    /// The bytes that the sealed batch has.
    #[must_use]
    pub fn encoded_len(&self) -> usize {
        self.bytes.len().max(HEADER_LEN)
    }

    /// The encoded batch, for a log. A log may hold it for long, so spare capacity is given back.
    #[must_use]
    pub fn seal(mut self, header: &BatchHeader) -> Bytes {
        self.bytes.resize(self.encoded_len(), 0);
        let (mut fields, entries) = self.bytes.split_at_mut(HEADER_LEN);
        let entries = crc32c::crc32c(entries);
        fields.put_u8(FORMAT);
        fields.put_u8(MIN_READER);
        fields.put_u32_le(header.writer);
        fields.put_u64_le(header.term);
        fields.put_u64_le(header.number);
        fields.put_u64_le(header.at);
        fields.put_u64_le(header.wall.0);
        let checksum = crc32c::crc32c_append(entries, &self.bytes[..CHECKSUM_AT]);
        self.bytes[CHECKSUM_AT..HEADER_LEN].copy_from_slice(&checksum.to_le_bytes());
        self.bytes.into_boxed_slice().into()
    }
}

/// Reads a sealed batch.
///
/// # Errors
/// A newer version wrote it, or it is damaged.
pub fn read(batch: &[u8]) -> Result<(BatchHeader, Entries<'_>), BatchError> {
    // This check comes first: a newer format may arrange all that is behind this byte differently.
    if let Some(&reader) = batch.get(1)
        && reader > FORMAT
    {
        return Err(BatchError::NeedsReader(reader));
    }
    let Some((mut header, entries)) = batch.split_at_checked(HEADER_LEN) else {
        return Err(BatchError::Checksum);
    };
    let checksum = crc32c::crc32c_append(crc32c::crc32c(entries), &header[..CHECKSUM_AT]);
    header.advance(2);
    let fields = BatchHeader {
        writer: header.get_u32_le(),
        term: header.get_u64_le(),
        number: header.get_u64_le(),
        at: header.get_u64_le(),
        wall: WallTime(header.get_u64_le()),
    };
    if header.get_u32_le() != checksum {
        return Err(BatchError::Checksum);
    }
    Ok((fields, Entries(entries)))
}

impl<'a> Entries<'a> {
    /// Those that have not been read, encoded.
    #[must_use]
    pub fn as_bytes(&self) -> &'a [u8] {
        self.0
    }
}

/// The entries of a batch, in order. After the first that cannot be read there is no other.
#[derive(Debug)]
pub struct Entries<'a>(&'a [u8]);

impl<'a> Iterator for Entries<'a> {
    type Item = Result<Entry<'a>, BatchError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        match Entry::decode(self.0) {
            Ok((entry, rest)) => {
                self.0 = rest;
                Some(Ok(entry))
            }
            Err(error) => {
                self.0 = &[];
                Some(Err(error.into()))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::super::entry::{DisconnectEntry, PropertiesEntry, PublishEntry, UnsubscribeEntry};
    use super::*;
    use crate::{Actor, EndReason, SessionId};
    use proptest::collection::vec;
    use proptest::prelude::*;
    use proptest::sample::Index;
    use roommq_mqtt::packet::QoS;
    use roommq_mqtt::session::MessageNo;

    const WHO: Actor<'_> = Actor {
        session: SessionId { term: 9, n: 7 },
        connection: 1,
        user: "alice",
    };

    const HEADER: BatchHeader = BatchHeader {
        writer: 1,
        term: 2,
        number: 3,
        at: 4,
        wall: WallTime(5),
    };

    #[test]
    fn a_batch_is_read_as_it_was_written() {
        let properties = PropertiesEntry {
            payload_format_indicator: Some(true),
            message_expiry: Some(5),
            content_type: Some("text/plain"),
            response_topic: None,
            correlation_data: Some(&[1, 2]),
            user_properties: vec![("a".into(), "b".into())].into(),
        };
        let entries = [
            Entry::Publish(PublishEntry {
                origin: Some(WHO),
                topic: "a/b",
                payload: b"hi",
                qos: QoS::AtLeastOnce,
                retain: true,
                properties: Some(Box::new(properties)),
            }),
            Entry::Unsubscribe(UnsubscribeEntry {
                who: WHO,
                request_id: 3,
                filters: vec![(0, "a/#")],
            }),
            Entry::Ended(DisconnectEntry {
                who: WHO,
                reason: EndReason::Lost("why".into()),
                sent: MessageNo::NONE,
                authenticated: false,
            }),
            Entry::Timer {
                key: "k",
                generation: 5,
            },
            Entry::Disconnected(DisconnectEntry {
                who: WHO,
                reason: EndReason::Orderly,
                sent: MessageNo::NONE,
                authenticated: false,
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
        assert_eq!(entries_of(batch.read()), entries);
        let bytes = batch.seal(&HEADER);
        let (header, sealed) = read(&bytes).unwrap();
        assert_eq!(header, HEADER);
        assert_eq!(entries_of(sealed), entries);
    }

    impl Batch {
        fn read(&self) -> Entries<'_> {
            Entries(&self.bytes[HEADER_LEN..])
        }
    }

    fn entries_of(entries: Entries<'_>) -> Vec<Entry<'_>> {
        entries.map(Result::unwrap).collect()
    }

    /// A message by the server with so many bytes.
    fn message(payload: &[u8]) -> Entry<'_> {
        Entry::Publish(PublishEntry::of_server("t", payload))
    }

    #[test]
    fn a_batch_is_bounded_by_entries_and_by_bytes() {
        let mut batch = Batch::default();
        for _ in 0..BATCH_ENTRIES {
            assert_eq!(batch.push(&message(b"x")), Ok(()));
        }
        let len = batch.encoded_len();
        assert_eq!(batch.push(&message(b"x")), Err(BatchFull));
        assert_eq!(batch.encoded_len(), len, "it has not changed");

        let half = vec![7; BATCH_BYTES / 2];
        let mut batch = Batch::of(&message(&half));
        assert_eq!(batch.push(&message(&half)), Err(BatchFull));
        assert_eq!(batch.push(&message(b"x")), Ok(()), "a small one still fits");
        let len = batch.encoded_len();
        let bytes = batch.seal(&HEADER);
        assert!(bytes.len() == len && len <= BATCH_BYTES);
        assert_eq!(read(&bytes).unwrap().1.count(), 2);
    }

    #[test]
    fn one_entry_of_any_size_fits() {
        let large = vec![7; 2 * BATCH_BYTES];
        let mut batch = Batch::default();
        assert_eq!(batch.push(&message(&large)), Ok(()));
        assert_eq!(batch.push(&message(b"x")), Err(BatchFull));
        assert_eq!(entries_of(batch.read()), [message(&large)]);
    }

    #[test]
    fn entries_fill_batches_in_order() {
        let payloads: Vec<Vec<u8>> = (0..10).map(|n| vec![n; BATCH_BYTES / 4]).collect();
        let batches = Batch::all_of(payloads.iter().map(|payload| message(payload)));
        let mut back = Vec::new();
        for batch in batches {
            let entries = entries_of(batch.read());
            assert!((1..=3).contains(&entries.len()));
            back.extend(entries.iter().map(|entry| match entry {
                Entry::Publish(publish) => publish.payload.to_vec(),
                other => panic!("{other:?}"),
            }));
        }
        assert_eq!(back, payloads);
    }

    #[test]
    fn a_header_has_its_bytes_in_the_order_of_the_format() {
        let expected = [
            &[5, 5][..],
            &[1, 0, 0, 0],
            &[2, 0, 0, 0, 0, 0, 0, 0],
            &[3, 0, 0, 0, 0, 0, 0, 0],
            &[4, 0, 0, 0, 0, 0, 0, 0],
            &[5, 0, 0, 0, 0, 0, 0, 0],
        ];
        let expected = expected.concat();
        let bytes = Batch::default().seal(&HEADER);
        assert_eq!(bytes[..CHECKSUM_AT], expected);
        let checksum = crc32c::crc32c(&expected).to_le_bytes();
        assert_eq!(bytes[CHECKSUM_AT..], checksum);
        assert_eq!(read(&bytes).unwrap().1.count(), 0);
    }

    #[test]
    fn the_error_says_what_was_read_and_what_to_do() {
        let mut bytes = Batch::of(&message(b"x")).seal(&HEADER).to_vec();
        (bytes[0], bytes[1]) = (9, 8);
        assert_eq!(
            read(&bytes).unwrap_err().to_string(),
            "a batch needs a version that reads format 8, and this one reads up to format 5; \
             restart the server with the version that wrote the batch"
        );
    }

    #[test]
    fn a_newer_batch_that_this_version_can_read_is_read() {
        let bytes = Batch::of(&message(b"x")).seal(&HEADER);
        let mut bytes = bytes.to_vec();
        bytes[0] = FORMAT + 1;
        let covered = [&bytes[HEADER_LEN..], &bytes[..CHECKSUM_AT]].concat();
        let checksum = crc32c::crc32c(&covered).to_le_bytes();
        bytes[CHECKSUM_AT..HEADER_LEN].copy_from_slice(&checksum);
        let (_, entries) = read(&bytes).unwrap();
        assert_eq!(entries_of(entries), [message(b"x")]);
    }

    prop_compose! {
        fn headers()(
            writer: u32, term: u64, number: u64, at: u64, wall: u64
        ) -> BatchHeader {
            BatchHeader { writer, term, number, at, wall: WallTime(wall) }
        }
    }

    prop_compose! {
        /// A sealed batch of messages with these payloads.
        fn sealed()(
            header in headers(),
            payloads in vec(vec(any::<u8>(), 0..50), 0..5),
        ) -> (BatchHeader, Vec<Vec<u8>>, Bytes) {
            let mut batch = Batch::default();
            for payload in &payloads {
                batch.push(&message(payload)).unwrap();
            }
            (header, payloads, batch.seal(&header))
        }
    }

    proptest! {
        #[test]
        fn a_sealed_batch_is_read_as_it_was_written((header, payloads, bytes) in sealed()) {
            let (read_header, entries) = read(&bytes).unwrap();
            prop_assert_eq!(read_header, header);
            let expected: Vec<_> = payloads.iter().map(|payload| message(payload)).collect();
            prop_assert_eq!(entries_of(entries), expected);
        }

        #[test]
        fn a_damaged_batch_is_refused(
            (_, _, bytes) in sealed(),
            at: Index,
            change in 1_u8..,
            behind in vec(any::<u8>(), 1..50),
        ) {
            let mut damaged = bytes.to_vec();
            damaged[at.index(bytes.len())] ^= change;
            prop_assert!(read(&damaged).is_err(), "a byte changed");
            prop_assert!(read(&bytes[..at.index(bytes.len())]).is_err(), "the end is missing");
            damaged = [&bytes[..], &behind].concat();
            prop_assert!(read(&damaged).is_err(), "there is more behind it");
        }

        #[test]
        fn arbitrary_bytes_are_refused(bytes in vec(any::<u8>(), 0..200)) {
            prop_assert!(read(&bytes).is_err());
            prop_assert!(Entries(&bytes).count() <= 200);
        }
    }
}
