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

impl Refusal {
    /// A refusal with this code and text.
    pub fn new(code: ReasonCode, reason: impl Into<String>) -> Refusal {
        let reason = reason.into();
        Refusal { code, reason }
    }
}
