//! Enhanced authentication (5.0, 4.12) by SCRAM-SHA-256, as the broker asks for it.

use crate::authorize;
use crate::scram::{Exchange, METHOD, NONCE, ScramError, ScramReply, Verifiers};
use bytes::Bytes;
use roommq_broker::packet::ReasonCode;
use roommq_broker::policy::{AuthExchange, AuthStep, BoxFuture, Refusal};
use std::sync::Arc;

/// Refuses any other authentication method with 0x8C [MQTT-4.12.0-1].
pub(crate) fn check_method(method: &str) -> Result<(), Refusal> {
    if method == METHOD {
        return Ok(());
    }
    Err(Refusal {
        code: ReasonCode::BadAuthenticationMethod,
        reason: format!(
            "{METHOD} is the one authentication method here; or name none, and give a password"
        ),
    })
}

/// The refusal while the operating system gives no random bytes.
pub(crate) fn no_random_bytes() -> Refusal {
    Refusal {
        code: ReasonCode::ServerUnavailable,
        reason: "the server cannot authenticate by SCRAM now; try again later".to_owned(),
    }
}

/// The SCRAM exchange of one client.
pub(crate) struct ScramLogin(Exchange);

impl ScramLogin {
    /// `nonce` as in [`Exchange::new`].
    pub fn new(
        verifiers: Arc<Verifiers>,
        user_name: Option<String>,
        nonce: [u8; NONCE],
    ) -> ScramLogin {
        ScramLogin(Exchange::new(verifiers, user_name, nonce))
    }
}

impl AuthExchange for ScramLogin {
    fn step(&mut self, data: Bytes) -> BoxFuture<'_, Result<AuthStep, Refusal>> {
        let step = match self.0.step(&data) {
            Ok(ScramReply::Challenge(text)) => Ok(AuthStep::Continue(text.into())),
            Ok(ScramReply::Proved { user, signature }) => {
                let who = authorize::principal(&user);
                Ok(AuthStep::Done(who, Some(signature.into())))
            }
            Err(failure) => Err(refusal(failure)),
        };
        Box::pin(std::future::ready(step))
    }
}

fn refusal(failure: ScramError) -> Refusal {
    match failure {
        ScramError::WrongCredentials => authorize::wrong_credentials(),
        ScramError::BadName(bad) => Refusal {
            code: ReasonCode::BadUserNameOrPassword,
            reason: bad.to_string(),
        },
        _ => Refusal {
            code: ReasonCode::NotAuthorized,
            reason: failure.to_string(),
        },
    }
}
