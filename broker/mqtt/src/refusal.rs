//! An answer of no.

use crate::packet::ReasonCode;

/// A request was refused: the code and the text that the peer is told.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub struct Refusal {
    /// The 5.0 code.
    pub code: ReasonCode,
    /// For people; goes to the peer.
    pub reason: String,
}
