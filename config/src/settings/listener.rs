//! Listeners.

use super::IpNetwork;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::time::Duration;

/// One address or socket file that clients connect to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listener {
    /// The address or socket file.
    pub at: Endpoint,
    /// TLS. None: connections are not encrypted.
    pub tls: Option<Tls>,
    /// WebSocket. None: MQTT comes without WebSocket frames.
    pub websocket: Option<WebSocket>,
    /// Whether each connection begins with a PROXY header (v1 or v2), before anything else. Every
    /// peer that may connect to such a listener can claim any address.
    pub proxy_protocol: bool,
    /// The addresses that may connect to such a listener. None: all.
    pub trusted_proxies: Option<Vec<IpNetwork>>,
    /// The limits of its clients.
    pub limits: ListenerLimits,
}

impl Listener {
    /// The value of the key `transport`.
    #[must_use]
    pub fn transport(&self) -> Transport {
        match (&self.at, &self.tls, &self.websocket) {
            (Endpoint::Socket { .. }, _, _) => Transport::Unix,
            (_, None, None) => Transport::Tcp,
            (_, Some(_), None) => Transport::Tls,
            (_, None, Some(_)) => Transport::Ws,
            (_, Some(_), Some(_)) => Transport::Wss,
        }
    }
}

/// What a listener is bound to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Endpoint {
    /// Address and port. Port 0 is replaced by a free port.
    Address(SocketAddr),
    /// This port of 127.0.0.1 and of `::1`, where the machine has it. Port 0 is replaced by a free port.
    Localhost(u16),
    /// A Unix stream socket.
    Socket {
        /// The socket file.
        path: PathBuf,
        /// The file's permissions, as in `chmod`.
        mode: u32,
    },
}

impl Endpoint {
    /// The IP addresses; none for a Unix socket.
    #[must_use]
    pub fn addresses(&self) -> Vec<SocketAddr> {
        match self {
            Endpoint::Address(address) => vec![*address],
            Endpoint::Localhost(port) => vec![
                (Ipv4Addr::LOCALHOST, *port).into(),
                (Ipv6Addr::LOCALHOST, *port).into(),
            ],
            Endpoint::Socket { .. } => Vec::new(),
        }
    }
}

/// The transport of MQTT.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Transport {
    /// Plain TCP.
    #[default]
    Tcp,
    /// TLS over TCP.
    Tls,
    /// WebSocket over TCP.
    Ws,
    /// WebSocket over TLS over TCP.
    Wss,
    /// A Unix stream socket.
    Unix,
}

/// The TLS settings of a listener. It speaks TLS 1.2 and 1.3.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tls {
    /// PEM file: the server's certificate, then the chain to its root.
    pub certificate: PathBuf,
    /// PEM file: the private key of the server's certificate.
    pub key: PathBuf,
    /// PEM file: the roots of clients' certificates. Set if clients are asked for certificates.
    pub client_ca: Option<PathBuf>,
    /// Whether clients are asked for a certificate.
    pub client_certificates: ClientCertificates,
    /// The part of a verified client certificate that is the user's name.
    pub user_from: UserFrom,
    /// The most bytes of data in one record to a client.
    pub record_bytes: u16,
}

/// Whether clients are asked for a certificate.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum ClientCertificates {
    /// Clients are not asked.
    #[default]
    Off,
    /// Clients are asked. A certificate that a client sends is verified.
    Optional,
    /// The server closes a connection without a valid certificate.
    Required,
}

/// The part of a client's certificate that is the user's name.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum UserFrom {
    /// No part: the certificate lets the client connect, its CONNECT says which user it is.
    #[default]
    Nothing,
    /// The subject's common name.
    CommonName,
    /// The first e-mail address among the alternative names.
    Email,
    /// The first DNS name among the alternative names.
    Dns,
}

/// The WebSocket settings of a listener.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WebSocket {
    /// The paths that are served, at least one. [`ANY_PATH`](WebSocket::ANY_PATH) stands for all.
    pub paths: Vec<String>,
    /// The origins whose web pages may connect. None: all. A client that sends no origin is not a
    /// web page and may connect.
    pub allowed_origins: Option<Vec<String>>,
    /// The time between two pings of the server. 0: it sends none.
    pub ping: Duration,
}

impl WebSocket {
    /// The path that stands for all.
    pub const ANY_PATH: &str = "*";

    /// Whether a request for `path` is served.
    #[must_use]
    pub fn serves(&self, path: &str) -> bool {
        let mut paths = self.paths.iter();
        paths.any(|served| served == path || served == Self::ANY_PATH)
    }

    /// A path for the URL that clients use.
    #[must_use]
    pub fn shown_path(&self) -> &str {
        match self.paths.first() {
            Some(path) if path != Self::ANY_PATH => path,
            _ => "/",
        }
    }
}

/// Limits of the clients of one listener, beside those of [`super::Limits`].
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ListenerLimits {
    /// Open connections.
    pub connections: Option<NonZeroU32>,
    /// New connections a second, and in one burst. The listener closes further ones.
    pub connect_rate: Option<NonZeroU32>,
    /// The time from accept to a whole CONNECT, with all handshakes. It replaces `connect_time`.
    pub handshake_time: Option<Duration>,
    /// The largest packet accepted, in bytes, with its fixed header.
    pub packet_bytes: Option<NonZeroU32>,
}
