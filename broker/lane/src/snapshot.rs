//! The bytes of a lane's state: how they are framed, and how damage is noticed.
//!
//! ```text
//!   "RMQL" | FORMAT | MIN_READER | lane | lanes | tag | length | body | tag ... | digest
//!      4        2          2         2      2      1      8                         16
//! ```
//!
//! Numbers are in little endian. A body is written by postcard, and holds lists in a fixed order, so
//! equal states have equal bytes. The digest is the beginning of the SHA-256 of all bytes before it.
//!
//! Each type of the state has one pair of functions, `snapshot` and `restore`. `snapshot` takes the
//! type apart field by field, without `..`: a new field does not compile until somebody has decided
//! whether it is state. What follows from other fields is not written.

use super::entry::Behind;
use crate::RestoreError;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

const MAGIC: &[u8; 4] = b"RMQL";

/// The format of what is written, and the highest that can be read.
const FORMAT: u16 = 1;

/// The lowest format that a reader must know. A reader passes over sections that it does not know,
/// so a new section that may be ignored raises [`FORMAT`] alone.
const MIN_READER: u16 = 1;

/// The length of a digest.
const DIGEST: usize = 16;

/// A part of the state. The number is its tag.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Section {
    Clock = 1,
    Writers = 2,
    Rules = 3,
    Sessions = 4,
    Subscriptions = 5,
    Retained = 6,
    Timers = 7,
    Hook = 8,
    Messages = 9,
}

/// Writes a snapshot. [`finish`](Self::finish) must be called last.
pub(super) struct SnapshotWriter<'a> {
    out: &'a mut Vec<u8>,
    /// Where in `out` the snapshot begins.
    start: usize,
}

impl<'a> SnapshotWriter<'a> {
    /// Begins the snapshot of one of so many lanes behind the bytes of `out`.
    pub(super) fn begin(out: &'a mut Vec<u8>, lane: u16, lanes: u16) -> Self {
        let start = out.len();
        out.extend_from_slice(MAGIC);
        for number in [FORMAT, MIN_READER, lane, lanes] {
            out.extend_from_slice(&number.to_le_bytes());
        }
        SnapshotWriter { out, start }
    }

    pub(super) fn section(&mut self, section: Section, image: &impl Serialize) {
        self.out.push(section as u8);
        let length_at = self.out.len();
        self.out.extend_from_slice(&[0; 8]);
        let body_at = self.out.len();
        // Writing to a Vec cannot fail, and all lists know their length. If there were a bug, the
        // section would be cut off, and nothing could restore it.
        drop(postcard::serialize_with_flavor(image, Behind(self.out)));
        let length = (self.out.len() - body_at) as u64;
        self.out[length_at..body_at].copy_from_slice(&length.to_le_bytes());
    }

    /// Adds the digest, and returns it.
    pub(super) fn finish(self) -> [u8; DIGEST] {
        let digest = digest_of(&self.out[self.start..]);
        self.out.extend_from_slice(&digest);
        digest
    }
}

/// A snapshot whose frame is whole. The bodies have not been read yet.
#[derive(Debug)]
pub(super) struct SnapshotReader<'a> {
    /// The lane's number.
    pub lane: u16,
    sections: Vec<(u8, &'a [u8])>,
}

impl<'a> SnapshotReader<'a> {
    /// Checks all but the bodies. `lanes` is the number of lanes of this server.
    pub(super) fn open(bytes: &'a [u8], lanes: u16) -> Result<Self, RestoreError> {
        let mut rest = bytes.strip_prefix(MAGIC).ok_or(RestoreError::NoSnapshot)?;
        let mut number = || take(&mut rest).map(|bytes| u16::from_le_bytes(*bytes));
        let (_, needed, lane, found) = (number()?, number()?, number()?, number()?);
        if needed > FORMAT {
            let known = FORMAT;
            return Err(RestoreError::NeedsReader { needed, known });
        }
        let (mut rest, digest) = rest.split_last_chunk().ok_or(CUT_OFF)?;
        if digest_of(&bytes[..bytes.len() - DIGEST]) != *digest {
            return Err(RestoreError::Damaged("its checksum is wrong"));
        }
        if found != lanes {
            let expected = lanes;
            return Err(RestoreError::OtherLanes { found, expected });
        }
        let mut sections = Vec::new();
        while !rest.is_empty() {
            let [tag] = *take(&mut rest)?;
            let length = usize::try_from(u64::from_le_bytes(*take(&mut rest)?));
            let length = length.map_err(|_| CUT_OFF)?;
            let (body, after) = rest.split_at_checked(length).ok_or(CUT_OFF)?;
            if sections.iter().any(|(known, _)| *known == tag) {
                return Err(RestoreError::Damaged("a section is there twice"));
            }
            sections.push((tag, body));
            rest = after;
        }
        Ok(SnapshotReader { lane, sections })
    }

    /// The tags of the sections in which two snapshots by this version differ.
    pub(super) fn differences(&self, other: &SnapshotReader<'_>) -> Vec<u8> {
        let pairs = self.sections.iter().zip(&other.sections);
        let different = pairs.filter(|(one, two)| one != two);
        different.map(|((tag, _), _)| *tag).collect()
    }

    /// Reads a section, which must be there.
    pub(super) fn section<T: Deserialize<'a>>(&self, section: Section) -> Result<T, RestoreError> {
        let mut sections = self.sections.iter();
        let (_, body) = sections
            .find(|(tag, _)| *tag == section as u8)
            .ok_or(RestoreError::Damaged("a section is missing"))?;
        match postcard::take_from_bytes(body) {
            Ok((image, [])) => Ok(image),
            _ => Err(RestoreError::Damaged("a section cannot be read")),
        }
    }
}

const CUT_OFF: RestoreError = RestoreError::Damaged("it is cut off");

/// Takes the first bytes of `rest`.
fn take<'a, const N: usize>(rest: &mut &'a [u8]) -> Result<&'a [u8; N], RestoreError> {
    let (first, after) = rest.split_first_chunk().ok_or(CUT_OFF)?;
    *rest = after;
    Ok(first)
}

fn digest_of(bytes: &[u8]) -> [u8; DIGEST] {
    let hash: [u8; 32] = Sha256::digest(bytes).into();
    let mut digest = [0; DIGEST];
    digest.copy_from_slice(&hash[..DIGEST]);
    digest
}

#[cfg(test)]
#[path = "snapshot_tests.rs"]
mod tests;
