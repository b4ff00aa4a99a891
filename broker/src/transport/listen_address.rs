//! Where a listener listens, as people and programs are told.

use roommq_config::Transport;
use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;

/// A place that is listened on; shown as what a client is to be given: `127.0.0.1:1883`, `tls://…`,
/// `ws://127.0.0.1:8083/mqtt`, `unix:/run/roommq.sock`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ListenAddress {
    /// By IP.
    Ip {
        /// Port 0 has become a real one.
        address: SocketAddr,
        /// What is spoken there.
        transport: Transport,
        /// Of a WebSocket's URL; else empty.
        path: String,
    },
    /// A Unix socket.
    Unix(PathBuf),
}

impl ListenAddress {
    /// The address of plain TCP.
    #[must_use]
    pub fn plain(&self) -> Option<SocketAddr> {
        match self {
            ListenAddress::Ip {
                address,
                transport: Transport::Tcp,
                ..
            } => Some(*address),
            _ => None,
        }
    }
}

impl fmt::Display for ListenAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ListenAddress::Ip {
                address,
                transport,
                path,
            } => {
                let scheme = match transport {
                    Transport::Tcp | Transport::Unix => "",
                    Transport::Tls => "tls://",
                    Transport::Ws => "ws://",
                    Transport::Wss => "wss://",
                };
                write!(f, "{scheme}{address}{path}")
            }
            ListenAddress::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}
