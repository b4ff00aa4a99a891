//! What holds between the values of a listener, and between listeners.

use crate::entry::Entry;
use crate::keys::ListenerDraft;
use crate::layer::LISTEN_VARIABLE;
use crate::problem::{Place, Problem};
use crate::settings::{
    ClientCertificates, Endpoint, Listener, Tls, Transport, UserFrom, WebSocket,
};
use crate::value::address::is_loopback;
use std::net::SocketAddr;

/// What a Unix socket's file may be used by: its owner and group.
const SOCKET_MODE: u32 = 0o660;

/// The path that MQTT clients ask for when they are told none.
const WS_PATH: &str = "/mqtt";

/// A listener with where its address was given.
pub(crate) struct Bound {
    pub read: Listener,
    pub name: String,
    pub place: Place,
}

impl Bound {
    /// The address by which other machines can reach it.
    pub fn reachable(&self) -> Option<SocketAddr> {
        match self.read.at {
            Endpoint::Address(address) if !is_loopback(&address) => Some(address),
            _ => None,
        }
    }
}

/// At least one listener, each with a place, none twice.
pub(crate) fn listeners(
    entries: Vec<Entry<ListenerDraft>>,
    problems: &mut Vec<Problem>,
) -> Vec<Bound> {
    let mut bound: Vec<Bound> = Vec::new();
    if entries.is_empty() {
        problems.push(Problem::Conflict {
            place: Place::Default,
            text: format!(
                "`listener` is an empty list, so nobody could connect: write a `[[listener]]`, set \
                 {LISTEN_VARIABLE}, or leave `listener` out for 127.0.0.1:1883"
            ),
        });
    }
    for entry in entries {
        let read = match listener(&entry) {
            Ok(listener) => listener,
            Err(problem) => {
                problems.push(problem);
                continue;
            }
        };
        let (key, value, free) = match &read.at {
            // Each port 0 is another port.
            Endpoint::Address(bind) => ("bind", bind.to_string(), bind.port() == 0),
            Endpoint::Socket { path, .. } => ("path", path.display().to_string(), false),
        };
        let place = entry.place_of(&format!("listener.{key}"));
        let earlier = bound.iter().find(|other| same(&other.read.at, &read.at));
        if let Some(earlier) = earlier.filter(|_| !free) {
            let instead = if key == "bind" { "port" } else { "path" };
            problems.push(Problem::BadValue {
                key: format!("{}.{key}", entry.name),
                place,
                value,
                wanted: format!(
                    "`{}.{key}` in {} is the same; give another {instead}, or take one of them away",
                    earlier.name, earlier.place
                ),
            });
            continue;
        }
        bound.push(Bound {
            read,
            name: entry.name,
            place,
        });
    }
    bound
}

fn same(one: &Endpoint, other: &Endpoint) -> bool {
    match (one, other) {
        (Endpoint::Socket { path, .. }, Endpoint::Socket { path: other, .. }) => path == other,
        (one, other) => one == other,
    }
}

fn listener(entry: &Entry<ListenerDraft>) -> Result<Listener, Problem> {
    let draft = &entry.read;
    let (tls, websocket) = match draft.transport {
        Transport::Tcp | Transport::Unix => (false, false),
        Transport::Tls => (true, false),
        Transport::Ws => (false, true),
        Transport::Wss => (true, true),
    };
    let at = endpoint(entry)?;
    if !tls {
        let keys = [
            "certificate",
            "key",
            "client_ca",
            "client_certificates",
            "user_from_certificate",
        ];
        without(entry, &keys, "`tls` or `wss`")?;
    }
    if !websocket {
        without(entry, &["ws_path", "allowed_origins"], "`ws` or `wss`")?;
    }
    Ok(Listener {
        at,
        tls: tls.then(|| encryption(entry)).transpose()?,
        websocket: websocket.then(|| WebSocket {
            path: draft.ws_path.clone().unwrap_or_else(|| WS_PATH.to_owned()),
            allowed_origins: draft.allowed_origins.clone(),
        }),
        proxy_protocol: draft.proxy_protocol,
        limits: draft.limits.clone(),
    })
}

fn endpoint(entry: &Entry<ListenerDraft>) -> Result<Endpoint, Problem> {
    let draft = &entry.read;
    if draft.transport == Transport::Unix {
        without(entry, &["bind"], "`tcp`, `tls`, `ws` or `wss`")?;
        let path = draft.path.clone();
        let wanted = r#"write `path = "/run/roommq.sock"`"#;
        return Ok(Endpoint::Socket {
            path: path.ok_or_else(|| missing(entry, "path", wanted))?,
            mode: draft.mode.unwrap_or(SOCKET_MODE),
        });
    }
    without(entry, &["path", "mode"], "`unix`")?;
    let wanted = r#"write `bind = "127.0.0.1:1883"`"#;
    let bind = draft.bind.ok_or_else(|| missing(entry, "bind", wanted))?;
    Ok(Endpoint::Address(bind))
}

fn encryption(entry: &Entry<ListenerDraft>) -> Result<Tls, Problem> {
    let draft = &entry.read;
    let certificate = draft.certificate.clone().ok_or_else(|| {
        let wanted = r#"TLS needs `certificate = "server.pem"`, with what leads to its root"#;
        missing(entry, "certificate", wanted)
    })?;
    let key = draft.key.clone().ok_or_else(|| {
        let wanted = r#"TLS needs `key = "server.key"`, the private key of the certificate"#;
        missing(entry, "key", wanted)
    })?;
    let off = draft.client_certificates == ClientCertificates::Off;
    let asks = r#"write `client_certificates = "required"`, or "optional", beside it"#;
    let conflict = |key: &str, text: &str| Problem::Conflict {
        place: entry.place_of(&format!("listener.{key}")),
        text: format!("`{}.{key}` {text}: {asks}", entry.name),
    };
    match &draft.client_ca {
        None if !off => {
            let wanted = r#"clients' certificates need `client_ca = "ca.pem"`, the roots that they must lead to"#;
            return Err(missing(entry, "client_ca", wanted));
        }
        Some(_) if off => return Err(conflict("client_ca", "says nothing alone")),
        _ => {}
    }
    if off && draft.user_from != UserFrom::Nothing {
        let key = "user_from_certificate";
        return Err(conflict(key, "needs clients' certificates"));
    }
    Ok(Tls {
        certificate,
        key,
        client_ca: draft.client_ca.clone(),
        client_certificates: draft.client_certificates,
        user_from: draft.user_from,
    })
}

fn missing(entry: &Entry<ListenerDraft>, key: &str, wanted: &str) -> Problem {
    Problem::Missing {
        key: format!("{}.{key}", entry.name),
        place: entry.place_of(&format!("listener.{key}")),
        wanted: wanted.to_owned(),
    }
}

/// None of `keys` is given, since they belong to other transports.
fn without(entry: &Entry<ListenerDraft>, keys: &[&str], transports: &str) -> Result<(), Problem> {
    for key in keys {
        if let Some(place) = entry.places.get(format!("listener.{key}").as_str()) {
            return Err(Problem::Conflict {
                place: place.clone(),
                text: format!(
                    "`{}.{key}` in {place} says nothing here: it belongs to `transport` = {transports}",
                    entry.name
                ),
            });
        }
    }
    Ok(())
}
