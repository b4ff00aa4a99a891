//! Whose login is checked next. Pure.
//!
//! Addresses take turns, and so do the users of an address. An address or a user that has failed too often is put off,
//! and delays no other.

use super::failures::{Blocked, Charge, Failures, Levels};
use super::ring::Ring;
use super::source::LoginKey;
use std::collections::{BTreeMap, HashMap};
use std::time::Instant;

/// Logins that wait to be checked. `W` is a handle of one that waits.
#[derive(Debug)]
pub(super) struct LoginQueue<W> {
    /// The most checks at one time.
    at_once: usize,
    running: usize,
    waiting: usize,
    /// The number of the next login.
    next: u64,
    order: Ring,
    addresses: HashMap<u64, AddressQueue<W>>,
}

/// The logins that wait at one address.
#[derive(Debug)]
struct AddressQueue<W> {
    order: Ring,
    /// The user of each login, by its number.
    numbers: BTreeMap<u64, u64>,
    users: HashMap<u64, BTreeMap<u64, WaitingLogin<W>>>,
}

#[derive(Debug)]
struct WaitingLogin<W> {
    key: LoginKey,
    levels: Levels,
    handle: W,
}

/// The place of one that waits.
#[derive(Debug, Clone, Copy)]
pub(super) struct TurnNumber {
    key: LoginKey,
    number: u64,
}

impl<W> AddressQueue<W> {
    /// The login whose turn it is at this address. Err: the time until which all of them have to wait, if there are any.
    fn next(
        &mut self,
        failures: &mut Failures,
        now: Instant,
    ) -> Result<(Charge, W), Option<Instant>> {
        while let Some(user) = self.order.pop(now) {
            let Some(queue) = self.users.get_mut(&user) else {
                continue;
            };
            let Some(first) = queue.first_entry() else {
                self.users.remove(&user);
                continue;
            };
            let login = first.get();
            match failures.take(login.key, login.levels, now) {
                Ok(charge) => {
                    self.numbers.remove(first.key());
                    let handle = first.remove().handle;
                    if queue.is_empty() {
                        self.users.remove(&user);
                    } else {
                        self.order.add(user);
                    }
                    return Ok((charge, handle));
                }
                Err(Blocked::Address(until)) => {
                    self.order.add(user);
                    return Err(Some(until));
                }
                Err(Blocked::Pair(until)) => self.order.put_off(user, until),
            }
        }
        Err(self.order.due())
    }
}

impl<W> LoginQueue<W> {
    /// No login waits, and `at_once` may be checked at one time.
    pub fn new(at_once: usize) -> LoginQueue<W> {
        LoginQueue {
            at_once,
            running: 0,
            waiting: 0,
            next: 0,
            order: Ring::default(),
            addresses: HashMap::new(),
        }
    }

    /// Adds a login at the end.
    pub fn push(&mut self, key: LoginKey, levels: Levels, handle: W) -> TurnNumber {
        let number = self.next;
        self.next += 1;
        self.waiting += 1;
        let address = self
            .addresses
            .entry(key.address)
            .or_insert_with(|| AddressQueue {
                order: Ring::default(),
                numbers: BTreeMap::new(),
                users: HashMap::new(),
            });
        address.numbers.insert(number, key.user);
        let queue = address.users.entry(key.user).or_default();
        if queue.is_empty() {
            address.order.add(key.user);
        }
        let waiting = WaitingLogin {
            key,
            levels,
            handle,
        };
        queue.insert(number, waiting);
        // It may be put off because its other users are.
        self.order.add(key.address);
        TurnNumber { key, number }
    }

    /// Removes a login that waits no more, if it still waits.
    pub fn remove(&mut self, TurnNumber { key, number }: TurnNumber) -> Option<W> {
        let address = self.addresses.get_mut(&key.address)?;
        let queue = address.users.get_mut(&key.user)?;
        let removed = queue.remove(&number)?;
        if queue.is_empty() {
            address.users.remove(&key.user);
            address.order.remove(key.user);
        }
        address.numbers.remove(&number);
        self.waiting -= 1;
        self.forget_if_empty(key.address);
        Some(removed.handle)
    }

    /// The next login that may be checked. Call [`finished`](Self::finished) when it was.
    pub fn next(&mut self, failures: &mut Failures, now: Instant) -> Option<(Charge, W)> {
        while self.running < self.at_once {
            let address = self.order.pop(now)?;
            let Some(queue) = self.addresses.get_mut(&address) else {
                continue;
            };
            match queue.next(failures, now) {
                Ok(login) => {
                    self.order.add(address);
                    self.forget_if_empty(address);
                    self.running += 1;
                    self.waiting -= 1;
                    return Some(login);
                }
                Err(Some(until)) => self.order.put_off(address, until),
                Err(None) => drop(self.addresses.remove(&address)),
            }
        }
        None
    }

    /// A login was checked.
    pub fn finished(&mut self) {
        self.running = self.running.saturating_sub(1);
    }

    /// Logins of this user and address need not wait any more for one that was open.
    pub fn wake(&mut self, key: LoginKey) {
        if let Some(queue) = self.addresses.get_mut(&key.address) {
            queue.order.wake(key.user);
            self.order.wake(key.address);
        }
    }

    /// When to ask for the next login again. None: when one is added or finished.
    pub fn due(&self) -> Option<Instant> {
        self.order.due().filter(|_| self.running < self.at_once)
    }

    /// How many logins wait.
    pub fn waiting(&self) -> usize {
        self.waiting
    }

    /// How many logins wait at the address.
    pub fn waiting_at(&self, address: u64) -> usize {
        self.addresses
            .get(&address)
            .map_or(0, |queue| queue.numbers.len())
    }

    /// Removes the newest login of the address that has most of them.
    pub fn remove_newest_of_largest(&mut self) -> Option<W> {
        let addresses = self.addresses.values();
        let largest = addresses.max_by_key(|queue| queue.numbers.len())?;
        let (number, user) = largest.numbers.last_key_value()?;
        let login = largest.users.get(user)?.get(number)?;
        let (number, key) = (*number, login.key);
        self.remove(TurnNumber { key, number })
    }

    fn forget_if_empty(&mut self, address: u64) {
        if self.waiting_at(address) == 0 {
            self.addresses.remove(&address);
            self.order.remove(address);
        }
    }
}

#[cfg(test)]
mod tests;
