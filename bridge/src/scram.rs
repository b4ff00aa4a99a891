//! The server's side of SCRAM-SHA-256 (RFC 5802, RFC 7677). The client proves that it knows the
//! password; the password is neither sent nor stored.
//!
//! Pure: the caller passes the server's half of the nonce. Channel binding is not offered: there is
//! no SCRAM-SHA-256-PLUS, and a client that asks for channel binding is refused.

mod error;
mod message;
mod verifier;
mod verifiers;

pub(crate) use error::ScramError;
pub(crate) use verifier::{FEWEST_ITERATIONS, METHOD, SALT, Verifier, hmac};
pub(crate) use verifiers::{DecoyKey, Verifiers};

use base64ct::{Base64, Encoding as _};
use message::{ClientFinal, ClientFirst};
use roommq_rooms::topics;
use std::borrow::Cow;
use std::sync::Arc;

/// Random bytes in the server's half of the nonce.
pub(crate) const NONCE: usize = 18;

/// `text` normalized by the profile `SASLprep` (RFC 4013). None: the profile prohibits a character.
pub(crate) fn prepared(text: &str) -> Option<Cow<'_, str>> {
    stringprep::saslprep(text).ok()
}

/// The server's answer to a message of the client.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum ScramReply {
    /// Send this, and wait for the next message.
    Challenge(String),
    /// The client is `user`. Send it `signature`, which proves the server.
    Proved { user: String, signature: String },
}

/// The exchange with one client.
///
/// 1. [`step`](Exchange::step) takes the client's first message and returns a challenge.
/// 2. `step` takes the client's proof, and returns the user or an error.
pub(crate) struct Exchange {
    verifiers: Arc<Verifiers>,
    /// The user name of CONNECT or of a certificate, if there is one.
    expected: Option<String>,
    state: ExchangeState,
}

enum ExchangeState {
    /// Waits for the client's first message.
    First {
        /// The server's half of the nonce.
        nonce: [u8; NONCE],
        /// CONNECT had no message, and the client was asked for one.
        asked: bool,
    },
    /// Waits for the proof.
    Final(PendingProof),
    /// The exchange has ended.
    Over,
}

/// What the server remembers between the challenge and the proof.
struct PendingProof {
    user: String,
    verifier: Verifier,
    /// Whether the verifier belongs to a user. False: it is a decoy.
    known: bool,
    nonce: String,
    /// The client's header about channel binding. The client must repeat it.
    header: String,
    /// Both first messages, as the proof signs them.
    so_far: String,
}

impl Exchange {
    /// `nonce` must be random and new. `expected` is the user name of CONNECT or of a certificate.
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

    /// Takes the client's next message. After an error or a proof every further message is an
    /// error.
    pub fn step(&mut self, message: &[u8]) -> Result<ScramReply, ScramError> {
        match std::mem::replace(&mut self.state, ExchangeState::Over) {
            // A client may send CONNECT without a message, and the first message in AUTH.
            ExchangeState::First {
                nonce,
                asked: false,
            } if message.is_empty() => {
                self.state = ExchangeState::First { nonce, asked: true };
                Ok(ScramReply::Challenge(String::new()))
            }
            ExchangeState::First { nonce, .. } => self.challenge(message, &nonce),
            ExchangeState::Final(pending) => pending.check(message),
            ExchangeState::Over => Err(ScramError::BadMessage("the conversation is over")),
        }
    }

    /// The user whose proof the next message has to be. None: the exchange waits for something else.
    pub fn user_to_prove(&self) -> Option<&str> {
        match &self.state {
            ExchangeState::Final(pending) => Some(&pending.user),
            _ => None,
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
    fn check(self, message: &[u8]) -> Result<ScramReply, ScramError> {
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
        // A decoy takes the same time.
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
