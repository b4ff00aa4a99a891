//! What a token claims.

use super::error::TokenError;
use super::rights::RightsClaims;
use serde::Deserialize;
use serde_json::Number;

/// Seconds by which the issuer's clock may be ahead of this server's.
const CLOCK_SKEW: u64 = 10;

/// The claims of a token, as they come.
#[derive(Debug, Deserialize)]
pub(crate) struct Claims {
    /// The user's name.
    pub sub: Option<String>,
    pub exp: Option<Number>,
    pub nbf: Option<Number>,
    pub iss: Option<String>,
    pub aud: Option<Audience>,
    /// The token's own id, for the log.
    pub jti: Option<String>,
    #[serde(flatten)]
    pub rights: RightsClaims,
}

/// One audience, or several.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
pub(crate) enum Audience {
    One(String),
    Several(Vec<String>),
}

impl Audience {
    fn contains(&self, name: &str) -> bool {
        match self {
            Audience::One(one) => one == name,
            Audience::Several(several) => several.iter().any(|one| one == name),
        }
    }
}

/// What the settings expect of every token.
#[derive(Debug, Clone, Default)]
pub(crate) struct Expected {
    pub issuer: Option<String>,
    pub audience: Option<String>,
}

impl Claims {
    /// Checks the claims at `now`, in seconds since 1970. Returns when the token ends.
    pub fn check(&self, expected: &Expected, now: u64) -> Result<u64, TokenError> {
        let exp = self.exp.as_ref().ok_or(TokenError::Claim("exp"))?;
        let exp = seconds(exp).ok_or(TokenError::Claim("exp"))?;
        if exp <= now {
            return Err(TokenError::Expired);
        }
        if let Some(nbf) = &self.nbf {
            let nbf = seconds(nbf).ok_or(TokenError::Claim("nbf"))?;
            if nbf > now.saturating_add(CLOCK_SKEW) {
                return Err(TokenError::NotYet);
            }
        }
        if expected.issuer.is_some() && self.iss != expected.issuer {
            return Err(TokenError::Issuer);
        }
        // A token for somebody else is refused even if the settings name no audience (RFC 7519,
        // 4.1.3).
        let is_ours = match (&expected.audience, &self.aud) {
            (None, None) => true,
            (Some(ours), Some(theirs)) => theirs.contains(ours),
            _ => false,
        };
        if is_ours {
            Ok(exp)
        } else {
            Err(TokenError::Audience)
        }
    }
}

/// A `NumericDate`, rounded down. It may have a fraction (RFC 7519, 2).
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // checked before
fn seconds(number: &Number) -> Option<u64> {
    number.as_u64().or_else(|| {
        let number = number.as_f64()?;
        (0.0..9e15).contains(&number).then_some(number as u64)
    })
}
