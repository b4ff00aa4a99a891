//! Builds the refusals of this crate.

use roommq_broker::packet::ReasonCode;
use roommq_broker::policy::Refusal;

/// A refusal. `reason` is the text for the peer.
pub(crate) fn refused(code: ReasonCode, reason: impl Into<String>) -> Refusal {
    let reason = reason.into();
    Refusal { code, reason }
}

/// A refusal with 0x87.
pub(crate) fn not_authorized(reason: impl Into<String>) -> Refusal {
    refused(ReasonCode::NotAuthorized, reason)
}
