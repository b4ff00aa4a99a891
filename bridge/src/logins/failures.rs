//! How often a password may be guessed. Pure.
//!
//! An attempt takes a token from the buckets of its user and address, and gives them back unless it fails. So a right
//! password costs nothing, and attempts that run at one time cannot exceed a limit together.

use super::recent::Recent;
use super::source::LoginKey;
use roommq_broker::token_bucket::{Rate, TokenBucket};
use std::time::{Duration, Instant};

/// The time over which the limits count.
const MINUTE: Duration = Duration::from_mins(1);
/// Buckets of each kind, at most. One that was not used for a minute is full, and so may be forgotten.
const BUCKETS: usize = 1 << 16;

/// Failures in a minute. 0: no limit.
#[derive(Debug, Clone, Copy)]
pub(super) struct FailureRates {
    /// Of a user from one address.
    pub pair: u32,
    /// Of an address, whatever the users.
    pub address: u32,
    /// Of a user, from addresses from which the user has not logged in for a day.
    pub user: u32,
}

/// The limits that hold for an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Levels {
    Pair,
    PairAndAddress,
    All,
}

/// Tokens that an attempt has taken. Pass it to [`Failures::close`].
#[derive(Debug, Clone, Copy)]
pub(super) struct Charge {
    pub key: LoginKey,
    levels: Levels,
}

/// What an attempt has to wait for, and until when at least.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Blocked {
    /// Every attempt from the address has to wait.
    Address(Instant),
    /// The user has to wait at this address.
    Pair(Instant),
}

/// Buckets with one rate.
#[derive(Debug)]
struct Buckets {
    /// None: no limit.
    rate: Option<Rate>,
    by_key: Recent<u64, FailureBucket>,
}

#[derive(Debug)]
struct FailureBucket {
    tokens: TokenBucket,
    /// Tokens of attempts that have not ended.
    open: u32,
}

impl Buckets {
    fn new(failures: u32, now: Instant) -> Buckets {
        Buckets {
            rate: (failures > 0).then(|| Rate::new(failures, MINUTE)),
            by_key: Recent::new(BUCKETS, MINUTE, now),
        }
    }

    fn check(&mut self, key: u64, now: Instant) -> Result<(), Instant> {
        match (self.rate, self.by_key.get(&key)) {
            (Some(rate), Some(bucket)) => bucket.tokens.check(rate, now),
            _ => Ok(()),
        }
    }

    /// Whether there would be no token even if no attempt were open.
    fn is_used_up(&mut self, key: u64, now: Instant) -> bool {
        let (Some(rate), Some(bucket)) = (self.rate, self.by_key.get(&key)) else {
            return false;
        };
        let mut tokens = bucket.tokens;
        tokens.give_back(rate, bucket.open);
        tokens.check(rate, now).is_err()
    }

    fn take(&mut self, key: u64, now: Instant) {
        let Some(rate) = self.rate else { return };
        let bucket = self.by_key.entry(key, now, || FailureBucket {
            tokens: TokenBucket::full(now),
            open: 0,
        });
        if bucket.tokens.take(rate, now).is_ok() {
            bucket.open += 1;
        }
    }

    fn close(&mut self, key: u64, failed: bool) {
        if let (Some(rate), Some(bucket)) = (self.rate, self.by_key.get(&key)) {
            bucket.open = bucket.open.saturating_sub(1);
            if !failed {
                bucket.tokens.give_back(rate, 1);
            }
        }
    }
}

/// The limits on failures of pairs of user and address, of addresses and of users.
#[derive(Debug)]
pub(super) struct Failures {
    pairs: Buckets,
    addresses: Buckets,
    users: Buckets,
}

impl Failures {
    pub fn new(rates: FailureRates, now: Instant) -> Failures {
        Failures {
            pairs: Buckets::new(rates.pair, now),
            addresses: Buckets::new(rates.address, now),
            users: Buckets::new(rates.user, now),
        }
    }

    /// Whether an attempt may be made now.
    pub fn check(&mut self, key: LoginKey, levels: Levels, now: Instant) -> Result<(), Blocked> {
        if levels != Levels::Pair {
            self.addresses
                .check(key.address, now)
                .map_err(Blocked::Address)?;
        }
        if levels == Levels::All {
            self.users.check(key.user, now).map_err(Blocked::Pair)?;
        }
        self.pairs.check(key.pair, now).map_err(Blocked::Pair)
    }

    /// Whether failures alone, and not attempts that may yet succeed, are why an attempt has to wait.
    pub fn are_too_many(&mut self, key: LoginKey, levels: Levels, now: Instant) -> bool {
        self.pairs.is_used_up(key.pair, now)
            || (levels != Levels::Pair && self.addresses.is_used_up(key.address, now))
            || (levels == Levels::All && self.users.is_used_up(key.user, now))
    }

    /// Counts an attempt as a failure, until it is closed.
    pub fn take(&mut self, key: LoginKey, levels: Levels, now: Instant) -> Result<Charge, Blocked> {
        self.check(key, levels, now)?;
        self.pairs.take(key.pair, now);
        if levels != Levels::Pair {
            self.addresses.take(key.address, now);
        }
        if levels == Levels::All {
            self.users.take(key.user, now);
        }
        Ok(Charge { key, levels })
    }

    /// An attempt has ended. It counts as a failure if it `failed`.
    pub fn close(&mut self, Charge { key, levels }: Charge, failed: bool) {
        self.pairs.close(key.pair, failed);
        if levels != Levels::Pair {
            self.addresses.close(key.address, failed);
        }
        if levels == Levels::All {
            self.users.close(key.user, failed);
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::expect_used)]
    use super::*;

    const RATES: FailureRates = FailureRates {
        pair: 5,
        address: 20,
        user: 60,
    };

    fn key(user: u64, address: u64) -> LoginKey {
        let pair = user << 32 | address;
        LoginKey {
            user,
            address,
            pair,
        }
    }

    /// How many of 1,000 attempts are allowed at `now`.
    fn allowed(
        failures: &mut Failures,
        levels: Levels,
        now: Instant,
        key: impl Fn(u64) -> LoginKey,
    ) -> usize {
        let may = |n: &u64| failures.take(key(*n), levels, now).is_ok();
        (0..1_000).filter(may).count()
    }

    #[test]
    fn each_limit_counts_what_it_names() {
        let start = Instant::now();
        let of = |levels, key: fn(u64) -> LoginKey| {
            allowed(&mut Failures::new(RATES, start), levels, start, key)
        };
        assert_eq!(of(Levels::All, |_| key(1, 1)), 5);
        assert_eq!(of(Levels::All, |n| key(n, 1)), 20);
        assert_eq!(of(Levels::All, |n| key(1, n)), 60);
        assert_eq!(of(Levels::PairAndAddress, |n| key(1, n)), 1_000);
        assert_eq!(of(Levels::Pair, |n| key(n, 1)), 1_000);
        assert_eq!(of(Levels::All, |n| key(n, n)), 1_000);
        let none = FailureRates {
            pair: 0,
            address: 0,
            user: 0,
        };
        let mut none = Failures::new(none, start);
        let allowed = allowed(&mut none, Levels::All, start, |_| key(1, 1));
        assert_eq!(allowed, 1_000);
    }

    #[test]
    fn success_costs_nothing_and_a_failure_says_when_to_try_again() {
        let start = Instant::now();
        let mut failures = Failures::new(RATES, start);
        for _ in 0..100 {
            let charge = failures.take(key(1, 1), Levels::All, start);
            failures.close(charge.expect("none has failed"), false);
        }
        let count = allowed(&mut failures, Levels::All, start, |_| key(1, 1));
        assert_eq!(count, 5);
        // Attempts that may yet succeed are no failures.
        assert!(!failures.are_too_many(key(1, 1), Levels::All, start));
        let later = start + Duration::from_secs(12);
        let blocked = failures.check(key(1, 1), Levels::All, start);
        assert_eq!(blocked, Err(Blocked::Pair(later)));
        assert!(failures.check(key(2, 1), Levels::All, start).is_ok());
        assert!(failures.check(key(1, 1), Levels::All, later).is_ok());
    }
}
