//! A server with all transports.

use crate::broker::Broker;
use crate::tls::{self, Authority};
use crate::wire::{Stream, WebSocket};
use std::net::SocketAddr;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::Arc;
use tokio_rustls::rustls::ClientConfig;

/// A server with a listener of each kind, and plain TCP first.
#[derive(Debug)]
pub struct Everywhere {
    /// The server.
    pub server: Broker,
    trust: Arc<ClientConfig>,
    root: PathBuf,
}

/// The transports, by the names that clients use.
pub const TRANSPORTS: [&str; 5] = ["tcp", "tls", "ws", "wss", "unix"];

impl Everywhere {
    /// `more` is the rest of its configuration.
    pub fn start(more: &str) -> Everywhere {
        let authority = Authority::new();
        let identity = authority.server();
        let ip = |transport: &str, keys: &str| {
            format!("[[listener]]\nbind = '127.0.0.1:0'\ntransport = '{transport}'\n{keys}")
        };
        let files = "certificate = 'server.pem'\nkey = 'server.key'\n";
        let config = [
            &ip("tcp", ""),
            &ip("tls", files),
            &ip("ws", ""),
            &ip("wss", files),
            "[[listener]]\ntransport = 'unix'\npath = 'mqtt.sock'\n",
            more,
        ]
        .concat();
        let files = [
            ("server.pem", &*identity.certificate),
            ("server.key", &*identity.key),
        ];
        let server = Broker::listening(&config, &files);
        Everywhere {
            trust: authority.trusted_by(None),
            root: server.file("root.pem", &authority.root()),
            server,
        }
    }

    fn number(transport: &str) -> usize {
        let number = TRANSPORTS.iter().position(|known| *known == transport);
        number.unwrap()
    }

    /// The address of the listener of this transport; none for `unix`.
    pub fn address(&self, transport: &str) -> SocketAddr {
        self.server.place(Self::number(transport))
    }

    /// The same address as the server prints it.
    pub fn url(&self, transport: &str) -> &str {
        self.server.url(Self::number(transport))
    }

    /// The TLS configuration of a client that trusts the server.
    pub fn trust(&self) -> &Arc<ClientConfig> {
        &self.trust
    }

    /// The root of the server's certificate: a PEM file.
    pub fn root(&self) -> String {
        self.root.display().to_string()
    }

    /// The file of the Unix socket.
    pub fn socket(&self) -> &str {
        self.url("unix").strip_prefix("unix:").unwrap()
    }

    /// Connects.
    pub fn dial(&self, transport: &str) -> Box<dyn Stream> {
        let address = self.address(transport);
        match transport {
            "tcp" => Box::new(tls::tcp(address)),
            "tls" => tls::to(address, &self.trust),
            "ws" => Box::new(WebSocket::open(Box::new(tls::tcp(address)))),
            "wss" => Box::new(WebSocket::open(tls::to(address, &self.trust))),
            _ => Box::new(UnixStream::connect(self.socket()).unwrap()),
        }
    }
}
