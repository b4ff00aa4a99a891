//! Serves an accepted socket: handshake, connection, and its end.

use super::intake::Intake;
use super::{Connection, handshake};
use crate::node::Node;
use crate::policy::Peer;
use crate::transport::{EstablishedTransport, ListenerContext, Socket, TransportError};
use std::sync::Arc;
use tokio::time::Instant;

/// Serves a socket until it is closed.
///
/// The future is small, since it lasts as long as the connection: what the handshakes need is in a
/// box, which is freed after them.
pub(crate) fn serve(
    socket: Socket,
    peer: Peer,
    listener: Arc<ListenerContext>,
    node: Arc<Node>,
) -> impl Future<Output = ()> + Send {
    let connection = Box::pin(connect(socket, peer, listener, node));
    async move {
        if let Some(connection) = connection.await {
            connection.run().await;
        }
    }
}

/// From an accepted socket to CONNACK. None if the connection was refused or closed.
async fn connect(
    socket: Socket,
    peer: Peer,
    listener: Arc<ListenerContext>,
    node: Arc<Node>,
) -> Option<Box<Connection>> {
    node.counters.socket();
    let until = Instant::now() + listener.handshake_time;
    let established = if listener.layers.is_empty() {
        EstablishedTransport::plain(socket, peer)
    } else {
        // Boxed: it is larger than all the rest.
        Box::pin(pass_layers(socket, peer, &listener, &node, until)).await?
    };
    let mut intake = Intake::default();
    let accepted = handshake::accept(established, &mut intake, &listener, until, &node).await;
    node.counters.received(intake.received());
    let mut connection = accepted?;
    // It may hold packets that came with CONNECT.
    connection.intake = intake;
    Some(connection)
}

/// Establishes the layers between the socket and MQTT: PROXY header, TLS, WebSocket. None if one of them failed, or took
/// longer than `until`.
async fn pass_layers(
    socket: Socket,
    peer: Peer,
    listener: &ListenerContext,
    node: &Node,
    until: Instant,
) -> Option<EstablishedTransport> {
    let passed = listener.layers.establish(socket, peer, &node.handshakes);
    let address = listener.address();
    match tokio::time::timeout_at(until, passed).await {
        Ok(Ok(established)) => return Some(established),
        Ok(Err(TransportError::Spoken(spoken, within_tls))) => {
            let error = listener.wrong_protocol(spoken, within_tls);
            tracing::info!(%peer, listener = address, error, "handshake failed");
        }
        Ok(Err(error)) => {
            tracing::info!(%peer, listener = address, %error, "handshake failed");
        }
        Err(_) => {
            let limit = listener.handshake_time;
            tracing::info!(%peer, listener = address, "connection closed: no handshake within {limit:?}");
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn future_size<F>(_: fn(Socket, Peer, Arc<ListenerContext>, Arc<Node>) -> F) -> usize {
        size_of::<F>()
    }

    /// Each connection holds them for all its life, in bytes.
    #[test]
    fn a_connection_is_small() {
        let sizes = [future_size(serve), size_of::<Connection>()];
        assert!(sizes[0] <= 648 && sizes[1] <= 632, "{sizes:?}");
    }
}
