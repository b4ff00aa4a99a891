//! Passwords that were right, so that a device that comes back costs no password hash.

use super::recent::Recent;
use crate::scram::hmac;
use parking_lot::Mutex;
use std::time::{Duration, Instant};

/// The key of the process under which verified passwords are remembered. It is never stored.
#[derive(Clone, Copy)]
pub(crate) struct VerifiedKey(pub [u8; 32]);

/// A log must not contain the key.
impl std::fmt::Debug for VerifiedKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("VerifiedKey")
    }
}

/// Pairs of user and password that were verified, as HMACs. It belongs to one reading of the users file and goes with it,
/// so it knows no password that was changed.
#[derive(Debug)]
pub(super) struct VerifiedPasswords {
    /// None: nothing is remembered.
    key: Option<VerifiedKey>,
    passwords: Mutex<Recent<[u8; 32], ()>>,
}

impl VerifiedPasswords {
    /// Remembers `most` passwords at most. None if it is 0, or without a key.
    pub fn new(key: Option<VerifiedKey>, most: usize, now: Instant) -> VerifiedPasswords {
        VerifiedPasswords {
            key: key.filter(|_| most > 0),
            passwords: Mutex::new(Recent::new(most, Duration::MAX, now)),
        }
    }

    /// Whether `password` was verified as that of `user`.
    pub fn contains(&self, user: &str, password: &[u8], now: Instant) -> bool {
        let Some(tag) = self.tag(user, password) else {
            return false;
        };
        let mut passwords = self.passwords.lock();
        if passwords.get(&tag).is_none() {
            return false;
        }
        // A password that is used is not forgotten.
        passwords.entry(tag, now, || ());
        true
    }

    /// Remembers that `password` is that of `user`.
    pub fn add(&self, user: &str, password: &[u8], now: Instant) {
        if let Some(tag) = self.tag(user, password) {
            self.passwords.lock().entry(tag, now, || ());
        }
    }

    fn tag(&self, user: &str, password: &[u8]) -> Option<[u8; 32]> {
        let key = self.key?;
        // The length keeps `ab` with `c` apart from `a` with `bc`.
        let length = u64::try_from(user.len()).ok()?.to_be_bytes();
        Some(hmac(&key.0, &[&length, user.as_bytes(), password].concat()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_remembered_for_its_user_alone() {
        let now = Instant::now();
        let verified = VerifiedPasswords::new(Some(VerifiedKey([7; 32])), 100, now);
        verified.add("al", b"ice", now);
        assert!(verified.contains("al", b"ice", now));
        for (user, password) in [("al", &b"ic"[..]), ("bob", b"ice"), ("a", b"lice")] {
            assert!(!verified.contains(user, password, now));
        }
        let shown = format!("{verified:?}");
        assert!(!shown.contains("7, 7"), "{shown}");
    }

    #[test]
    fn nothing_is_remembered_without_a_key_or_room() {
        let now = Instant::now();
        for verified in [
            VerifiedPasswords::new(None, 100, now),
            VerifiedPasswords::new(Some(VerifiedKey([7; 32])), 0, now),
        ] {
            verified.add("al", b"ice", now);
            assert!(!verified.contains("al", b"ice", now));
        }
    }
}
