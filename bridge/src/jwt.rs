//! JSON Web Tokens (RFC 7519) as passwords: who signed them, what they claim, and until when.
//!
//! Pure but for [`load_token_keys`] and [`sign_token`], which read files: the caller passes the time.
//!
//! ```text
//! password -> TokenVerifier::verify -> Claims -> login::principal
//!                  |                      |
//!             keys (a file)          issuer, audience, exp, nbf
//! ```

mod claims;
mod error;
mod exchange;
mod keys;
pub(crate) mod login;
mod rights;
mod sign;
mod verify;

pub(crate) use exchange::{METHOD, TokenExchange};
pub use keys::{TokenKeys, TokenKeysError, load_token_keys};
pub(crate) use rights::TokenRights;
pub use sign::{SignError, new_token_key, sign_token};
pub(crate) use verify::TokenVerifier;

#[cfg(test)]
mod tests;
