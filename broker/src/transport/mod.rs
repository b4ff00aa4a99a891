//! From an accepted socket to bytes of MQTT: PROXY header, TLS, WebSocket, in this order.
//!
//! Architecture invariant: all of it happens in the connection's own task and under the listener's one deadline,
//! so a peer that hangs in any of them delays nobody.

mod framing;
mod proxy;
mod tls;
mod turns;
mod upgrade;
mod websocket;

pub(crate) use tls::Tls;
pub use tls::TlsError;
pub(crate) use turns::Turns;

use crate::connection::Link;
use crate::outlet::Outlet;
use crate::policy::Peer;
use roommq_config::WebSocket;
use std::io;
use std::sync::Arc;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};

/// What was accepted: bytes in their order and without loss, both ways [3.1.1 MQTT-7.1.1-1, 5.0 MQTT-4.2-1].
pub(crate) enum Socket {
    Tcp(TcpStream),
    Unix(UnixStream),
}

/// What lies between a listener's sockets and MQTT.
#[derive(Debug, Default)]
pub(crate) struct Layers {
    /// Each connection begins with a PROXY header.
    pub proxy: bool,
    pub tls: Option<Arc<Tls>>,
    pub websocket: Option<WebSocket>,
    /// The largest packet that the listener takes, in bytes.
    pub packet_bytes: u32,
}

/// A peer whose next byte is MQTT.
pub(crate) struct Arrival {
    pub link: Link,
    pub outlet: Outlet,
    pub peer: Peer,
    /// The user that a verified certificate names.
    pub certificate_user: Result<Option<String>, Nameless>,
}

/// A verified certificate without the field that would be the user. Told by CONNACK, as any name that is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the client's certificate has no {0}, which would be the user")]
pub(crate) struct Nameless(pub &'static str);

/// Why nobody arrived.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ArrivalError {
    #[error("PROXY header: {0}")]
    Proxy(#[from] proxy::ProxyError),
    #[error("TLS: {0}")]
    Tls(io::Error),
    #[error("WebSocket: {0}")]
    Upgrade(#[from] upgrade::UpgradeError),
}

impl Layers {
    /// Whether MQTT begins with the first byte.
    pub(crate) fn are_none(&self) -> bool {
        !self.proxy && self.tls.is_none() && self.websocket.is_none()
    }

    /// Passes all layers. The caller limits the time.
    pub(crate) async fn pass(
        &self,
        mut socket: Socket,
        mut peer: Peer,
        turns: &Turns,
    ) -> Result<Arrival, ArrivalError> {
        if self.proxy {
            let told = match &mut socket {
                Socket::Tcp(socket) => proxy::read(socket).await?,
                Socket::Unix(socket) => proxy::read(socket).await?,
            };
            if let Some(told) = told {
                tracing::debug!(proxy = %peer, peer = %told, "behind a proxy");
                peer = told;
            }
        }
        match (socket, &self.tls) {
            (Socket::Tcp(socket), Some(tls)) => {
                let stream = turns.pace(tls.accept(socket)).await;
                let stream = stream.map_err(ArrivalError::Tls)?;
                let user = tls.user(&stream);
                let mut arrival = self.frames(stream, peer, Link::framed).await?;
                arrival.certificate_user = user;
                Ok(arrival)
            }
            (Socket::Tcp(socket), None) => self.frames(socket, peer, Link::tcp).await,
            (Socket::Unix(socket), _) => self.frames(socket, peer, Link::unix).await,
        }
    }

    async fn frames<S>(
        &self,
        mut stream: S,
        peer: Peer,
        unframed: impl FnOnce(S) -> (Link, Outlet),
    ) -> Result<Arrival, ArrivalError>
    where
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let (link, outlet) = match &self.websocket {
            None => unframed(stream),
            Some(rules) => {
                let early = upgrade::upgrade(&mut stream, rules).await?;
                Link::framed(websocket::Frames::new(stream, early, self.packet_bytes).await)
            }
        };
        Ok(Arrival {
            link,
            outlet,
            peer,
            certificate_user: Ok(None),
        })
    }
}

impl Arrival {
    /// A peer with nothing in between.
    pub(crate) fn plain(socket: Socket, peer: Peer) -> Arrival {
        let (link, outlet) = match socket {
            Socket::Tcp(socket) => Link::tcp(socket),
            Socket::Unix(socket) => Link::unix(socket),
        };
        Arrival {
            link,
            outlet,
            peer,
            certificate_user: Ok(None),
        }
    }
}
