//! Limits on the connections and the connects of each address, each user and each client. Each is off by default, and
//! costs nothing then. Times are passed in.

use crate::policy::Peer;
use crate::token_bucket::{Rate, TokenBucket};
use ahash::RandomState;
use parking_lot::Mutex;
use roommq_config::Limits;
use std::collections::HashMap;
use std::hash::Hash;
use std::net::IpAddr;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Keys of one table that are remembered. If so many are in use, further ones have no limit.
const KEYS: usize = 1 << 16;

/// The time in which `limits.flapping` counts connects.
const FLAPPING_WINDOW: Duration = Duration::from_mins(1);

/// The time for which a client that has flapped is refused.
const FLAPPING_REFUSED: Duration = Duration::from_mins(5);

/// A limit that does not admit a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ConnectLimit {
    /// The name of the setting, without its section.
    pub setting: &'static str,
    /// Its value.
    pub most: u32,
}

/// All of these limits of a server.
#[derive(Debug)]
pub(crate) struct ConnectLimits {
    addresses: Option<Arc<ConnectTable>>,
    users: Option<Arc<ConnectTable>>,
    flapping: Option<Mutex<Flapping>>,
}

impl ConnectLimits {
    pub(crate) fn new(limits: &Limits) -> ConnectLimits {
        let table = |settings: [&'static str; 2], values: [u32; 2]| {
            let limit = |at: usize| {
                let most = values[at];
                let setting = settings[at];
                (most > 0).then_some(ConnectLimit { setting, most })
            };
            let (open, rate) = (limit(0), limit(1));
            let is_limited = open.is_some() || rate.is_some();
            is_limited.then(|| Arc::new(ConnectTable::new(open, rate)))
        };
        let flapping = NonZeroU32::new(limits.flapping);
        ConnectLimits {
            addresses: table(
                ["connections_per_address", "connects_per_address"],
                [limits.connections_per_address, limits.connects_per_address],
            ),
            users: table(
                ["connections_per_user", "connects_per_user"],
                [limits.connections_per_user, limits.connects_per_user],
            ),
            flapping: flapping.map(|most| Mutex::new(Flapping::new(most.get()))),
        }
    }

    /// Counts a connection of an address. A local process has none.
    pub(crate) fn enter_address(
        &self,
        peer: Peer,
        now: Instant,
    ) -> Result<Option<ConnectGuard>, ConnectLimit> {
        let (Some(table), Peer::Address(address)) = (&self.addresses, peer) else {
            return Ok(None);
        };
        table.enter(network(address.ip()), false, now)
    }

    /// Counts a connection of a user. One that `takes_over` a session is admitted, for it ends another one.
    pub(crate) fn enter_user(
        &self,
        user: &str,
        takes_over: bool,
        now: Instant,
    ) -> Result<Option<ConnectGuard>, ConnectLimit> {
        match &self.users {
            Some(table) => table.enter(user, takes_over, now),
            None => Ok(None),
        }
    }

    /// Whether a client has connected too often, and is refused for some minutes.
    pub(crate) fn is_flapping(
        &self,
        client: (Option<&str>, &str),
        now: Instant,
    ) -> Result<(), ConnectLimit> {
        let flapping = self.flapping.as_ref();
        flapping.map_or(Ok(()), |flapping| flapping.lock().check(client, now))
    }

    /// Counts a connect of a client that may connect.
    pub(crate) fn note_connect(
        &self,
        client: (Option<&str>, &str),
        now: Instant,
    ) -> Result<(), ConnectLimit> {
        let flapping = self.flapping.as_ref();
        flapping.map_or(Ok(()), |flapping| flapping.lock().note(client, now))
    }
}

/// The network that counts as one address: one machine mostly has a whole /64 of IPv6.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => {
            let prefix = u128::from(address) & !u128::from(u64::MAX);
            IpAddr::V6(prefix.into())
        }
        v4 @ IpAddr::V4(_) => v4,
    }
}

/// The open connections and the connects of each key.
#[derive(Debug)]
struct ConnectTable {
    open: Option<ConnectLimit>,
    /// Connects a second.
    rate: Option<ConnectLimit>,
    /// Turns keys into numbers.
    hasher: RandomState,
    records: Mutex<Records>,
}

#[derive(Debug)]
struct Records {
    by_key: HashMap<u64, ConnectRecord>,
    /// The last removal of records without use, which visits all of them.
    pruned: Option<Instant>,
}

#[derive(Debug)]
struct ConnectRecord {
    open: u32,
    rate: Option<TokenBucket>,
}

impl ConnectTable {
    fn new(open: Option<ConnectLimit>, rate: Option<ConnectLimit>) -> ConnectTable {
        ConnectTable {
            open,
            rate,
            hasher: RandomState::new(),
            records: Mutex::new(Records {
                by_key: HashMap::new(),
                pruned: None,
            }),
        }
    }

    /// Counts a connection. None: no more keys are remembered.
    fn enter(
        self: &Arc<Self>,
        key: impl Hash,
        takes_over: bool,
        now: Instant,
    ) -> Result<Option<ConnectGuard>, ConnectLimit> {
        let key = self.hasher.hash_one(key);
        let mut records = self.records.lock();
        if !records.has_capacity_for(key, now) {
            return Ok(None);
        }
        let record = records.by_key.entry(key).or_insert_with(|| ConnectRecord {
            open: 0,
            rate: self.rate.map(|_| TokenBucket::full(now)),
        });
        if let (Some(bucket), Some(rate)) = (&mut record.rate, self.rate)
            && bucket.take(per_second(rate), now).is_err()
        {
            return Err(rate);
        }
        if let Some(limit) = self.open
            && record.open >= limit.most
            && !takes_over
        {
            return Err(limit);
        }
        record.open += 1;
        let table = self.clone();
        Ok(Some(ConnectGuard { table, key }))
    }
}

/// The rate of a limit on connects.
fn per_second(limit: ConnectLimit) -> Rate {
    Rate::new(limit.most, Duration::from_secs(1))
}

impl Records {
    fn has_capacity_for(&mut self, key: u64, now: Instant) -> bool {
        if self.by_key.len() < KEYS || self.by_key.contains_key(&key) {
            return true;
        }
        let second = Duration::from_secs(1);
        let recent = |at: Instant| now.saturating_duration_since(at) < second;
        if !self.pruned.is_some_and(recent) {
            self.pruned = Some(now);
            self.by_key.retain(|_, record| {
                let used = |bucket: &TokenBucket| !bucket.is_full(now);
                record.open > 0 || record.rate.as_ref().is_some_and(used)
            });
        }
        self.by_key.len() < KEYS
    }
}

/// Counts a connection until it is dropped.
#[derive(Debug)]
pub(crate) struct ConnectGuard {
    table: Arc<ConnectTable>,
    key: u64,
}

impl Drop for ConnectGuard {
    fn drop(&mut self) {
        let mut records = self.table.records.lock();
        if let Some(record) = records.by_key.get_mut(&self.key) {
            record.open = record.open.saturating_sub(1);
            if record.open == 0 && record.rate.is_none() {
                records.by_key.remove(&self.key);
            }
        }
    }
}

/// The clients that connect again and again.
#[derive(Debug)]
struct Flapping {
    limit: ConnectLimit,
    hasher: RandomState,
    by_client: HashMap<u64, Connects>,
    pruned: Option<Instant>,
}

/// The connects of one client.
#[derive(Debug, Clone, Copy)]
struct Connects {
    /// The start of the minute in which they are counted.
    since: Instant,
    count: u32,
    /// The client has connected too often in that minute: until when it is refused.
    refused_until: Option<Instant>,
}

impl Connects {
    fn is_refused(&self, now: Instant) -> bool {
        self.refused_until.is_some_and(|until| now < until)
    }

    fn is_recent(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.since) < FLAPPING_WINDOW
    }
}

impl Flapping {
    fn new(most: u32) -> Flapping {
        let setting = "flapping";
        Flapping {
            limit: ConnectLimit { setting, most },
            hasher: RandomState::new(),
            by_client: HashMap::new(),
            pruned: None,
        }
    }

    fn check(&self, client: (Option<&str>, &str), now: Instant) -> Result<(), ConnectLimit> {
        let connects = self.by_client.get(&self.hasher.hash_one(client));
        match connects {
            Some(connects) if connects.is_refused(now) => Err(self.limit),
            _ => Ok(()),
        }
    }

    fn note(&mut self, client: (Option<&str>, &str), now: Instant) -> Result<(), ConnectLimit> {
        let key = self.hasher.hash_one(client);
        if self.by_client.len() >= KEYS && !self.by_client.contains_key(&key) {
            let recent = |at: Instant| now.saturating_duration_since(at) < FLAPPING_WINDOW;
            if !self.pruned.is_some_and(recent) {
                self.pruned = Some(now);
                let used =
                    |connects: &Connects| connects.is_recent(now) || connects.is_refused(now);
                self.by_client.retain(|_, connects| used(connects));
            }
            if self.by_client.len() >= KEYS {
                return Ok(());
            }
        }
        let new = Connects {
            since: now,
            count: 0,
            refused_until: None,
        };
        let connects = self.by_client.entry(key).or_insert(new);
        if !connects.is_recent(now) {
            *connects = new;
        }
        connects.count += 1;
        if connects.count <= self.limit.most {
            return Ok(());
        }
        connects.refused_until = Some(now + FLAPPING_REFUSED);
        Err(self.limit)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn limits() -> Limits {
        Limits {
            connections_per_address: 2,
            connects_per_address: 3,
            connections_per_user: 1,
            flapping: 2,
            ..Limits::default()
        }
    }

    fn peer(address: &str) -> Peer {
        Peer::Address(format!("{address}:1").parse().unwrap())
    }

    #[test]
    fn an_address_has_so_many_connections_and_connects() {
        let limits = ConnectLimits::new(&limits());
        let now = Instant::now();
        let enter = |address, now| {
            limits
                .enter_address(peer(address), now)
                .map_err(|l| l.setting)
        };
        let first = enter("[2001:db8::1]", now).unwrap();
        let second = enter("[2001:db8::2]", now).unwrap();
        let setting = enter("[2001:db8::3]", now).unwrap_err();
        assert_eq!(setting, "connections_per_address");
        assert!(enter("[2001:db8:0:1::]", now).unwrap().is_some());
        drop(first);
        let setting = enter("[2001:db8::1]", now).unwrap_err();
        assert_eq!(setting, "connects_per_address", "three in this second");
        assert!(
            enter("[2001:db8::1]", now + Duration::from_secs(1))
                .unwrap()
                .is_some()
        );
        assert!(limits.enter_address(Peer::Local, now).unwrap().is_none());
        drop(second);
    }

    #[test]
    fn a_takeover_is_no_second_connection() {
        let limits = ConnectLimits::new(&limits());
        let now = Instant::now();
        let enter = |takes_over| limits.enter_user("al", takes_over, now);
        let first = enter(false).unwrap();
        assert_eq!(enter(false).unwrap_err().most, 1);
        let second = enter(true).unwrap();
        drop(first);
        assert!(enter(false).is_err());
        drop(second);
        assert!(enter(false).unwrap().is_some());
        let table = limits.users.as_ref().unwrap();
        assert!(table.records.lock().by_key.is_empty());
    }

    #[test]
    fn a_client_that_flaps_is_refused_for_five_minutes() {
        let limits = ConnectLimits::new(&limits());
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let client = (Some("al"), "phone");
        assert!(limits.note_connect(client, at(0)).is_ok());
        assert!(limits.note_connect(client, at(0)).is_ok());
        assert!(
            limits.note_connect(client, at(61)).is_ok(),
            "another minute"
        );
        assert!(limits.note_connect(client, at(62)).is_ok());
        assert!(limits.is_flapping(client, at(63)).is_ok());
        assert!(limits.note_connect(client, at(63)).is_err());
        assert!(limits.is_flapping(client, at(362)).is_err());
        assert!(limits.is_flapping((Some("al"), "desk"), at(63)).is_ok());
        assert!(limits.is_flapping(client, at(363)).is_ok());
        assert!(limits.note_connect(client, at(363)).is_ok());
    }

    #[test]
    fn memory_is_bounded() {
        let limits = ConnectLimits::new(&Limits {
            connects_per_user: 1,
            flapping: 1,
            ..Limits::default()
        });
        let now = Instant::now();
        let later = now + FLAPPING_WINDOW;
        for (n, now) in (0..KEYS * 2).map(|n| (n, if n < KEYS { now } else { later })) {
            let user = n.to_string();
            drop(limits.enter_user(&user, false, now).unwrap());
            limits.note_connect((None, &user), now).unwrap();
        }
        let users = limits.users.as_ref().unwrap();
        assert!(users.records.lock().by_key.len() <= KEYS);
        assert!(limits.flapping.as_ref().unwrap().lock().by_client.len() <= KEYS);
    }
}
