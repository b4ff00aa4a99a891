//! JSON Web Tokens, made by hand from RFC 7519 and RFC 7515.

use base64ct::{Base64UrlUnpadded, Encoding as _};
use hmac::{Hmac, KeyInit as _, Mac as _};
use serde_json::{Value as Json, json};
use sha2::Sha256;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// The secret of the key `web` in [`keys`].
pub const SECRET: &[u8] = b"0123456789abcdef0123456789abcdef";

fn base64(bytes: &[u8]) -> String {
    Base64UrlUnpadded::encode_string(bytes)
}

/// A key file: a JWK Set with a secret for HS256 and the id `web`.
pub fn keys() -> String {
    key_set("web", SECRET)
}

/// A key file with a secret for HS256 and this id.
pub fn key_set(id: &str, secret: &[u8]) -> String {
    json!({"keys": [{"kty": "oct", "kid": id, "alg": "HS256", "k": base64(secret)}]}).to_string()
}

/// A token with this header and these claims, signed by HMAC-SHA-256 whatever the header says.
pub fn signed(header: &Json, claims: &Json, secret: &[u8]) -> String {
    let message = format!(
        "{}.{}",
        base64(header.to_string().as_bytes()),
        base64(claims.to_string().as_bytes())
    );
    let mac = Hmac::<Sha256>::new_from_slice(secret).expect("any length");
    let tag = mac.chain_update(&message).finalize().into_bytes();
    format!("{message}.{}", base64(&tag))
}

/// A token with these claims, signed by the key `web`.
pub fn token(claims: &Json) -> String {
    signed(&json!({"alg": "HS256", "kid": "web"}), claims, SECRET)
}

/// A token of `user` that ends `after` now.
pub fn token_of(user: &str, after: Duration) -> String {
    token(&json!({"sub": user, "exp": seconds_from_now(after)}))
}

/// The time `after` now, in seconds since 1970 with their fraction.
pub fn seconds_from_now(after: Duration) -> f64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    (since.expect("a time after 1970") + after).as_secs_f64()
}
