//! Logins by token: which CONNECTs bring one, and as whom they log in.

use super::error::TokenError;
use super::verify::TokenVerifier;
use crate::authorize;
use roommq_broker::packet::ReasonCode;
use roommq_broker::policy::{Credential, Principal, Refusal, WallTime};
use roommq_rooms::refused;
use roommq_rooms::topics;
use std::sync::Arc;

/// The user name of a client that must send one and leaves it to the token who it is, as 3.1.1
/// needs it [3.1.1 MQTT-3.1.2-22].
pub(crate) const ANY_USER: &str = "_jwt";

/// Whether a password is to be taken for a token: it is alone or beside [`ANY_USER`], or has the
/// form of a token.
pub(crate) fn is_token(user_name: Option<&str>, password: &[u8]) -> bool {
    user_name.is_none_or(|name| name == ANY_USER) || has_form(password)
}

/// Three parts of base64url, the first of which begins a JSON object.
fn has_form(password: &[u8]) -> bool {
    let mut parts = password.split(|byte| *byte == b'.');
    let base64url = |part: &[u8]| {
        let holds = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_".contains(byte);
        part.iter().all(holds)
    };
    let first = parts.next().is_some_and(|part| part.starts_with(b"eyJ"));
    first
        && parts
            .by_ref()
            .take(2)
            .filter(|part| base64url(part))
            .count()
            == 2
        && parts.next().is_none()
}

/// The user of a token that `user_name` sends.
///
/// # Errors
/// 0x86: the token is not valid now, or is for another user.
pub(crate) fn principal(
    verifier: &TokenVerifier,
    user_name: Option<&str>,
    token: &[u8],
    now: WallTime,
) -> Result<Principal, Refusal> {
    let wrong = |reason: String| refused(ReasonCode::BadUserNameOrPassword, reason);
    let accepted = verifier
        .verify(token, now.0 / 1000)
        .map_err(|error| wrong(error.to_string()))?;
    let subject = accepted.claims.sub.as_deref();
    let subject = subject.ok_or_else(|| wrong(TokenError::Claim("sub").to_string()))?;
    let subject = topics::user_name(subject)
        .map_err(|bad| wrong(format!("the claim `sub` of the token: {bad}")))?;
    if user_name.is_some_and(|name| name != ANY_USER && name != subject) {
        let text = "the token is for another user than the user name; name its `sub`, or none";
        return Err(wrong(text.to_owned()));
    }
    let jti = accepted.claims.jti.as_deref();
    tracing::debug!(
        user = subject,
        jti,
        expires = accepted.expires,
        "token accepted"
    );
    let mut who = authorize::principal(subject);
    let rights = accepted.claims.rights.check(accepted.key);
    let rights = rights.map_err(|error| wrong(error.to_string()))?;
    who.credential = Some(Arc::new(Credential {
        expires: Some(WallTime(accepted.expires.saturating_mul(1000))),
        claims: Box::new(rights),
    }));
    Ok(who)
}
