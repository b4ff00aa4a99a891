//! The address of a listener, as people and programs see it.

use roommq_config::Transport;
use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;

/// An address that the server listens on. It is displayed in the form that client commands take: `127.0.0.1:1883`,
/// `tls://127.0.0.1:8883`, `ws://127.0.0.1:8083/mqtt`, `unix:/run/roommq.sock`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ListenAddress {
    /// An IP address and port.
    Ip {
        /// The real port, if the settings have port 0.
        address: SocketAddr,
        /// The transport that clients use.
        transport: Transport,
        /// The path of a WebSocket's URL; empty for other transports.
        path: String,
    },
    /// The file of a Unix socket.
    Unix(PathBuf),
}

impl ListenAddress {
    /// The IP address and port, if clients connect by plain TCP.
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
