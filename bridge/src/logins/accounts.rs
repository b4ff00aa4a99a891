//! The users of one reading of the users file, with what was verified since.

use super::verified::{VerifiedKey, VerifiedPasswords};
use crate::users::Users;
use std::time::Instant;

/// Users, and the passwords that were verified. A reload replaces both.
#[derive(Debug)]
pub(crate) struct Accounts {
    users: Users,
    verified: VerifiedPasswords,
}

impl Accounts {
    /// Remembers `most` verified passwords at most, and none without a key.
    pub fn new(users: Users, key: Option<VerifiedKey>, most: usize, now: Instant) -> Accounts {
        Accounts {
            users,
            verified: VerifiedPasswords::new(key, most, now),
        }
    }

    /// The users.
    pub fn users(&self) -> &Users {
        &self.users
    }

    /// Whether `password` was verified as that of `user` before. Takes microseconds.
    pub fn remembers(&self, user: &str, password: &[u8], now: Instant) -> bool {
        self.verified.contains(user, password, now)
    }

    /// Whether `password` is that of `user`. Takes tens of milliseconds of a core, unless it is remembered.
    pub fn verify(&self, user: &str, password: &[u8], now: Instant) -> bool {
        if self.remembers(user, password, now) {
            return true;
        }
        let right = self.users.verify(user, password);
        if right {
            self.verified.add(user, password, now);
        }
        right
    }
}
