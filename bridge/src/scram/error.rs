//! The errors of an exchange.

use roommq_rooms::topics::BadUserName;

/// Why an exchange failed. The texts go to the peer: they tell nothing about users.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ScramError {
    /// The message is not what RFC 5802 requires.
    #[error("SCRAM: {0}")]
    BadMessage(&'static str),
    /// The client asks for channel binding (`p=`).
    #[error("SCRAM: channel binding is not served; begin with `n,,`")]
    ChannelBinding,
    /// The authorization identity is another user.
    #[error("SCRAM: you act for yourself only; leave the authorization identity empty")]
    OtherIdentity,
    /// CONNECT has another user name.
    #[error("SCRAM: its user name and that of CONNECT differ; give one of them, or twice the same")]
    OtherUserName,
    /// The user name is not allowed.
    #[error("{0}")]
    BadName(#[from] BadUserName),
    /// The user is unknown or has no verifier, or the proof is wrong. The peer is not told which.
    #[error("the user name or the password is wrong")]
    WrongCredentials,
}
