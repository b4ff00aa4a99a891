//! Serves one accepted socket: TLS, WebSocket and PROXY layers, CONNECT, then packets until the
//! end.

use super::handshake;
use super::intake::Intake;
use crate::node::Node;
use crate::policy::Peer;
use crate::transport::{Arrival, Port, Socket};
use std::sync::Arc;
use tokio::time::Instant;

/// Serves a socket until the connection has ended.
pub(crate) async fn serve(socket: Socket, peer: Peer, port: Arc<Port>, node: Arc<Node>) {
    node.counters.socket();
    let until = Instant::now() + port.handshake_time;
    let mut intake = Intake::default();
    // Boxed: a handshake is short and needs much memory; the connection after it lives long.
    let arrival = if port.layers.are_none() {
        Arrival::plain(socket, peer)
    } else {
        let Some(arrival) = Box::pin(pass_layers(socket, peer, &port, &node, until)).await else {
            return;
        };
        arrival
    };
    let accepted = handshake::accept(arrival, &mut intake, &port, until, &node);
    let accepted = Box::pin(accepted).await;
    node.counters.received(intake.received());
    let Some((connection, link, keep_alive)) = accepted else {
        return;
    };
    connection.run(link, intake, keep_alive).await;
}

/// Passes the layers between the socket and MQTT. None if that fails or is not done by `until`.
async fn pass_layers(
    socket: Socket,
    peer: Peer,
    port: &Port,
    node: &Node,
    until: Instant,
) -> Option<Arrival> {
    let passed = port.layers.pass(socket, peer, &node.handshakes);
    let listener = &port.place;
    match tokio::time::timeout_at(until, passed).await {
        Ok(Ok(arrival)) => return Some(arrival),
        Ok(Err(error)) => tracing::info!(%peer, %listener, %error, "handshake failed"),
        Err(_) => {
            let limit = port.handshake_time;
            tracing::info!(%peer, %listener, "connection closed: no handshake within {limit:?}");
        }
    }
    None
}
