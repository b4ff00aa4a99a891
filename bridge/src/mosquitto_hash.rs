//! The password hashes of mosquitto: `$6$<salt>$<hash>` and `$7$<iterations>$<salt>$<hash>`, in base64.

use base64ct::{Base64, Encoding as _};
use sha2::{Digest as _, Sha512};
use std::str::FromStr;
use subtle::ConstantTimeEq as _;

/// The bytes of a hash: those of SHA-512.
const HASH: usize = 64;

/// The most bytes of a salt; mosquitto makes 12 or 64.
const SALT_BYTES: usize = 256;

/// More iterations would take a core for seconds; mosquitto makes 101 or 1,000.
const MOST_ITERATIONS: u32 = 1_000_000;

/// One hash. `mosquitto_passwd` has made it.
#[derive(Clone, PartialEq)]
pub(crate) struct MosquittoHash {
    /// As it was written.
    pub text: String,
    /// Those of PBKDF2. None: SHA-512 of password and salt.
    iterations: Option<u32>,
    salt: Vec<u8>,
    hash: Vec<u8>,
}

impl MosquittoHash {
    /// Whether it is the hash of `password`. Fast, compared with argon2.
    pub fn verify(&self, password: &[u8]) -> bool {
        let mut hash = [0; HASH];
        if let Some(iterations) = self.iterations {
            pbkdf2::pbkdf2_hmac::<Sha512>(password, &self.salt, iterations, &mut hash);
        } else {
            let digest = Sha512::new_with_prefix(password).chain_update(&self.salt);
            hash = digest.finalize().into();
        }
        hash.ct_eq(&self.hash).into()
    }
}

/// The text is no such hash.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct NoMosquittoHash;

impl FromStr for MosquittoHash {
    type Err = NoMosquittoHash;

    fn from_str(text: &str) -> Result<MosquittoHash, NoMosquittoHash> {
        let parts: Vec<&str> = text.split('$').collect();
        let (iterations, salt, hash) = match parts[..] {
            ["", "6", salt, hash] => (None, salt, hash),
            ["", "7", iterations, salt, hash] => {
                let number = iterations.parse().map_err(|_| NoMosquittoHash)?;
                (Some(number), salt, hash)
            }
            _ => return Err(NoMosquittoHash),
        };
        let decode = |text: &str| Base64::decode_vec(text).map_err(|_| NoMosquittoHash);
        let (salt, hash) = (decode(salt)?, decode(hash)?);
        let is_usable = iterations.is_none_or(|n| (1..=MOST_ITERATIONS).contains(&n))
            && (1..=SALT_BYTES).contains(&salt.len())
            && hash.len() == HASH;
        is_usable
            .then(|| MosquittoHash {
                text: text.to_owned(),
                iterations,
                salt,
                hash,
            })
            .ok_or(NoMosquittoHash)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const SIX: &str = "$6$AQIDBAUGBwgJCgsM$k4h6DJTPKKgPqwiLW87w0j5t6eo2nkDOCc72xNQ6goxbMrAMEDvsnYteF9SSd1cyXtc8SuF5I0GVPt7YRi6Wdw==";
    const SEVEN: &str = "$7$101$AQIDBAUGBwgJCgsM$mIOMyf0G01/LkKvFuu6raA+sJydkdh2qDZD+cyTDcrMk08Rnc3N+vIiTgRJqnolJL9TU+/R/F+mbz31mQG16jg==";

    #[test]
    fn both_kinds_verify_their_password_alone() {
        for text in [SIX, SEVEN] {
            let hash: MosquittoHash = text.parse().unwrap();
            assert!(hash.verify(b"correct horse"), "{text}");
            assert!(
                !hash.verify(b"correct horsf") && !hash.verify(b""),
                "{text}"
            );
        }
    }

    #[test]
    fn other_texts_are_no_hashes() {
        for text in [
            "",
            "secret",
            "$argon2id$v=19$m=19456,t=2,p=1$c2FsdA$aGFzaA",
            "$6$AQIDBAUGBwgJCgsM$AAAA",
            "$7$0$AQIDBAUGBwgJCgsM$AAAA",
            &SEVEN.replace("$101$", "$4000000000$"),
            &SEVEN.replace("$101$", "$0$"),
            &SEVEN.replace("$7$", "$8$"),
            &SIX.replace("$6$", "$6$$"),
        ] {
            assert!(text.parse::<MosquittoHash>().is_err(), "{text}");
        }
    }
}
