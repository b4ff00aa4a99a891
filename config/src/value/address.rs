//! Addresses to listen on: `HOST:PORT`, or a port alone, which means 127.0.0.1. `localhost` is 127.0.0.1 and `::1`.

use super::{Hint, text, whole};
use crate::settings::Endpoint;
use config::ValueKind;
use std::net::{Ipv4Addr, SocketAddr};

pub(crate) fn read(value: &ValueKind, (): ()) -> Result<Endpoint, Hint> {
    let port = || u16::try_from(whole(value)?).ok().map(here);
    let given = match text(value) {
        Some(text) => address(text),
        None => port(),
    };
    given.ok_or_else(|| {
        "give HOST:PORT with an IP address or localhost, such as `127.0.0.1:1883`, `[::1]:1883` or \
         `0.0.0.0:1883` (every interface), or a port alone, which means 127.0.0.1:PORT"
            .to_owned()
    })
}

pub(crate) fn show(bind: &Endpoint) -> toml::Value {
    match bind {
        Endpoint::Localhost(port) => format!("localhost:{port}").into(),
        Endpoint::Address(address) => address.to_string().into(),
        Endpoint::Socket { path, .. } => path.to_string_lossy().into_owned().into(),
    }
}

/// The only host name is `localhost`: the address of a listener must not depend on a resolver.
fn address(text: &str) -> Option<Endpoint> {
    let port = |digits: &str| {
        let number = whole(&ValueKind::from(digits))?;
        u16::try_from(number).ok()
    };
    if let Some(digits) = text.strip_prefix("localhost:") {
        return port(digits).map(Endpoint::Localhost);
    }
    match port(text) {
        Some(port) => Some(here(port)),
        None => text.parse().ok().map(Endpoint::Address),
    }
}

fn here(port: u16) -> Endpoint {
    Endpoint::Address((Ipv4Addr::LOCALHOST, port).into())
}

/// Whether only this machine can reach `bind`.
pub(crate) fn is_loopback(bind: &SocketAddr) -> bool {
    bind.ip().to_canonical().is_loopback()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses() {
        let table: &[(&str, Option<(&str, bool)>)] = &[
            ("127.0.0.1:1883", Some(("127.0.0.1:1883", true))),
            ("127.9.9.9:1", Some(("127.9.9.9:1", true))),
            ("[::1]:1883", Some(("[::1]:1883", true))),
            (
                "[::ffff:127.0.0.1]:1883",
                Some(("[::ffff:127.0.0.1]:1883", true)),
            ),
            ("localhost:0", Some(("localhost:0", true))),
            ("1883", Some(("127.0.0.1:1883", true))),
            ("0.0.0.0:1883", Some(("0.0.0.0:1883", false))),
            ("[::]:1883", Some(("[::]:1883", false))),
            ("10.0.0.1:1883", Some(("10.0.0.1:1883", false))),
            (":1883", None),
            ("65536", None),
            ("localhost", None),
            ("localhost:", None),
            ("localhost:+1", None),
            ("example.org:1883", None),
            ("127.0.0.1", None),
            ("::1:1883", None),
            ("", None),
        ];
        for (text, wanted) in table {
            let found = address(text);
            let shown = found.map(|at| {
                let addresses = at.addresses();
                (show(&at), addresses.iter().all(is_loopback))
            });
            let wanted = wanted.map(|(address, loopback)| (address.into(), loopback));
            assert_eq!(shown, wanted, "{text}");
        }
        let number = |n: i64| read(&ValueKind::from(n), ()).ok();
        assert_eq!(number(1883), address("1883"), "a number or a string");
        assert_eq!(number(65_536), None);
    }
}
