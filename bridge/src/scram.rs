//! SCRAM-SHA-256 as a server speaks it (RFC 5802, RFC 7677): a password is proved, and never sent nor stored.
//!
//! Pure: the server's half of the nonce is handed in. Channel binding is not offered, so there is no
//! SCRAM-SHA-256-PLUS and a client that asks for binding is refused.

mod error;
mod message;
mod verifier;
mod verifiers;

pub(crate) use error::ScramError;
pub(crate) use verifier::{FEWEST_ITERATIONS, METHOD, SALT, Verifier};
pub(crate) use verifiers::{DecoyKey, Verifiers};

use crate::topics;
use base64ct::{Base64, Encoding as _};
use message::{ClientFinal, ClientFirst};
use std::borrow::Cow;
use std::sync::Arc;

/// Bytes of chance in the server's half of the nonce.
pub(crate) const NONCE: usize = 18;

/// `text` as the profile `SASLprep` has it (RFC 4013); none where that prohibits one of its characters.
pub(crate) fn prepared(text: &str) -> Option<Cow<'_, str>> {
    stringprep::saslprep(text).ok()
}

/// What follows from a message of the client.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum ScramReply {
    /// Tell it this.
    Challenge(String),
    /// It is `user`, and is told this, by which the server proves itself.
    Proved { user: String, signature: String },
}

/// One conversation.
pub(crate) struct Exchange {
    verifiers: Arc<Verifiers>,
    /// The user name in CONNECT.
    expected: Option<String>,
    state: ExchangeState,
}

enum ExchangeState {
    /// The client's first message is awaited.
    First {
        /// The server's half.
        nonce: [u8; NONCE],
        /// It has been asked for: CONNECT came without.
        asked: bool,
    },
    /// The proof is awaited.
    Final(PendingProof),
    Over,
}

/// Somebody who has said who it is.
struct PendingProof {
    user: String,
    verifier: Verifier,
    /// Whether the verifier is a user's and no decoy.
    known: bool,
    nonce: String,
    /// What the client said of channel binding, to be said again.
    header: String,
    /// Both first messages, as they are signed.
    so_far: String,
}

impl Exchange {
    /// `nonce` is fresh chance; `expected` the user name of CONNECT, where it has one.
    pub fn new(
        verifiers: Arc<Verifiers>,
        expected: Option<String>,
        nonce: [u8; NONCE],
    ) -> Exchange {
        Exchange {
            verifiers,
            expected,
            state: ExchangeState::First {
                nonce,
                asked: false,
            },
        }
    }

    /// Takes the client's next message; after a failure, or a proof, every further one is a failure.
    pub fn step(&mut self, message: &[u8]) -> Result<ScramReply, ScramError> {
        match std::mem::replace(&mut self.state, ExchangeState::Over) {
            // A client may name the method first, and speak when it is asked.
            ExchangeState::First {
                nonce,
                asked: false,
            } if message.is_empty() => {
                self.state = ExchangeState::First { nonce, asked: true };
                Ok(ScramReply::Challenge(String::new()))
            }
            ExchangeState::First { nonce, .. } => self.challenge(message, &nonce),
            ExchangeState::Final(challenged) => challenged.judge(message),
            ExchangeState::Over => Err(ScramError::BadMessage("the conversation is over")),
        }
    }

    fn challenge(&mut self, message: &[u8], nonce: &[u8]) -> Result<ScramReply, ScramError> {
        let first = ClientFirst::parse(text(message)?)?;
        let user = prepared(&first.name).ok_or(ScramError::BadMessage("the user name is none"))?;
        let user = topics::user_name(&user)?.to_owned();
        let is_user = |name: &str| prepared(name).is_some_and(|name| name == user);
        if first.authzid.is_some_and(|name| !is_user(&name)) {
            return Err(ScramError::OtherIdentity);
        }
        if self.expected.as_ref().is_some_and(|name| !is_user(name)) {
            return Err(ScramError::OtherUserName);
        }
        let (verifier, known) = self.verifiers.of(&user);
        let nonce = format!("{}{}", first.nonce, Base64::encode_string(nonce));
        let salt = Base64::encode_string(&verifier.salt);
        let answer = format!("r={nonce},s={salt},i={}", verifier.iterations);
        self.state = ExchangeState::Final(PendingProof {
            user,
            known,
            nonce,
            header: first.header.to_owned(),
            so_far: format!("{},{answer}", first.bare),
            verifier,
        });
        Ok(ScramReply::Challenge(answer))
    }
}

impl PendingProof {
    fn judge(self, message: &[u8]) -> Result<ScramReply, ScramError> {
        let last = ClientFinal::parse(text(message)?)?;
        if last.binding != self.header.as_bytes() {
            return Err(ScramError::BadMessage(
                "`c=` does not repeat how the first message began",
            ));
        }
        if last.nonce != self.nonce {
            return Err(ScramError::BadMessage(
                "the nonce is not the one of this conversation",
            ));
        }
        let signed = format!("{},{}", self.so_far, last.without_proof);
        // The same work for a decoy.
        let holds = self.verifier.proves(signed.as_bytes(), &last.proof);
        if !(holds && self.known) {
            return Err(ScramError::WrongCredentials);
        }
        let signature = Base64::encode_string(&self.verifier.sign(signed.as_bytes()));
        Ok(ScramReply::Proved {
            user: self.user,
            signature: format!("v={signature}"),
        })
    }
}

fn text(message: &[u8]) -> Result<&str, ScramError> {
    std::str::from_utf8(message).map_err(|_| ScramError::BadMessage("a message is UTF-8"))
}

#[cfg(test)]
mod tests;
