//! The layers between a socket and MQTT, established one after the other.

use super::established::{EstablishedTransport, Socket};
use super::link::Link;
use super::tls::Tls;
use super::{proxy, upgrade, websocket};
use crate::fairness::HandshakePacer;
use crate::outbox::Outlet;
use crate::policy::Peer;
use roommq_config::WebSocket;
use std::io;
use std::sync::Arc;
use tokio::io::{AsyncRead, AsyncWrite};

/// The layers of a listener, outermost first.
#[derive(Debug, Default)]
pub(crate) struct TransportLayers {
    /// Whether each connection begins with a PROXY header.
    pub proxy: bool,
    pub tls: Option<Arc<Tls>>,
    pub websocket: Option<WebSocket>,
    /// The limit on MQTT packets from clients, in bytes.
    pub packet_bytes: u32,
}

/// The reason that a layer could not be established.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TransportError {
    #[error("PROXY header: {0}")]
    Proxy(#[from] proxy::ProxyError),
    #[error("TLS: {0}")]
    Tls(io::Error),
    #[error("WebSocket: {0}")]
    Upgrade(#[from] upgrade::UpgradeError),
}

impl TransportLayers {
    /// Whether there is no layer: MQTT begins with the first byte.
    pub(crate) fn is_empty(&self) -> bool {
        !self.proxy && self.tls.is_none() && self.websocket.is_none()
    }

    /// Establishes all layers. The caller limits the time.
    pub(crate) async fn establish(
        &self,
        mut socket: Socket,
        mut peer: Peer,
        pacer: &HandshakePacer,
    ) -> Result<EstablishedTransport, TransportError> {
        if self.proxy {
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
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let (link, outlet) = match &self.websocket {
            None => unframed(stream),
            Some(rules) => {
                let early = upgrade::upgrade(&mut stream, rules).await?;
                Link::framed(
                    websocket::WebSocketByteStream::new(stream, early, self.packet_bytes).await,
                )
            }
        };
        Ok(EstablishedTransport {
            link,
            outlet,
            peer,
            certificate_user: Ok(None),
        })
    }
}
