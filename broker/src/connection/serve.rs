//! From an accepted socket to a connection, and that to its end.

use super::handshake;
use super::intake::Intake;
use crate::node::Node;
use crate::policy::Peer;
use crate::transport::{Arrival, Port, Socket};
use std::sync::Arc;
use tokio::time::Instant;

/// Serves a socket until its end.
pub(crate) async fn serve(socket: Socket, peer: Peer, port: Arc<Port>, node: Arc<Node>) {
    node.counters.socket();
    let until = Instant::now() + port.handshake_time;
    let mut intake = Intake::default();
    // Boxed: the handshakes are short and large, the connection after them long and many.
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

/// Passes what lies between the socket and MQTT; none if that failed, or took longer than `until`.
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
        Ok(Err(error)) => tracing::info!(%peer, %listener, %error, "a handshake failed"),
        Err(_) => {
            let limit = port.handshake_time;
            tracing::info!(%peer, %listener, "no handshake within {limit:?}");
        }
    }
    None
}
