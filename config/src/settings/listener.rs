//! Where clients connect, and by what.

use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::time::Duration;

/// One place that is listened on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listener {
    /// Where.
    pub at: Endpoint,
    /// Whether and how what is sent is encrypted.
    pub tls: Option<Tls>,
    /// Whether MQTT comes in WebSocket frames.
    pub websocket: Option<WebSocket>,
    /// Whether each connection begins with a PROXY header (v1 or v2), before anything else. Whoever can reach such
    /// a listener can claim any address.
    pub proxy_protocol: bool,
    /// What its clients can cost.
    pub limits: ListenerLimits,
}

impl Listener {
    /// As the key `transport` says it.
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

/// A place to listen on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Endpoint {
    /// Address and port; port 0 takes a free one.
    Address(SocketAddr),
    /// A Unix stream socket.
    Socket {
        /// The file.
        path: PathBuf,
        /// Its permissions, as in `chmod`.
        mode: u32,
    },
}

/// What carries MQTT.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transport {
    /// Plain TCP.
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

/// TLS as a listener speaks it: 1.2 and 1.3.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tls {
    /// PEM: the server's certificate, and then what leads to its root.
    pub certificate: PathBuf,
    /// PEM: the private key of the first of them.
    pub key: PathBuf,
    /// PEM: the roots of clients' certificates; set where those are asked for.
    pub client_ca: Option<PathBuf>,
    /// Whether clients show certificates.
    pub client_certificates: ClientCertificates,
    /// What in a verified client certificate is the user.
    pub user_from: UserFrom,
}

/// Whether clients are asked for a certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClientCertificates {
    /// Not asked for.
    Off,
    /// Asked for, and verified where one is shown.
    Optional,
    /// Nobody gets in without.
    Required,
}

/// What in a client's certificate is the user's name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UserFrom {
    /// Nothing: the certificate opens the door, a password says who comes in.
    Nothing,
    /// The subject's common name.
    CommonName,
    /// The first e-mail address among the alternative names.
    Email,
    /// The first DNS name among the alternative names.
    Dns,
}

/// WebSocket as a listener speaks it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WebSocket {
    /// The one path that is served.
    pub path: String,
    /// Web pages of these origins may connect; none: all may. Clients that send no origin are no web pages.
    pub allowed_origins: Option<Vec<String>>,
}

/// Bounds for the clients of one listener; where none is set, that of [`super::Limits`] holds alone.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ListenerLimits {
    /// Open connections.
    pub connections: Option<NonZeroU32>,
    /// New connections a second, and as many at once; any more are closed at once.
    pub connect_rate: Option<NonZeroU32>,
    /// From accept to a whole CONNECT, all handshakes included; in place of `connect_time`.
    pub handshake_time: Option<Duration>,
    /// The largest packet taken, in bytes, fixed header included.
    pub packet_bytes: Option<NonZeroU32>,
}
