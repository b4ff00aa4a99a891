//! Builds the refusals of this crate.

use roommq_mqtt::Refusal;
use roommq_mqtt::packet::ReasonCode;

/// A refusal. `reason` is the text for the peer.
pub fn refused(code: ReasonCode, reason: impl Into<String>) -> Refusal {
    let reason = reason.into();
    Refusal { code, reason }
}

/// A refusal with 0x87.
pub fn not_authorized(reason: impl Into<String>) -> Refusal {
    refused(ReasonCode::NotAuthorized, reason)
}
