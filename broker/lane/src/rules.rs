//! The configuration that decides outcomes in a lane, as an entry brings it.

use super::entry::as_bytes;
use super::pending::QueueLimits;
use super::retained::RetainedLimits;
use crate::RulesError;
use serde::{Deserialize, Serialize};

/// The body of [`Entry::Rules`](super::entry::Entry::Rules).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct LaneRules<'a> {
    /// This lane's share, for messages that the hook does not limit itself.
    pub retained: RetainedLimits,
    /// Of each session that is offline.
    pub queue: QueueLimits,
    /// This lane's share of the memory for offline sessions, in bytes.
    pub offline_bytes: u64,
    /// The rules of the lane's hook, encoded by their owner.
    #[serde(serialize_with = "as_bytes")]
    pub hook: &'a [u8],
}

/// What a lane knows of its rules.
#[derive(Debug, Default)]
pub(super) enum RulesState {
    /// No entry has brought rules.
    #[default]
    Missing,
    /// The lane follows these rules.
    Present { version: u64, body: Box<[u8]> },
    /// The rules cannot be read, so that the lane must stop.
    Unreadable(RulesError),
}

impl LaneRules<'_> {
    /// The encoded rules.
    ///
    /// # Errors
    /// Encoding fails, which is a bug.
    pub fn to_bytes(self) -> Result<Vec<u8>, postcard::Error> {
        postcard::to_stdvec(&self)
    }

    /// Reads the body of an entry.
    ///
    /// # Errors
    /// It holds no rules, or more than rules.
    pub(super) fn from_bytes(body: &[u8]) -> Result<LaneRules<'_>, RulesError> {
        match postcard::take_from_bytes(body) {
            Ok((rules, [])) => Ok(rules),
            Ok((_, rest)) => Err(RulesError::new(format!("{} bytes too many", rest.len()))),
            Err(error) => Err(RulesError::new(error.to_string())),
        }
    }
}
