//! SCRAM-SHA-256 as a server speaks it (RFC 5802, RFC 7677): a password is proved, and never sent nor stored.
//!
//! Pure: the server's half of the nonce is handed in. Channel binding is not offered, so there is no
//! SCRAM-SHA-256-PLUS and a client that asks for binding is refused.

mod failure;
mod message;
mod secrets;
mod verifier;

pub(crate) use failure::Failure;
pub(crate) use secrets::{Decoy, Secrets};
pub(crate) use verifier::{FEWEST_ITERATIONS, METHOD, SALT, Verifier};

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
pub(crate) enum Progress {
    /// Tell it this.
    Challenge(String),
    /// It is `user`, and is told this, by which the server proves itself.
    Proven { user: String, signature: String },
}

/// One conversation.
pub(crate) struct Exchange {
    secrets: Arc<Secrets>,
    /// The user name in CONNECT.
    expected: Option<String>,
    state: State,
}

enum State {
    /// The client's first message is awaited.
    First {
        /// The server's half.
        nonce: [u8; NONCE],
        /// It has been asked for: CONNECT came without.
        asked: bool,
    },
    /// The proof is awaited.
    Final(Challenged),
    Over,
}

/// Somebody who has said who it is.
struct Challenged {
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
    pub fn new(secrets: Arc<Secrets>, expected: Option<String>, nonce: [u8; NONCE]) -> Exchange {
        Exchange {
            secrets,
            expected,
            state: State::First {
                nonce,
                asked: false,
            },
        }
    }

    /// Takes the client's next message; after a failure, or a proof, every further one is a failure.
    pub fn step(&mut self, message: &[u8]) -> Result<Progress, Failure> {
        match std::mem::replace(&mut self.state, State::Over) {
            // A client may name the method first, and speak when it is asked.
            State::First {
                nonce,
                asked: false,
            } if message.is_empty() => {
                self.state = State::First { nonce, asked: true };
                Ok(Progress::Challenge(String::new()))
            }
            State::First { nonce, .. } => self.challenge(message, &nonce),
            State::Final(challenged) => challenged.judge(message),
            State::Over => Err(Failure::Message("the conversation is over")),
        }
    }

    fn challenge(&mut self, message: &[u8], nonce: &[u8]) -> Result<Progress, Failure> {
        let first = ClientFirst::parse(text(message)?)?;
        let user = prepared(&first.name).ok_or(Failure::Message("the user name is none"))?;
        let user = topics::user_name(&user)?.to_owned();
        let is_user = |name: &str| prepared(name).is_some_and(|name| name == user);
        if first.authzid.is_some_and(|name| !is_user(&name)) {
            return Err(Failure::OtherIdentity);
        }
        if self.expected.as_ref().is_some_and(|name| !is_user(name)) {
            return Err(Failure::OtherName);
        }
        let (verifier, known) = self.secrets.of(&user);
        let nonce = format!("{}{}", first.nonce, Base64::encode_string(nonce));
        let salt = Base64::encode_string(&verifier.salt);
        let answer = format!("r={nonce},s={salt},i={}", verifier.iterations);
        self.state = State::Final(Challenged {
            user,
            known,
            nonce,
            header: first.header.to_owned(),
            so_far: format!("{},{answer}", first.bare),
            verifier,
        });
        Ok(Progress::Challenge(answer))
    }
}

impl Challenged {
    fn judge(self, message: &[u8]) -> Result<Progress, Failure> {
        let last = ClientFinal::parse(text(message)?)?;
        if last.binding != self.header.as_bytes() {
            return Err(Failure::Message(
                "`c=` does not repeat how the first message began",
            ));
        }
        if last.nonce != self.nonce {
            return Err(Failure::Message(
                "the nonce is not the one of this conversation",
            ));
        }
        let signed = format!("{},{}", self.so_far, last.without_proof);
        // The same work for a decoy.
        let holds = self.verifier.proves(signed.as_bytes(), &last.proof);
        if !(holds && self.known) {
            return Err(Failure::Wrong);
        }
        let signature = Base64::encode_string(&self.verifier.sign(signed.as_bytes()));
        Ok(Progress::Proven {
            user: self.user,
            signature: format!("v={signature}"),
        })
    }
}

fn text(message: &[u8]) -> Result<&str, Failure> {
    std::str::from_utf8(message).map_err(|_| Failure::Message("a message is UTF-8"))
}

#[cfg(test)]
mod tests;
