//! Accepts sockets and hands each to one of the threads; never waits for a peer.

use crate::connection::{self, Link, Shared};
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::runtime::Handle;

/// Connections that the kernel holds until they are accepted.
const BACKLOG: u32 = 4096;

/// Connections past the limit that are told so by a CONNACK; any more are closed at once.
const TOLD: usize = 1024;

/// Rest after a failed accept: out of file descriptors, most of the time.
const REST: Duration = Duration::from_millis(100);

/// A thread that serves connections.
#[derive(Clone)]
pub(crate) struct Worker {
    pub handle: Handle,
    pub shared: Arc<Shared>,
}

/// Binds; must be called within a runtime.
pub(crate) fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = match address {
        SocketAddr::V4(_) => TcpSocket::new_v4()?,
        SocketAddr::V6(_) => TcpSocket::new_v6()?,
    };
    // Only for sockets in TIME_WAIT: two servers on one port stay an error.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// Accepts until it is dropped.
pub(crate) async fn accept(listener: TcpListener, workers: Vec<Worker>) {
    let most = workers.first().map_or(0, |w| w.shared.limits.connections);
    for worker in workers.iter().cycle() {
        let (socket, peer) = loop {
            match listener.accept().await {
                Ok(accepted) => break accepted,
                Err(error) => {
                    tracing::warn!(%error, "a connection could not be accepted");
                    tokio::time::sleep(REST).await;
                }
            }
        };
        if worker.shared.living.count() >= most.saturating_add(TOLD) {
            tracing::warn!(%peer, "refused: {most} connections are open");
            continue;
        }
        hand_over(socket, peer, worker);
    }
}

fn hand_over(socket: TcpStream, peer: SocketAddr, worker: &Worker) {
    let shared = worker.shared.clone();
    let moved = socket.into_std();
    worker.handle.spawn(async move {
        match moved.and_then(TcpStream::from_std) {
            Ok(socket) => {
                if let Err(error) = socket.set_nodelay(true) {
                    tracing::debug!(%peer, %error, "a socket without TCP_NODELAY");
                }
                let (link, outlet) = Link::tcp(socket);
                connection::serve(link, outlet, peer.into(), shared).await;
            }
            Err(error) => tracing::warn!(%peer, %error, "a socket could not be handed over"),
        }
    });
}
