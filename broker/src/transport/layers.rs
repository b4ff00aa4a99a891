//! The layers between a socket and MQTT, established one after the other, and the listener that has them.

use super::link::{FramedStream, Link};
use super::listen_address::ListenAddress;
use super::proxy::{self, ProxyError};
use super::spoken::{Spoken, wrong_protocol};
use super::tls::{CertificateUserError, Tls};
use super::upgrade::{self, UpgradeError};
use super::websocket::WebSocketByteStream;
use crate::fairness::HandshakePacer;
use crate::gate::Gate;
use crate::outbox::Outlet;
use crate::policy::Peer;
use roommq_config::{IpNetwork, WebSocket};
use std::io;
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use tokio::net::{TcpStream, UnixStream};

/// An accepted socket. It carries bytes in order and without loss, in both directions [3.1.1 MQTT-7.1.1-1, 5.0 MQTT-4.2-1].
pub(crate) enum Socket {
    Tcp(TcpStream),
    Unix(UnixStream),
}

/// A connection whose next byte is MQTT.
pub(crate) struct EstablishedTransport {
    /// Belongs to the connection's task, which reads from it.
    pub link: Link,
    /// Belongs to the outbox, which writes to it.
    pub outlet: Outlet,
    pub peer: Peer,
    /// The user in the client's verified certificate.
    pub certificate_user: Result<Option<String>, CertificateUserError>,
}

impl EstablishedTransport {
    /// A connection without any layer: MQTT begins with the first byte.
    pub(crate) fn plain(socket: Socket, peer: Peer) -> EstablishedTransport {
        let halves = match socket {
            Socket::Tcp(socket) => Link::tcp(socket),
            Socket::Unix(socket) => Link::unix(socket),
        };
        EstablishedTransport::of(halves, peer)
    }

    fn of((link, outlet): (Link, Outlet), peer: Peer) -> EstablishedTransport {
        let certificate_user = Ok(None);
        EstablishedTransport {
            link,
            outlet,
            peer,
            certificate_user,
        }
    }
}

/// The values that all connections of one listener share.
#[derive(Debug)]
pub(crate) struct ListenerContext {
    /// The addresses, at least one: `localhost` has two.
    pub addresses: Vec<ListenAddress>,
    pub layers: TransportLayers,
    /// The time from accept to a complete CONNECT.
    pub handshake_time: Duration,
    /// The limit on open connections.
    pub connections: usize,
    /// The open connections.
    pub open: Gate,
    /// The addresses of all listeners, set once all are open.
    pub all: OnceLock<Arc<[ListenAddress]>>,
}

impl ListenerContext {
    /// The address that log lines show.
    pub(crate) fn address(&self) -> String {
        self.addresses
            .first()
            .map_or_else(String::new, ToString::to_string)
    }
}

impl ListenerContext {
    /// The log's text for a peer that speaks another protocol than this listener serves.
    pub(crate) fn wrong_protocol(&self, spoken: Spoken, within_tls: bool) -> String {
        let layers = (self.layers.tls.is_some(), self.layers.websocket.is_some());
        let all = self.all.get().map_or(&[][..], |all| all);
        wrong_protocol((spoken, within_tls), layers, all)
    }
}

/// The layers of a listener, outermost first.
#[derive(Debug, Default)]
pub(crate) struct TransportLayers {
    /// Whether each connection begins with a PROXY header.
    pub proxy: bool,
    /// The addresses that may connect then. None: all.
    pub trusted_proxies: Option<Vec<IpNetwork>>,
    pub tls: Option<Arc<Tls>>,
    pub websocket: Option<WebSocket>,
    /// The limit on MQTT packets from clients, in bytes.
    pub packet_bytes: u32,
}

/// The reason that a layer could not be established.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TransportError {
    #[error("PROXY header: {0}")]
    Proxy(#[from] ProxyError),
    #[error("TLS: {0}")]
    Tls(io::Error),
    /// The peer speaks something else, within TLS or without.
    #[error("the peer speaks {0}")]
    Spoken(Spoken, bool),
    #[error("WebSocket: {0}")]
    Upgrade(#[from] UpgradeError),
}

impl TransportLayers {
    /// Whether there is no layer: MQTT begins with the first byte.
    pub(crate) fn is_empty(&self) -> bool {
        !self.proxy && self.tls.is_none() && self.websocket.is_none()
    }

    /// Whether the peer may send a PROXY header. The file of a Unix socket has access rights of its own.
    fn trusts(&self, peer: Peer) -> bool {
        match (&self.trusted_proxies, peer) {
            (Some(trusted), Peer::Address(address)) => {
                trusted.iter().any(|network| network.contains(address.ip()))
            }
            (None, _) | (_, Peer::Local) => true,
        }
    }

    /// Establishes all layers. The caller limits the time.
    pub(crate) async fn establish(
        &self,
        mut socket: Socket,
        mut peer: Peer,
        pacer: &HandshakePacer,
    ) -> Result<EstablishedTransport, TransportError> {
        if self.proxy {
            if !self.trusts(peer) {
                return Err(ProxyError::Untrusted.into());
            }
            let reported = match &mut socket {
                Socket::Tcp(socket) => proxy::read(socket).await?,
                Socket::Unix(socket) => proxy::read(socket).await?,
            };
            if let Some(reported) = reported {
                tracing::debug!(proxy = %peer, peer = %reported, "a proxy reported the peer");
                peer = reported;
            }
        }
        match (socket, &self.tls) {
            (Socket::Tcp(socket), Some(tls)) => {
                let mut first = [0; 8];
                let n = socket.peek(&mut first).await.map_err(TransportError::Tls)?;
                match Spoken::of(&first[..n]) {
                    None | Some(Spoken::Tls) => {}
                    Some(spoken) => return Err(TransportError::Spoken(spoken, false)),
                }
                let stream = pacer.run(tls.accept(socket)).await;
                let stream = stream.map_err(TransportError::Tls)?;
                let user = tls.user(&stream);
                let mut transport = self.finish(stream, peer, Link::framed).await?;
                transport.certificate_user = user;
                Ok(transport)
            }
            (Socket::Tcp(socket), None) => self.finish(socket, peer, Link::tcp).await,
            (Socket::Unix(socket), _) => self.finish(socket, peer, Link::unix).await,
        }
    }

    /// Establishes the last layer: WebSocket, or none.
    async fn finish<S>(
        &self,
        mut stream: S,
        peer: Peer,
        unframed: impl FnOnce(S) -> (Link, Outlet),
    ) -> Result<EstablishedTransport, TransportError>
    where
        S: FramedStream + 'static,
    {
        let halves = match &self.websocket {
            None => unframed(stream),
            Some(rules) => {
                let upgraded = upgrade::upgrade(&mut stream, rules).await;
                let early = upgraded.map_err(|error| match error {
                    UpgradeError::Spoken(spoken) => {
                        TransportError::Spoken(spoken, self.tls.is_some())
                    }
                    other => other.into(),
                })?;
                let bytes =
                    WebSocketByteStream::new(stream, early, self.packet_bytes, rules.ping).await;
                Link::framed(bytes)
            }
        };
        Ok(EstablishedTransport::of(halves, peer))
    }
}
