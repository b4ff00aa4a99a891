//! Logins by name and password: whose password is checked next, and how often one may be guessed.
//!
//! A login passes these steps:
//!
//! 1. A password that was verified before is accepted at once (`accounts.rs`).
//! 2. Other logins wait for their turn (`queue.rs`). Addresses take turns, and so do the users of an address. Those that
//!    have failed too often wait longer (`failures.rs`).
//! 3. A password is hashed on a blocking thread, `limits.password_checks` of them at a time. The proof of a SCRAM
//!    exchange costs next to nothing: it waits for its turn, and not for a thread.
//!
//! Who drops the future of a login gives its place up.

mod accounts;
mod failures;
mod queue;
mod recent;
mod ring;
mod source;
mod verified;

pub(crate) use accounts::Accounts;

use crate::random::random_bytes;
use crate::users::Users;
use bytes::Bytes;
use failures::{Charge, FailureRates, Failures, Levels};
use parking_lot::Mutex;
use queue::{LoginQueue, TurnNumber};
use recent::Recent;
use roommq_broker::policy::Peer;
use roommq_config::Limits;
use source::{LoginKey, LoginKeys};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::oneshot;
use verified::VerifiedKey;

/// A user who has logged in from an address is known there for this time.
const KNOWN: Duration = Duration::from_hours(24);
/// Known pairs of user and address, at most.
const KNOWN_PAIRS: usize = 1 << 18;
/// Logins that wait at one address while it has failed too often. Further ones are refused.
const WAITING_BLOCKED: usize = 100;
/// Looks at verified passwords that find nothing are limited as failures are, with limits this many times as high.
/// Otherwise one could guess at full speed, and hang up whenever the answer does not come at once.
const LOOKS: u32 = 12;

/// Decides when a login may be tried. See the [module](self).
#[derive(Debug)]
pub(crate) struct LoginGate {
    keys: LoginKeys,
    /// The most logins that wait.
    most_waiting: usize,
    /// The most verified passwords that are remembered.
    most_remembered: usize,
    /// None: the operating system gave no random bytes for it, and no password is remembered.
    key: Option<VerifiedKey>,
    state: Mutex<GateState>,
}

#[derive(Debug)]
struct GateState {
    failures: Failures,
    /// Counts looks at verified passwords that found nothing.
    looks: Failures,
    /// When a user last logged in, by user and address.
    known: Recent<u64, Instant>,
    passwords: LoginQueue<TurnSender>,
    proofs: LoginQueue<TurnSender>,
    /// When the timer wakes the next login.
    timer: Option<Instant>,
}

type TurnSender = oneshot::Sender<LoginTurn>;

/// What a login has to be checked by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Check {
    Password,
    Proof,
}

/// Too many logins wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TooManyWait;

impl GateState {
    fn turns(&mut self, check: Check) -> &mut LoginQueue<TurnSender> {
        match check {
            Check::Password => &mut self.passwords,
            Check::Proof => &mut self.proofs,
        }
    }

    fn is_known(&mut self, key: LoginKey, now: Instant) -> bool {
        let last = self.known.get(&key.pair);
        last.is_some_and(|last| now.saturating_duration_since(*last) < KNOWN)
    }

    /// The limits on the failures of a login.
    fn levels(&mut self, key: LoginKey, now: Instant) -> Levels {
        if self.is_known(key, now) {
            Levels::PairAndAddress
        } else {
            Levels::All
        }
    }

    /// Adds a login to those that wait. Returns its place, and one that waits no more instead of it.
    fn push(
        &mut self,
        key: LoginKey,
        check: Check,
        most: usize,
        sender: TurnSender,
    ) -> Result<(TurnNumber, Option<TurnSender>), TooManyWait> {
        let now = Instant::now();
        let levels = self.levels(key, now);
        let waiting_here =
            self.passwords.waiting_at(key.address) + self.proofs.waiting_at(key.address);
        if waiting_here >= WAITING_BLOCKED && self.failures.are_too_many(key, levels, now) {
            return Err(TooManyWait);
        }
        let number = self.turns(check).push(key, levels, sender);
        let is_over = self.passwords.waiting() + self.proofs.waiting() > most;
        let larger = if self.passwords.waiting() > self.proofs.waiting() {
            Check::Password
        } else {
            Check::Proof
        };
        let removed = is_over.then(|| self.turns(larger).remove_newest_of_largest());
        Ok((number, removed.flatten()))
    }
}

impl LoginGate {
    pub fn new(limits: &Limits) -> Arc<LoginGate> {
        let now = Instant::now();
        let rates = |factor: u32| FailureRates {
            pair: limits.login_failures.saturating_mul(factor),
            address: limits.login_failures_address.saturating_mul(factor),
            user: limits.login_failures_user.saturating_mul(factor),
        };
        Arc::new(LoginGate {
            keys: LoginKeys::default(),
            most_waiting: limits.login_queue,
            most_remembered: limits.password_cache,
            key: random_bytes().ok().map(VerifiedKey),
            state: Mutex::new(GateState {
                failures: Failures::new(rates(1), now),
                looks: Failures::new(rates(LOOKS), now),
                known: Recent::new(KNOWN_PAIRS, KNOWN, now),
                passwords: LoginQueue::new(limits.password_checks.max(1)),
                proofs: LoginQueue::new(usize::MAX),
                timer: None,
            }),
        })
    }

    /// These users, of whom no password has been verified.
    pub fn accounts(&self, users: Users) -> Arc<Accounts> {
        let now = Instant::now();
        Arc::new(Accounts::new(users, self.key, self.most_remembered, now))
    }

    /// Identifies logins of `user` from the address of `peer`.
    pub fn key(&self, user: &str, peer: Peer) -> LoginKey {
        self.keys.of(user, peer)
    }

    /// Whether `password` is that of `user`, when it is the login's turn. Users are taken from `accounts` then.
    /// False if the check panics. Needs a tokio runtime.
    pub async fn check(
        self: &Arc<Self>,
        key: LoginKey,
        accounts: impl Fn() -> Arc<Accounts>,
        user: String,
        password: Bytes,
    ) -> Result<bool, TooManyWait> {
        let look = self.look(key);
        if look.is_some() && accounts().remembers(&user, &password, Instant::now()) {
            self.succeeded(key, look);
            return Ok(true);
        }
        let mut turn = self.turn(key, Check::Password).await?;
        turn.look = look;
        let accounts = accounts();
        let check = tokio::task::spawn_blocking(move || {
            // The thread holds the turn: the caller may be dropped before the check ends.
            let right = accounts.verify(&user, &password, Instant::now());
            turn.end(right);
            right
        });
        Ok(check.await.unwrap_or(false))
    }

    /// Waits until a SCRAM proof may be checked.
    pub async fn proof(self: &Arc<Self>, key: LoginKey) -> Result<LoginTurn, TooManyWait> {
        self.turn(key, Check::Proof).await
    }

    /// Permission to look at the verified passwords. Given back if the login succeeds.
    fn look(&self, key: LoginKey) -> Option<Charge> {
        let mut state = self.state.lock();
        let now = Instant::now();
        // Others behind the address of a user cannot keep the user out.
        let levels = if state.is_known(key, now) {
            Levels::Pair
        } else {
            Levels::All
        };
        state.looks.take(key, levels, now).ok()
    }

    fn succeeded(&self, key: LoginKey, look: Option<Charge>) {
        let mut state = self.state.lock();
        if let Some(look) = look {
            state.looks.close(look, false);
        }
        let now = Instant::now();
        *state.known.entry(key.pair, now, || now) = now;
    }

    async fn turn(self: &Arc<Self>, key: LoginKey, check: Check) -> Result<LoginTurn, TooManyWait> {
        let (sender, receiver) = oneshot::channel();
        let (number, removed) = self
            .state
            .lock()
            .push(key, check, self.most_waiting, sender)?;
        drop(removed);
        let _place = WaitingPlace {
            gate: self,
            check,
            number,
        };
        self.advance();
        receiver.await.map_err(|_| TooManyWait)
    }

    /// Gives turns to all that may have one, and sets the timer for the next.
    fn advance(self: &Arc<Self>) {
        let mut given = Vec::new();
        let due = {
            let mut guard = self.state.lock();
            let state = &mut *guard;
            let now = Instant::now();
            for (check, turns) in [
                (Check::Password, &mut state.passwords),
                (Check::Proof, &mut state.proofs),
            ] {
                while let Some((charge, sender)) = turns.next(&mut state.failures, now) {
                    let turn = LoginTurn {
                        gate: self.clone(),
                        check,
                        charge,
                        look: None,
                        right: None,
                    };
                    given.push((sender, turn));
                }
            }
            let dues = [state.passwords.due(), state.proofs.due()];
            let due = dues.into_iter().flatten().min();
            due.filter(|due| state.timer.is_none_or(|timer| *due < timer))
                .inspect(|due| state.timer = Some(*due))
        };
        // Not under the lock: one that is not taken ends here, and takes the lock.
        for (sender, turn) in given {
            drop(sender.send(turn));
        }
        if let Some(due) = due {
            self.wake_at(due);
        }
    }

    fn wake_at(self: &Arc<Self>, due: Instant) {
        let gate = self.clone();
        let Ok(runtime) = tokio::runtime::Handle::try_current() else {
            // The server is about to end.
            return;
        };
        runtime.spawn(async move {
            tokio::time::sleep_until(due.into()).await;
            gate.state.lock().timer.take_if(|timer| *timer <= due);
            gate.advance();
        });
    }
}

/// The place of a login that waits. Dropped, the login waits no more.
struct WaitingPlace<'a> {
    gate: &'a LoginGate,
    check: Check,
    number: TurnNumber,
}

impl Drop for WaitingPlace<'_> {
    fn drop(&mut self) {
        let mut state = self.gate.state.lock();
        let removed = state.turns(self.check).remove(self.number);
        drop(state);
        drop(removed);
    }
}

/// The turn of one login. It counts as a failure until [`end`](LoginTurn::end) says that it was none.
///
/// Dropped without `end`, nothing was tried: the turn was not used.
#[derive(Debug)]
pub(crate) struct LoginTurn {
    gate: Arc<LoginGate>,
    check: Check,
    charge: Charge,
    look: Option<Charge>,
    /// None: nothing was tried.
    right: Option<bool>,
}

impl LoginTurn {
    /// The password or proof was checked, and was `right`.
    pub fn end(mut self, right: bool) {
        self.right = Some(right);
    }
}

impl Drop for LoginTurn {
    fn drop(&mut self) {
        let failed = self.right == Some(false);
        let key = self.charge.key;
        {
            let mut state = self.gate.state.lock();
            state.failures.close(self.charge, failed);
            state.turns(self.check).finished();
            if !failed {
                state.passwords.wake(key);
                state.proofs.wake(key);
            }
        }
        if self.right == Some(true) {
            self.gate.succeeded(key, self.look);
        }
        self.gate.advance();
    }
}

#[cfg(test)]
mod tests;
