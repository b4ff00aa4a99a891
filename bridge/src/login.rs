//! Enhanced authentication (5.0, 4.12) by SCRAM-SHA-256, as the broker asks for it.

use crate::authorize;
use crate::scram::{Exchange, METHOD, ScramError, ScramReply};
use bytes::Bytes;
use roommq_broker::packet::ReasonCode;
use roommq_broker::policy::{AuthExchange, AuthStep, BoxFuture, Refusal};
use roommq_rooms::{not_authorized, refused};

/// Refuses any other authentication method with 0x8C [MQTT-4.12.0-1].
pub(crate) fn check_method(method: &str) -> Result<(), Refusal> {
    if method == METHOD {
        return Ok(());
    }
    let reason = format!(
        "{METHOD} is the authentication method here, and JWT if the server has keys for tokens; or name none, and give a password"
    );
    Err(refused(ReasonCode::BadAuthenticationMethod, reason))
}

/// The refusal while the operating system gives no random bytes.
pub(crate) fn no_random_bytes() -> Refusal {
    let reason = "the server cannot authenticate by SCRAM now; try again later";
    refused(ReasonCode::ServerUnavailable, reason)
}

/// The SCRAM exchange of one client.
impl AuthExchange for Exchange {
    fn step(&mut self, data: Bytes) -> BoxFuture<'_, Result<AuthStep, Refusal>> {
        let step = match Exchange::step(self, &data) {
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
        ScramError::BadName(bad) => refused(ReasonCode::BadUserNameOrPassword, bad.to_string()),
        _ => not_authorized(failure.to_string()),
    }
}
