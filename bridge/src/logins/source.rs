//! Where a login comes from, and for whom it is.

use roommq_broker::policy::Peer;
use std::hash::{BuildHasher, RandomState};
use std::net::IpAddr;

/// The place that limits count as one address: an IPv4 address, the first 64 bits of an IPv6 address (what one
/// household or machine has), or all Unix sockets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum LoginAddress {
    V4([u8; 4]),
    V6([u16; 4]),
    Local,
}

impl LoginAddress {
    fn of(peer: Peer) -> LoginAddress {
        let Peer::Address(address) = peer else {
            return LoginAddress::Local;
        };
        match address.ip().to_canonical() {
            IpAddr::V4(ip) => LoginAddress::V4(ip.octets()),
            IpAddr::V6(ip) => {
                let [network @ .., _, _, _, _] = ip.segments();
                LoginAddress::V6(network)
            }
        }
    }
}

/// A user and an address as keyed hashes. Nobody outside can choose names whose hashes are equal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct LoginKey {
    pub user: u64,
    pub address: u64,
    /// Both together.
    pub pair: u64,
}

/// Makes login keys. Those of two makers differ.
#[derive(Debug, Default)]
pub(super) struct LoginKeys(RandomState);

impl LoginKeys {
    pub fn of(&self, user: &str, peer: Peer) -> LoginKey {
        let source = LoginAddress::of(peer);
        LoginKey {
            user: self.0.hash_one(user),
            address: self.0.hash_one(source),
            pair: self.0.hash_one((user, source)),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use std::net::SocketAddr;

    #[test]
    fn an_address_is_one_machine_or_one_network_of_ipv6() {
        let keys = LoginKeys::default();
        let key = |user, address: &str| {
            let address: SocketAddr = address.parse().unwrap();
            keys.of(user, address.into())
        };
        let al = key("al", "192.0.2.1:1");
        assert_eq!(al, key("al", "192.0.2.1:2"));
        assert_eq!(al, key("al", "[::ffff:192.0.2.1]:3"));
        let bob = key("bob", "192.0.2.1:1");
        assert!(al.address == bob.address && al.user != bob.user && al.pair != bob.pair);
        let away = key("al", "192.0.2.2:1");
        assert!(al.address != away.address && al.user == away.user && al.pair != away.pair);
        let network = key("al", "[2001:db8:1:2::1]:1");
        assert_eq!(network, key("al", "[2001:db8:1:2:ffff::2]:1"));
        assert_ne!(network, key("al", "[2001:db8:1:3::1]:1"));
        assert_eq!(keys.of("al", Peer::Local), keys.of("al", Peer::Local));
    }
}
