//! The keys that tokens are signed with: a JWK Set, a single JWK (RFC 7517), or a public key as PEM.
//!
//! Each key has one algorithm. The header of a token cannot choose another one, so a public key is
//! never taken for a shared secret.

use base64ct::{Base64UrlUnpadded, Encoding as _};
use jsonwebtoken::{Algorithm, DecodingKey, DecodingKeyKind};
use serde::Deserialize;
use sha2::{Digest as _, Sha256};
use std::path::{Path, PathBuf};
use thiserror::Error;

/// Bytes of a secret for HS256, at least (RFC 7518, 3.2).
pub(super) const SECRET_BYTES: usize = 32;

/// Bytes of the modulus of an RSA key, at least (RFC 7518, 3.3).
const MODULUS_BYTES: usize = 256;

/// Bytes of a coordinate on P-256 and on Ed25519.
const COORDINATE_BYTES: usize = 32;

/// The file of token keys cannot be used. No text contains a part of a key.
#[derive(Debug, Error)]
pub enum TokenKeysError {
    /// The file cannot be read.
    #[error("the token keys {} cannot be read: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: std::io::Error,
    },
    /// The file holds no usable key.
    #[error("the token keys {}: {what}", path.display())]
    Unusable {
        /// The file.
        path: PathBuf,
        /// The reason.
        what: String,
    },
}

/// The keys that sign the tokens of clients. By default there are none, and no token is valid.
#[derive(Debug, Clone, Default)]
pub struct TokenKeys(Vec<TokenKey>);

/// One key. Its debug text is without the key itself.
#[derive(Debug, Clone)]
pub(super) struct TokenKey {
    /// The key's id, if it has one.
    pub id: Option<String>,
    pub algorithm: Algorithm,
    pub key: DecodingKey,
}

/// A digest of a key, to find it again in other keys.
pub(crate) type KeyDigest = [u8; 32];

impl TokenKey {
    pub fn digest(&self) -> KeyDigest {
        let mut digest = Sha256::new();
        digest.update([self.algorithm as u8]);
        match self.key.kind() {
            DecodingKeyKind::SecretOrDer(bytes) => digest.update(bytes),
            DecodingKeyKind::RsaModulusExponent { n, e } => {
                digest.update(n);
                digest.update(e);
            }
        }
        digest.finalize().into()
    }
}

impl TokenKeys {
    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether one of them has this digest.
    pub(super) fn contains(&self, digest: KeyDigest) -> bool {
        self.0.iter().any(|key| key.digest() == digest)
    }

    /// The key that a token names, or the only one of its algorithm if it names none. A name does
    /// not count if no key has one, as in a PEM file.
    pub(super) fn find(&self, id: Option<&str>, algorithm: Algorithm) -> Option<&TokenKey> {
        let named = self.0.iter().any(|key| key.id.is_some());
        match id {
            Some(id) if named => self.0.iter().find(|key| key.id.as_deref() == Some(id)),
            _ => {
                let mut all = self.0.iter().filter(|key| key.algorithm == algorithm);
                all.next().filter(|_| all.next().is_none())
            }
        }
    }
}

/// Reads the keys of a file: a JWK Set, a JWK, or a public key as PEM.
///
/// Keys of a set that are for encryption, or of other algorithms than HS256, RS256, ES256 and `EdDSA`,
/// are left out.
///
/// # Errors
/// The file cannot be read, is of no such form, or has no key that can be used.
pub fn load_token_keys(path: &Path) -> Result<TokenKeys, TokenKeysError> {
    let text = std::fs::read_to_string(path).map_err(|source| TokenKeysError::Read {
        path: path.to_owned(),
        source,
    })?;
    parse(&text).map_err(|what| TokenKeysError::Unusable {
        path: path.to_owned(),
        what,
    })
}

/// A JWK Set, or a JWK alone.
#[derive(Deserialize)]
#[serde(untagged)]
enum JwkFile {
    Set { keys: Vec<JsonKey> },
    One(Box<JsonKey>),
}

/// The members of a JWK that a verifier needs (RFC 7517, RFC 7518, RFC 8037).
#[derive(Default, Deserialize)]
pub(super) struct JsonKey {
    pub kty: String,
    pub kid: Option<String>,
    pub alg: Option<String>,
    #[serde(rename = "use")]
    pub usage: Option<String>,
    pub crv: Option<String>,
    pub n: Option<String>,
    pub e: Option<String>,
    pub x: Option<String>,
    pub y: Option<String>,
    pub k: Option<String>,
}

pub(super) fn parse(text: &str) -> Result<TokenKeys, String> {
    let text = text.trim();
    if text.contains("-----BEGIN") {
        return pem(text).map(|key| TokenKeys(vec![key]));
    }
    // The parser's message may quote the text, which may be a secret.
    let file: JwkFile = serde_json::from_str(text).map_err(|error| {
        format!(
            "line {} is neither JSON of a JWK Set or a JWK, nor a public key as PEM",
            error.line().max(1)
        )
    })?;
    let (keys, alone) = match file {
        JwkFile::Set { keys } => (keys, false),
        JwkFile::One(key) => (vec![*key], true),
    };
    let mut usable = Vec::new();
    let mut reasons = Vec::new();
    for (number, key) in keys.into_iter().enumerate() {
        match key.usable() {
            Ok(key) => usable.push(key),
            Err(what) if alone => return Err(what),
            Err(what) => reasons.push(format!("key {}: {what}", number + 1)),
        }
    }
    if usable.is_empty() {
        let why = if reasons.is_empty() {
            "the set is empty".to_owned()
        } else {
            reasons.join("; ")
        };
        return Err(format!("it has no key that can be used: {why}"));
    }
    let ids: Vec<&String> = usable
        .iter()
        .filter_map(|key: &TokenKey| key.id.as_ref())
        .collect();
    if let Some(twice) = ids
        .iter()
        .enumerate()
        .find(|(at, id)| ids[..*at].contains(id))
    {
        return Err(format!(
            "two keys have the `kid` {:?}; give each its own",
            twice.1
        ));
    }
    Ok(TokenKeys(usable))
}

impl JsonKey {
    /// The key with its one algorithm. The error says what is wrong, without values of the key.
    fn usable(self) -> Result<TokenKey, String> {
        if self.usage.as_deref().is_some_and(|usage| usage != "sig") {
            return Err("it is not for signatures (`use`)".to_owned());
        }
        let wrong = |what: &str| Err(format!("a key of `kty` {:?} {what}", self.kty));
        let read = |name: &str, member: &Option<String>, least: usize| {
            let bytes = member.as_deref().map(Base64UrlUnpadded::decode_vec);
            match bytes {
                Some(Ok(bytes)) if bytes.len() >= least => Ok(bytes),
                _ => Err(format!(
                    "a key of `kty` {:?} needs `{name}`: base64url of {least} bytes or more",
                    self.kty
                )),
            }
        };
        let coordinate = |name: &str, member: &Option<String>| {
            let bytes = read(name, member, COORDINATE_BYTES)?;
            if bytes.len() == COORDINATE_BYTES {
                return Ok(bytes);
            }
            Err(format!("`{name}` of a key has {COORDINATE_BYTES} bytes"))
        };
        let curve = self.crv.as_deref();
        let (algorithm, name, key) = match (&*self.kty, curve) {
            ("oct", _) => {
                let secret = read("k", &self.k, SECRET_BYTES)?;
                let key = DecodingKey::from_secret(&secret);
                (
                    Algorithm::HS256,
                    "HS256",
                    key.map_err(|error| error.to_string())?,
                )
            }
            ("RSA", _) => {
                let n = read("n", &self.n, MODULUS_BYTES)?;
                let e = read("e", &self.e, 1)?;
                let key = DecodingKey::from_rsa_raw_components(&n, &e);
                (Algorithm::RS256, "RS256", key)
            }
            ("EC", Some("P-256")) => {
                let (x, y) = (coordinate("x", &self.x)?, coordinate("y", &self.y)?);
                let point = [&[4], &x[..], &y[..]].concat();
                (Algorithm::ES256, "ES256", DecodingKey::from_ec_der(&point))
            }
            ("OKP", Some("Ed25519")) => {
                let x = coordinate("x", &self.x)?;
                (Algorithm::EdDSA, "EdDSA", DecodingKey::from_ed_der(&x))
            }
            ("EC", _) => return wrong("needs `crv` \"P-256\""),
            ("OKP", _) => return wrong("needs `crv` \"Ed25519\""),
            _ => return wrong("is not known; take oct, RSA, EC or OKP"),
        };
        match self.alg {
            // RFC 9864 names EdDSA with this curve so.
            Some(alg) if alg != name && !(name == "EdDSA" && alg == "Ed25519") => Err(format!(
                "its `alg` is {alg:?}; a key of this kind is for {name}"
            )),
            _ => Ok(TokenKey {
                id: self.kid,
                algorithm,
                key,
            }),
        }
    }
}

/// The public key of a PEM text. Its kind decides the algorithm.
fn pem(text: &str) -> Result<TokenKey, String> {
    if text.contains("PRIVATE KEY-----") {
        return Err("it is a private key; the server needs only the public one".to_owned());
    }
    let bytes = text.as_bytes();
    let (algorithm, key) = if let Ok(key) = DecodingKey::from_ed_pem(bytes) {
        (Algorithm::EdDSA, key)
    } else if let Ok(key) = DecodingKey::from_ec_pem(bytes) {
        let point = key.try_get_as_bytes().map_or(0, <[u8]>::len);
        if point != 2 * COORDINATE_BYTES + 1 {
            return Err("its curve is not P-256".to_owned());
        }
        (Algorithm::ES256, key)
    } else if let Ok(key) = DecodingKey::from_rsa_pem(bytes) {
        if key.try_get_as_bytes().map_or(0, <[u8]>::len) < MODULUS_BYTES {
            return Err("its modulus has fewer than 2,048 bits".to_owned());
        }
        (Algorithm::RS256, key)
    } else {
        return Err("the PEM is no public key of RSA, P-256 or Ed25519".to_owned());
    };
    let id = None;
    Ok(TokenKey { id, algorithm, key })
}
