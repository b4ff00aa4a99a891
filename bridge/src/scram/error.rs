//! Why a conversation fails.

use crate::topics::BadUserName;

/// Why a conversation failed. The texts may be told to the peer: they say nothing of any user.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ScramError {
    /// What was sent is not what RFC 5802 has in its place.
    #[error("SCRAM: {0}")]
    BadMessage(&'static str),
    /// `p=`: the client wants to bind to a channel.
    #[error("SCRAM: channel binding is not served; begin with `n,,`")]
    ChannelBinding,
    /// Somebody wants to act for somebody else.
    #[error("SCRAM: you act for yourself only; leave the authorization identity empty")]
    OtherIdentity,
    /// CONNECT has another user name.
    #[error("SCRAM: its user name and that of CONNECT differ; give one of them, or twice the same")]
    OtherUserName,
    /// Nobody may have such a name.
    #[error("{0}")]
    BadName(#[from] BadUserName),
    /// Unknown user, no verifier, or a proof that does not hold: nobody learns which.
    #[error("the user name or the password is wrong")]
    WrongCredentials,
}
