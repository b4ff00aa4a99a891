//! Enhanced authentication (5.0, 4.12) by the method `JWT`: a client sends its token in CONNECT, and
//! later a new one by AUTH before the old one ends [MQTT-4.12.0-7].

use super::login::principal;
use super::verify::TokenVerifier;
use bytes::Bytes;
use roommq_broker::policy::{AuthExchange, AuthStep, BoxFuture, Refusal, WallTime};
use std::sync::Arc;

/// The name of the method.
pub(crate) const METHOD: &str = "JWT";

/// The exchange with one client, of one step: its authentication data is the token.
pub(crate) struct TokenExchange {
    verifier: Arc<TokenVerifier>,
    /// The user name of CONNECT or of a certificate, if there is one.
    expected: Option<String>,
    now: WallTime,
    /// The client has sent no token, and was asked for it.
    asked: bool,
}

impl TokenExchange {
    pub fn new(verifier: Arc<TokenVerifier>, expected: Option<String>, now: WallTime) -> Self {
        TokenExchange {
            verifier,
            expected,
            now,
            asked: false,
        }
    }

    fn take(&mut self, data: &[u8]) -> Result<AuthStep, Refusal> {
        if data.is_empty() && !self.asked {
            self.asked = true;
            return Ok(AuthStep::Continue(Bytes::new()));
        }
        let who = principal(&self.verifier, self.expected.as_deref(), data, self.now)?;
        Ok(AuthStep::Done(who, None))
    }
}

impl AuthExchange for TokenExchange {
    fn step(&mut self, data: Bytes) -> BoxFuture<'_, Result<AuthStep, Refusal>> {
        Box::pin(std::future::ready(self.take(&data)))
    }
}
