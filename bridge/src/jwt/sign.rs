//! Makes tokens and keys, for `roommq token`.

use super::keys::{self, JsonKey, SECRET_BYTES};
use crate::random::random_bytes;
use base64ct::{Base64UrlUnpadded, Encoding as _};
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use serde::Deserialize;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use thiserror::Error;

/// No token or key was made. No text contains a part of a key.
#[derive(Debug, Error)]
pub enum SignError {
    /// The key file cannot be read.
    #[error("the key {} cannot be read: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: std::io::Error,
    },
    /// The file holds no key that signs.
    #[error("the key {}: {what}", path.display())]
    Unusable {
        /// The file.
        path: PathBuf,
        /// The reason.
        what: String,
    },
    /// The operating system gives no random bytes.
    #[error("cannot make a key: {0}")]
    NoRandomBytes(getrandom::Error),
}

/// A JWK Set with a new random key for HS256, as JSON.
///
/// # Errors
/// The operating system gives no random bytes.
pub fn new_token_key() -> Result<Value, SignError> {
    let secret = random_bytes::<SECRET_BYTES>().map_err(SignError::NoRandomBytes)?;
    let id = random_bytes::<6>().map_err(SignError::NoRandomBytes)?;
    let text = |bytes: &[u8]| Base64UrlUnpadded::encode_string(bytes);
    Ok(json!({"keys": [
        {"kty": "oct", "kid": text(&id), "use": "sig", "alg": "HS256", "k": text(&secret)}
    ]}))
}

/// A token with `claims`, signed by the key in the file at `path`: a JWK Set or a JWK with a secret for HS256
/// (of a set the first), or a private key as PEM.
///
/// # Errors
/// The file cannot be read, or holds no key that signs.
pub fn sign_token(path: &Path, claims: &Value) -> Result<String, SignError> {
    let text = std::fs::read_to_string(path).map_err(|source| SignError::Read {
        path: path.to_owned(),
        source,
    })?;
    let unusable = |what: String| SignError::Unusable {
        path: path.to_owned(),
        what,
    };
    let (header, key) = signing_key(text.trim()).map_err(unusable)?;
    encode(&header, claims, &key).map_err(|error| unusable(format!("it cannot sign: {error}")))
}

fn signing_key(text: &str) -> Result<(Header, EncodingKey), String> {
    if text.contains("-----BEGIN") {
        return pem(text.as_bytes());
    }
    let not_json = "it is neither a JWK Set, a JWK nor a private key as PEM";
    let value: Value = serde_json::from_str(text).map_err(|_| not_json.to_owned())?;
    let keys = value.get("keys").and_then(Value::as_array);
    let secret = |value: &&Value| value.get("kty").and_then(Value::as_str) == Some("oct");
    let found = match keys {
        Some(keys) => keys.iter().find(secret),
        None => Some(&value).filter(secret),
    };
    let found = found
        .ok_or("it has no key of `kty` \"oct\"; of other kinds give the private key as PEM")?;
    // The same checks as those of the server.
    keys::parse(&found.to_string())?;
    let key = JsonKey::deserialize(found).map_err(|_| not_json.to_owned())?;
    let secret = Base64UrlUnpadded::decode_vec(key.k.as_deref().unwrap_or_default());
    let secret = secret.map_err(|_| "`k` is no base64url".to_owned())?;
    let mut header = Header::new(Algorithm::HS256);
    header.kid = key.kid;
    let key = EncodingKey::from_secret(&secret).map_err(|error| error.to_string())?;
    Ok((header, key))
}

fn pem(text: &[u8]) -> Result<(Header, EncodingKey), String> {
    let is_private = text.windows(16).any(|part| part == b"PRIVATE KEY-----");
    let (algorithm, key) = if !is_private {
        return Err("the PEM is no private key; the public one does not sign".to_owned());
    } else if let Ok(key) = EncodingKey::from_ed_pem(text) {
        (Algorithm::EdDSA, key)
    } else if let Ok(key) = EncodingKey::from_ec_pem(text) {
        (Algorithm::ES256, key)
    } else if let Ok(key) = EncodingKey::from_rsa_pem(text) {
        (Algorithm::RS256, key)
    } else {
        return Err("the PEM is no private key of RSA, P-256 or Ed25519 (PKCS #8)".to_owned());
    };
    Ok((Header::new(algorithm), key))
}
