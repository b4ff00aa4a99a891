//! Verifies a token: its signature by one of the keys, then its claims.

use super::claims::{Claims, Expected};
use super::error::{TOKEN_BYTES, TokenError};
use super::keys::{KeyDigest, TokenKeys};
use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::{Validation, decode, decode_header};

/// A verified token.
#[derive(Debug)]
pub(crate) struct Verified {
    pub claims: Claims,
    /// In seconds since 1970.
    pub expires: u64,
    /// Of the key that has signed it.
    pub key: KeyDigest,
}

/// Verifies tokens by keys and settings.
#[derive(Debug, Default)]
pub(crate) struct TokenVerifier {
    keys: TokenKeys,
    expected: Expected,
}

impl TokenVerifier {
    pub fn new(keys: TokenKeys, issuer: Option<String>, audience: Option<String>) -> Self {
        TokenVerifier {
            keys,
            expected: Expected { issuer, audience },
        }
    }

    /// Whether any token can be valid.
    pub fn is_on(&self) -> bool {
        !self.keys.is_empty()
    }

    /// Whether the key of this digest is still one of them.
    pub fn has_key(&self, key: KeyDigest) -> bool {
        self.keys.contains(key)
    }

    /// The claims of `token`, if they hold at `now`, in seconds since 1970.
    pub fn verify(&self, token: &[u8], now: u64) -> Result<Verified, TokenError> {
        if token.len() > TOKEN_BYTES {
            return Err(TokenError::TooLong);
        }
        let header = decode_header(token).map_err(|_| TokenError::Malformed)?;
        let id = header.kid.as_deref();
        let key = self.keys.find(id, header.alg).ok_or(TokenError::Key)?;
        if key.algorithm != header.alg {
            return Err(TokenError::Algorithm);
        }
        // The claims are checked below, by our own clock.
        let mut validation = Validation::new(key.algorithm);
        validation.required_spec_claims.clear();
        validation.validate_exp = false;
        validation.validate_aud = false;
        let decoded = decode::<Claims>(token, &key.key, &validation);
        let claims = decoded.map_err(|error| match error.kind() {
            ErrorKind::Json(_) => TokenError::Claims,
            ErrorKind::InvalidAlgorithm => TokenError::Algorithm,
            ErrorKind::InvalidSignature => TokenError::Signature,
            _ => TokenError::Malformed,
        })?;
        let expires = claims.claims.check(&self.expected, now)?;
        Ok(Verified {
            claims: claims.claims,
            expires,
            key: key.digest(),
        })
    }
}
