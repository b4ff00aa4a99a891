//! Checks across the values of a listener, and across listeners.

use super::{Checked, both};
use crate::keys::ListenerDraft;
use crate::layer::LISTEN_VARIABLE;
use crate::parsed_table::ParsedTable;
use crate::problem::{Location, Problem};
use crate::settings::{
    ClientCertificates, Endpoint, Listener, Tls, Transport, UserFrom, WebSocket,
};
use crate::value::address::is_loopback;
use std::net::SocketAddr;
use std::time::Duration;

/// The default permissions of a Unix socket's file: for its owner and group.
const SOCKET_MODE: u32 = 0o660;

/// The default path of WebSocket, as most MQTT clients have it.
const WS_PATH: &str = "/mqtt";

/// The most bytes of data in a TLS record (RFC 8446, 5.1).
const LARGEST_RECORD: u16 = 16_384;

/// The default time between two pings. Proxies close a connection that is silent for a minute or more.
const WS_PING: Duration = Duration::from_secs(30);

/// A listener, and where its address was given.
pub(crate) struct CheckedListener {
    pub listener: Listener,
    pub name: String,
    pub location: Location,
    /// Where `packet_bytes` was given.
    pub packet_bytes: Location,
}

impl CheckedListener {
    /// The address, if other machines can reach it.
    pub fn reachable(&self) -> Option<SocketAddr> {
        match self.listener.at {
            Endpoint::Address(address) if !is_loopback(&address) => Some(address),
            _ => None,
        }
    }
}

/// Checks that there is a listener, that each has an address or path, and that no two have the
/// same.
pub(crate) fn listeners(
    tables: &[ParsedTable<ListenerDraft>],
    problems: &mut Vec<Problem>,
) -> Vec<CheckedListener> {
    if tables.is_empty() {
        problems.push(Problem::Conflict {
            location: Location::Default,
            text: format!(
                "`listener` is an empty list, so nobody could connect: write a `[[listener]]`, set \
                 {LISTEN_VARIABLE}, or leave `listener` out for 127.0.0.1:1883"
            ),
        });
    }
    super::entries(tables, problems, checked)
}

fn checked(
    table: &ParsedTable<ListenerDraft>,
    earlier: &[CheckedListener],
) -> Checked<CheckedListener> {
    let listener = listener(table)?;
    let (key, value, free) = match &listener.at {
        // Two listeners on port 0 get different ports.
        Endpoint::Address(bind) => ("bind", bind.to_string(), bind.port() == 0),
        Endpoint::Localhost(port) => ("bind", format!("localhost:{port}"), *port == 0),
        Endpoint::Socket { path, .. } => ("path", path.display().to_string(), false),
    };
    let name = format!("listener.{key}");
    let taken = earlier
        .iter()
        .find(|other| same(&other.listener.at, &listener.at));
    if let Some(taken) = taken.filter(|_| !free) {
        let instead = if key == "bind" { "port" } else { "path" };
        let hint = format!(
            "`{}.{key}` in {} is the same; give another {instead}, or take one of them away",
            taken.name, taken.location
        );
        return Err(vec![table.bad_value(&name, value, hint)]);
    }
    Ok(CheckedListener {
        listener,
        location: table.location_of(&name),
        packet_bytes: table.location_of("listener.packet_bytes"),
        name: table.name.clone(),
    })
}

fn same(one: &Endpoint, other: &Endpoint) -> bool {
    match (one, other) {
        (Endpoint::Socket { path, .. }, Endpoint::Socket { path: other, .. }) => path == other,
        (one, other) => {
            let others = other.addresses();
            one.addresses().iter().any(|one| others.contains(one))
        }
    }
}

fn listener(table: &ParsedTable<ListenerDraft>) -> Checked<Listener> {
    let draft = &table.values;
    let (tls, websocket) = match draft.transport {
        Transport::Tcp | Transport::Unix => (false, false),
        Transport::Tls => (true, false),
        Transport::Ws => (false, true),
        Transport::Wss => (true, true),
    };
    let mut problems = Vec::new();
    if !tls {
        let keys = [
            "certificate",
            "key",
            "client_ca",
            "client_certificates",
            "user_from_certificate",
            "tls_record_bytes",
        ];
        problems.extend(without(table, &keys, "`tls` or `wss`"));
    }
    if !websocket {
        let keys = ["ws_path", "allowed_origins", "ws_ping"];
        problems.extend(without(table, &keys, "`ws` or `wss`"));
    }
    if !draft.proxy_protocol
        && let Some(location) = table.locations.get("listener.trusted_proxies")
    {
        problems.push(Problem::Conflict {
            location: location.clone(),
            text: format!(
                "`{0}.trusted_proxies` in {location} says nothing here: write `proxy_protocol = true` beside it, \
                 or remove it",
                table.name
            ),
        });
    }
    let misplaced = problems.is_empty().then_some(()).ok_or(problems);
    let tls = tls.then(|| encryption(table)).transpose();
    let ((at, tls), ()) = both(both(endpoint(table), tls), misplaced)?;
    Ok(Listener {
        at,
        tls,
        websocket: websocket.then(|| WebSocket {
            paths: draft
                .ws_path
                .clone()
                .unwrap_or_else(|| vec![WS_PATH.to_owned()]),
            allowed_origins: draft.allowed_origins.clone(),
            ping: draft.ws_ping.unwrap_or(WS_PING),
        }),
        proxy_protocol: draft.proxy_protocol,
        trusted_proxies: draft.trusted_proxies.clone(),
        limits: draft.limits.clone(),
    })
}

fn endpoint(table: &ParsedTable<ListenerDraft>) -> Checked<Endpoint> {
    let draft = &table.values;
    let unix = draft.transport == Transport::Unix;
    let (keys, transports): (&[&str], _) = if unix {
        (&["bind"], "`tcp`, `tls`, `ws` or `wss`")
    } else {
        (&["path", "mode"], "`unix`")
    };
    let mut problems = without(table, keys, transports);
    let at = if unix {
        let mode = draft.mode.unwrap_or(SOCKET_MODE);
        let path = draft.path.clone();
        path.map(|path| Endpoint::Socket { path, mode })
    } else {
        draft.bind.clone()
    };
    if at.is_none() {
        problems.push(if unix {
            table.missing("listener.path", r#"write `path = "/run/roommq.sock"`"#)
        } else {
            table.missing("listener.bind", r#"write `bind = "127.0.0.1:1883"`"#)
        });
    }
    at.filter(|_| problems.is_empty()).ok_or(problems)
}

fn encryption(table: &ParsedTable<ListenerDraft>) -> Checked<Tls> {
    let draft = &table.values;
    let missing = |key: &str, hint: &str| table.missing(&format!("listener.{key}"), hint);
    let mut problems = Vec::new();
    if draft.certificate.is_none() {
        let hint = r#"TLS needs `certificate = "server.pem"`, with what leads to its root"#;
        problems.push(missing("certificate", hint));
    }
    if draft.key.is_none() {
        let hint = r#"TLS needs `key = "server.key"`, the private key of the certificate"#;
        problems.push(missing("key", hint));
    }
    let off = draft.client_certificates == ClientCertificates::Off;
    let asks = r#"write `client_certificates = "required"`, or "optional", beside it"#;
    let conflict = |key: &str, text: &str| Problem::Conflict {
        location: table.location_of(&format!("listener.{key}")),
        text: format!("`{}.{key}` {text}: {asks}", table.name),
    };
    match &draft.client_ca {
        None if !off => {
            let hint = r#"clients' certificates need `client_ca = "ca.pem"`, the roots that they must lead to"#;
            problems.push(missing("client_ca", hint));
        }
        Some(_) if off => problems.push(conflict("client_ca", "says nothing alone")),
        _ => {}
    }
    if off && draft.user_from != UserFrom::Nothing {
        let key = "user_from_certificate";
        problems.push(conflict(key, "needs clients' certificates"));
    }
    match (&draft.certificate, &draft.key) {
        (Some(certificate), Some(key)) if problems.is_empty() => Ok(Tls {
            certificate: certificate.clone(),
            key: key.clone(),
            client_ca: draft.client_ca.clone(),
            client_certificates: draft.client_certificates,
            user_from: draft.user_from,
            record_bytes: draft.tls_record_bytes.unwrap_or(LARGEST_RECORD),
        }),
        _ => Err(problems),
    }
}

/// The problems of those `keys` that are given: they are for other `transports`.
fn without(table: &ParsedTable<ListenerDraft>, keys: &[&str], transports: &str) -> Vec<Problem> {
    let given = keys.iter().filter_map(|key| {
        let location = table.locations.get(format!("listener.{key}").as_str())?;
        Some((key, location))
    });
    let problem = |(key, location): (&&str, &Location)| Problem::Conflict {
        location: location.clone(),
        text: format!(
            "`{}.{key}` in {location} says nothing here: it belongs to `transport` = {transports}",
            table.name
        ),
    };
    given.map(problem).collect()
}
