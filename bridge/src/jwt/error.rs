//! Why a token is refused.

use thiserror::Error;

/// The longest token, in bytes. It fits into a header of HTTP, as those of web applications must.
pub(super) const TOKEN_BYTES: usize = 16_384;

/// Why a token is refused. The client is told; no text contains a part of the token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub(crate) enum TokenError {
    #[error("the token is no JWT that is signed by HS256, RS256, ES256 or EdDSA")]
    Malformed,
    #[error("a token has at most {TOKEN_BYTES} bytes")]
    TooLong,
    #[error("the token names no key of this server (`kid`), and not its only one")]
    Key,
    #[error("the algorithm of the token is not that of its key")]
    Algorithm,
    #[error("the signature of the token is wrong")]
    Signature,
    #[error("the claim `{0}` of the token is missing or not valid")]
    Claim(&'static str),
    #[error("the claims of the token are no object with the right types")]
    Claims,
    #[error("the token has expired (`exp`)")]
    Expired,
    #[error("the token is not valid yet (`nbf`)")]
    NotYet,
    #[error("the token is by another issuer (`iss`)")]
    Issuer,
    #[error("the token is for another audience (`aud`)")]
    Audience,
}
