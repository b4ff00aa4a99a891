//! From a listener's settings to a socket that clients can connect to.

use super::socket::{self, ListeningSocket, SocketFile};
use crate::gate::Gate;
use crate::token_bucket::{Rate, TokenBucket};
use crate::transport::{ListenAddress, ListenerContext, Tls, TlsError, TransportLayers};
use roommq_config::{Endpoint, Limits, Listener};
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

/// The reason that a listener cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// The system refuses an IP address and port.
    #[error("cannot listen on {address}: {error}")]
    Address {
        /// The address from the settings.
        address: SocketAddr,
        /// The system's error.
        error: io::Error,
    },
    /// The system refuses a Unix socket.
    #[error("cannot listen on {}: {error}", path.display())]
    Path {
        /// The socket's file.
        path: PathBuf,
        /// The system's error.
        error: io::Error,
    },
    /// A certificate, a key or the roots cannot be used.
    #[error("{0}")]
    Tls(#[from] TlsError),
}

/// A listener whose socket is open, before its first connection is accepted.
pub(crate) struct BoundListener {
    pub context: Arc<ListenerContext>,
    pub(super) socket: ListeningSocket,
    /// The limit `connect_rate`, if it is set.
    pub(super) rate: Option<(Rate, TokenBucket)>,
    /// The file of a Unix socket.
    pub file: Option<SocketFile>,
}

/// Opens a listener. Must be called within a runtime.
pub(crate) fn bind(listener: &Listener, limits: &Limits) -> Result<BoundListener, BindError> {
    let tls = listener.tls.as_ref().map(Tls::load).transpose()?;
    let (socket, addresses, file) = open(listener)?;
    let own = &listener.limits;
    let connections = own.connections.map(|n| usize::try_from(u32::from(n)));
    let layers = TransportLayers {
        proxy: listener.proxy_protocol,
        trusted_proxies: listener.trusted_proxies.clone(),
        tls: tls.map(Arc::new),
        websocket: listener.websocket.clone(),
        packet_bytes: own.packet_bytes.map_or(limits.packet_bytes, u32::from),
    };
    Ok(BoundListener {
        context: Arc::new(ListenerContext {
            addresses,
            layers,
            handshake_time: own.handshake_time.unwrap_or(limits.connect_time),
            connections: connections.and_then(Result::ok).unwrap_or(usize::MAX),
            open: Gate::default(),
            all: OnceLock::new(),
        }),
        socket,
        rate: own.connect_rate.map(|rate| {
            let rate = Rate::new(rate.into(), Duration::from_secs(1));
            (rate, TokenBucket::full(Instant::now()))
        }),
        file,
    })
}

/// Checks what `bind` needs, without listening. An address that is in use passes: the server that
/// is to be replaced may have it.
pub fn check_listeners(listeners: &[Listener]) -> Vec<BindError> {
    let tls = listeners
        .iter()
        .filter_map(|listener| listener.tls.as_ref());
    let tls = tls.filter_map(|files| Tls::load(files).err());
    let mut problems: Vec<BindError> = tls.map(BindError::Tls).collect();
    for listener in listeners {
        for address in listener.at.addresses() {
            match socket::check_tcp(address) {
                Ok(()) => {}
                Err(error) if may_lack(&listener.at, address, &error) => {}
                Err(error) => problems.push(BindError::Address { address, error }),
            }
        }
        if let Endpoint::Socket { path, .. } = &listener.at
            && let Err(error) = socket::check_unix(path)
        {
            let path = path.clone();
            problems.push(BindError::Path { path, error });
        }
    }
    problems
}

/// Whether the listener does without `address`: `localhost` needs no `::1` on a machine without IPv6.
fn may_lack(at: &Endpoint, address: SocketAddr, error: &io::Error) -> bool {
    // EAFNOSUPPORT has no stable kind.
    let lacks = error.kind() == io::ErrorKind::AddrNotAvailable
        || error.raw_os_error() == Some(rustix::io::Errno::AFNOSUPPORT.raw_os_error());
    matches!(at, Endpoint::Localhost(_)) && address.is_ipv6() && lacks
}

/// Tries to find a free port that `localhost` has on both of its addresses.
const FREE_PORT_TRIES: usize = 8;

type OpenSocket = (ListeningSocket, Vec<ListenAddress>, Option<SocketFile>);

fn open(listener: &Listener) -> Result<OpenSocket, BindError> {
    match &listener.at {
        Endpoint::Address(_) => open_tcp(listener),
        Endpoint::Localhost(port) => {
            let tries = if *port == 0 { FREE_PORT_TRIES } else { 1 };
            let mut opened = open_tcp(listener);
            for _ in 1..tries {
                if opened.is_ok() {
                    break;
                }
                opened = open_tcp(listener);
            }
            opened
        }
        Endpoint::Socket { path, mode } => {
            let failed = |error| BindError::Path {
                path: path.clone(),
                error,
            };
            let (socket, file) = socket::unix(path, *mode).map_err(failed)?;
            let address = ListenAddress::Unix(path.clone());
            Ok((ListeningSocket::Unix(socket), vec![address], Some(file)))
        }
    }
}

/// Opens a socket for each address of the listener, all on one port.
fn open_tcp(listener: &Listener) -> Result<OpenSocket, BindError> {
    let (mut sockets, mut addresses) = (Vec::new(), Vec::new());
    let mut free_port = None;
    for mut address in listener.at.addresses() {
        address.set_port(free_port.unwrap_or(address.port()));
        let failed = |error| BindError::Address { address, error };
        let socket = match socket::tcp(address) {
            Err(error) if may_lack(&listener.at, address, &error) => continue,
            opened => opened.map_err(failed)?,
        };
        let real = socket.get_ref().local_addr().map_err(failed)?;
        free_port = Some(real.port());
        sockets.push(socket);
        let websocket = listener.websocket.as_ref();
        addresses.push(ListenAddress::Ip {
            address: real,
            transport: listener.transport(),
            path: websocket.map_or_else(String::new, |ws| ws.shown_path().to_owned()),
        });
    }
    Ok((ListeningSocket::Tcp(sockets), addresses, None))
}
