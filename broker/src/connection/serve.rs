//! Serves an accepted socket: handshake, connection, and its end.

use super::handshake;
use super::intake::Intake;
use crate::node::Node;
use crate::policy::Peer;
use crate::transport::{EstablishedTransport, ListenerContext, Socket};
use std::sync::Arc;
use tokio::time::Instant;

/// Serves a socket until it is closed.
pub(crate) async fn serve(
    socket: Socket,
    peer: Peer,
    listener: Arc<ListenerContext>,
    node: Arc<Node>,
) {
    node.counters.socket();
    let until = Instant::now() + listener.handshake_time;
    let mut intake = Intake::default();
    // Boxed: the handshakes are short and large, while the connection after them lasts.
    let established = if listener.layers.is_empty() {
        EstablishedTransport::plain(socket, peer)
    } else {
        let passed = Box::pin(pass_layers(socket, peer, &listener, &node, until)).await;
        let Some(established) = passed else { return };
        established
    };
    let accepted = handshake::accept(established, &mut intake, &listener, until, &node);
    let accepted = Box::pin(accepted).await;
    node.counters.received(intake.received());
    if let Some((connection, link, keep_alive)) = accepted {
        connection.run(link, intake, keep_alive).await;
    }
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
    let address = &listener.address;
    match tokio::time::timeout_at(until, passed).await {
        Ok(Ok(established)) => return Some(established),
        Ok(Err(error)) => {
            tracing::info!(%peer, listener = %address, %error, "handshake failed");
        }
        Err(_) => {
            let limit = listener.handshake_time;
            tracing::info!(%peer, listener = %address, "connection closed: no handshake within {limit:?}");
        }
    }
    None
}
