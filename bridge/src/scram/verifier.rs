//! What is stored of a password: enough to check a proof, and not enough to make one.

use base64ct::{Base64, Encoding as _};
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::{Digest as _, Sha256};
use std::fmt;
use std::str::FromStr;
use subtle::ConstantTimeEq as _;

/// The method's name in a CONNECT.
pub(crate) const METHOD: &str = "SCRAM-SHA-256";

/// The fewest iterations that RFC 7677 allows.
pub(crate) const FEWEST_ITERATIONS: u32 = 4_096;

/// More iterations would take a client minutes.
const MOST_ITERATIONS: u32 = 10_000_000;

/// The bytes of a new salt.
pub(crate) const SALT: usize = 16;

/// The most bytes of a salt. The server sends it.
const SALT_BYTES: usize = 1_024;

/// The verifier of one password.
///
/// Its text is the form in a users file, which other programs use too:
/// `SCRAM-SHA-256$<iterations>:<salt>$<StoredKey>:<ServerKey>`, in base64.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Verifier {
    pub iterations: u32,
    pub salt: Vec<u8>,
    /// A hash of the client's key.
    stored_key: [u8; 32],
    /// The key by which the server proves itself.
    server_key: [u8; 32],
}

impl Verifier {
    /// The verifier of a password normalized by `SASLprep`. The time grows with `iterations`.
    pub fn of(password: &str, salt: Vec<u8>, iterations: u32) -> Verifier {
        let mut salted = [0; 32];
        pbkdf2::pbkdf2_hmac::<Sha256>(password.as_bytes(), &salt, iterations, &mut salted);
        Verifier {
            iterations,
            salt,
            stored_key: Sha256::digest(hmac(&salted, b"Client Key")).into(),
            server_key: hmac(&salted, b"Server Key"),
        }
    }

    /// A verifier for a name that has none. It depends only on `key` and `name`. No password fits
    /// it.
    pub fn decoy(key: &[u8; 32], name: &str, iterations: impl FnOnce(u64) -> u32) -> Verifier {
        let part = |part: &str| hmac(key, format!("{part} {name}").as_bytes());
        let random = part("iterations").first_chunk().copied();
        Verifier {
            iterations: iterations(random.map_or(0, u64::from_be_bytes)),
            salt: part("salt")[..SALT].to_vec(),
            stored_key: part("stored"),
            server_key: part("server"),
        }
    }

    /// Whether `proof` proves the password for the messages `signed` (RFC 5802, section 3). The
    /// time does not depend on the proof.
    pub fn proves(&self, signed: &[u8], proof: &[u8; 32]) -> bool {
        let mut key = hmac(&self.stored_key, signed);
        key.iter_mut().zip(proof).for_each(|(a, b)| *a ^= b);
        Sha256::digest(key)[..].ct_eq(&self.stored_key[..]).into()
    }

    /// The signature that proves the server to the client.
    pub fn sign(&self, signed: &[u8]) -> [u8; 32] {
        hmac(&self.server_key, signed)
    }
}

/// HMAC-SHA-256 with a key of 32 bytes. A key shorter than the block is padded with zeros (RFC
/// 2104).
pub(crate) fn hmac(key: &[u8; 32], data: &[u8]) -> [u8; 32] {
    let mut block = [0; 64];
    block[..32].copy_from_slice(key);
    Hmac::<Sha256>::new(&block.into())
        .chain_update(data)
        .finalize()
        .into_bytes()
        .into()
}

impl fmt::Display for Verifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [salt, stored, server] =
            [&self.salt[..], &self.stored_key, &self.server_key].map(Base64::encode_string);
        let iterations = self.iterations;
        write!(f, "{METHOD}${iterations}:{salt}${stored}:{server}")
    }
}

/// Without the keys: a log must not contain secrets.
impl fmt::Debug for Verifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Verifier")
            .field("iterations", &self.iterations)
            .finish_non_exhaustive()
    }
}

/// The text is not a verifier, or the verifier is too weak.
#[derive(Debug)]
pub(crate) struct InvalidVerifier;

impl FromStr for Verifier {
    type Err = InvalidVerifier;

    fn from_str(text: &str) -> Result<Verifier, InvalidVerifier> {
        let bytes = |text| Base64::decode_vec(text).map_err(|_| InvalidVerifier);
        let key = |text| bytes(text)?.try_into().map_err(|_| InvalidVerifier);
        let pair = |text: &'_ str| {
            let (a, b) = text.split_once(':')?;
            Some((a.to_owned(), b.to_owned()))
        };
        let rest = text.strip_prefix(METHOD).ok_or(InvalidVerifier)?;
        let rest = rest.strip_prefix('$').ok_or(InvalidVerifier)?;
        let (cost, keys) = rest.split_once('$').ok_or(InvalidVerifier)?;
        let (iterations, salt) = pair(cost).ok_or(InvalidVerifier)?;
        let (stored, server) = pair(keys).ok_or(InvalidVerifier)?;
        let verifier = Verifier {
            iterations: iterations.parse().map_err(|_| InvalidVerifier)?,
            salt: bytes(&salt)?,
            stored_key: key(&stored)?,
            server_key: key(&server)?,
        };
        let costs = (FEWEST_ITERATIONS..=MOST_ITERATIONS).contains(&verifier.iterations);
        let salted = (1..=SALT_BYTES).contains(&verifier.salt.len());
        (costs && salted).then_some(verifier).ok_or(InvalidVerifier)
    }
}
