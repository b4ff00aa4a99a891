//! Enhanced authentication (5.0, 4.12) by SCRAM-SHA-256, as the broker asks for it.

use crate::authorize;
use crate::logins::{LoginGate, TooManyWait};
use crate::scram::{Exchange, METHOD, ScramError, ScramReply};
use bytes::Bytes;
use roommq_broker::packet::ReasonCode;
use roommq_broker::policy::{AuthExchange, AuthStep, BoxFuture, Peer, Refusal};
use roommq_rooms::{not_authorized, refused};
use std::sync::Arc;

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

/// The refusal while too many logins wait.
pub(crate) fn too_many_wait(_: TooManyWait) -> Refusal {
    let reason = "too many logins are waiting, or too many have failed; try again later";
    refused(ReasonCode::ServerBusy, reason)
}

/// The SCRAM exchange of one client. A wrong proof counts as a failed login.
pub(crate) struct ScramLogin {
    pub exchange: Exchange,
    pub gate: Arc<LoginGate>,
    pub peer: Peer,
}

impl ScramLogin {
    async fn take_step(&mut self, data: Bytes) -> Result<AuthStep, Refusal> {
        let turn = match self.exchange.user_to_prove() {
            None => None,
            Some(user) => {
                let key = self.gate.key(user, self.peer);
                Some(self.gate.proof(key).await.map_err(too_many_wait)?)
            }
        };
        let step = self.exchange.step(&data);
        match (turn, &step) {
            (Some(turn), Ok(_)) => turn.end(true),
            (Some(turn), Err(ScramError::WrongCredentials)) => turn.end(false),
            _ => {}
        }
        match step {
            Ok(ScramReply::Challenge(text)) => Ok(AuthStep::Continue(text.into())),
            Ok(ScramReply::Proved { user, signature }) => {
                let who = authorize::principal(&user);
                Ok(AuthStep::Done(who, Some(signature.into())))
            }
            Err(failure) => Err(refusal(failure)),
        }
    }
}

impl AuthExchange for ScramLogin {
    fn step(&mut self, data: Bytes) -> BoxFuture<'_, Result<AuthStep, Refusal>> {
        Box::pin(self.take_step(data))
    }
}

fn refusal(failure: ScramError) -> Refusal {
    match failure {
        ScramError::WrongCredentials => authorize::wrong_credentials(),
        ScramError::BadName(bad) => refused(ReasonCode::BadUserNameOrPassword, bad.to_string()),
        _ => not_authorized(failure.to_string()),
    }
}
