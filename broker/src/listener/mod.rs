//! Accepts sockets and hands each to one of the threads; never waits for a peer.

mod bind;
mod place;
mod rate;

pub(crate) use bind::SocketFile;
pub use place::Place;

use crate::connection::{self, Shared};
use crate::policy::Peer;
use crate::server::{Gate, StartError};
use crate::transport::{Layers, Socket, Tls};
use rate::{Rate, Refusals};
use roommq_config::{Endpoint, Limits, Listener};
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::runtime::Handle;

/// Connections past a limit that are told so by a CONNACK; any more are closed at once.
const TOLD: usize = 1024;

/// Rest after a failed accept: out of file descriptors, most of the time.
const REST: Duration = Duration::from_millis(100);

/// How often the files of TLS are looked at.
const LOOK: Duration = Duration::from_secs(2);

/// A thread that serves connections.
#[derive(Clone)]
pub(crate) struct Worker {
    pub handle: Handle,
    pub shared: Arc<Shared>,
}

/// A listener as its connections know it.
#[derive(Debug)]
pub(crate) struct Port {
    pub place: Place,
    pub layers: Layers,
    /// From accept to a whole CONNECT.
    pub handshake_time: Duration,
    /// How many connections it may have.
    pub connections: usize,
    /// Those that it has.
    pub open: Gate,
}

/// A listener that nobody has been accepted from yet.
pub(crate) struct Bound {
    pub port: Arc<Port>,
    sockets: Sockets,
    rate: Option<Rate>,
    /// Of a Unix socket.
    pub file: Option<SocketFile>,
}

enum Sockets {
    Tcp(TcpListener),
    Unix(UnixListener),
}

/// Binds; must be called within a runtime.
pub(crate) fn bind(listener: &Listener, limits: &Limits) -> Result<Bound, StartError> {
    let tls = listener.tls.as_ref().map(Tls::load).transpose()?;
    let (sockets, place, file) = match &listener.at {
        Endpoint::Address(address) => {
            let at = |error| StartError::Bind {
                address: *address,
                error,
            };
            let sockets = bind::tcp(*address).map_err(at)?;
            let place = Place::Address {
                address: sockets.local_addr().map_err(at)?,
                transport: listener.transport(),
                path: listener
                    .websocket
                    .as_ref()
                    .map_or_else(String::new, |ws| ws.path.clone()),
            };
            (Sockets::Tcp(sockets), place, None)
        }
        Endpoint::Socket { path, mode } => {
            let (sockets, file) =
                bind::unix(path, *mode).map_err(|error| StartError::BindPath {
                    path: path.clone(),
                    error,
                })?;
            let place = Place::Socket(path.clone());
            (Sockets::Unix(sockets), place, Some(file))
        }
    };
    let own = &listener.limits;
    let connections = own.connections.map(|n| usize::try_from(u32::from(n)));
    let layers = Layers {
        proxy: listener.proxy_protocol,
        tls: tls.map(Arc::new),
        websocket: listener.websocket.clone(),
        packet_bytes: own.packet_bytes.map_or(limits.packet_bytes, u32::from),
    };
    Ok(Bound {
        port: Arc::new(Port {
            place,
            layers,
            handshake_time: own.handshake_time.unwrap_or(limits.connect_time),
            connections: connections.and_then(Result::ok).unwrap_or(usize::MAX),
            open: Gate::default(),
        }),
        sockets,
        rate: own
            .connect_rate
            .map(|rate| Rate::new(rate.into(), Instant::now())),
        file,
    })
}

/// Accepts until it is dropped.
pub(crate) async fn accept(mut bound: Bound, workers: Vec<Worker>) {
    let port = &bound.port;
    let most = workers.first().map_or(0, |w| w.shared.limits.connections);
    let (mut too_fast, mut too_many) = (Refusals::default(), Refusals::default());
    for worker in workers.iter().cycle() {
        let (socket, peer) = loop {
            let now = Instant::now();
            if let Some(refused) = too_fast.take(now) {
                tracing::warn!(listener = %port.place, refused, "more new connections than connect_rate");
            }
            if let Some(refused) = too_many.take(now) {
                tracing::warn!(listener = %port.place, refused, "too many connections are open");
            }
            let due = [too_fast.due(now), too_many.due(now)].into_iter().flatten();
            let accepted = tokio::select! {
                accepted = bound.sockets.next() => accepted,
                () = sleep_until(due.min()) => continue,
            };
            match accepted {
                Ok(accepted) => break accepted,
                Err(error) => {
                    tracing::warn!(listener = %port.place, %error, "a connection could not be accepted");
                    tokio::time::sleep(REST).await;
                }
            }
        };
        let rate = bound.rate.as_mut();
        if !rate.is_none_or(|rate| rate.admits(Instant::now())) {
            too_fast.add();
            continue;
        }
        let full = |open: usize, most: usize| open >= most.saturating_add(TOLD);
        let shared = &worker.shared;
        if full(shared.living.count(), most) || full(port.open.count(), port.connections) {
            too_many.add();
            continue;
        }
        hand_over(socket, peer, port.clone(), worker);
    }
}

/// Never where there is no time.
async fn sleep_until(time: Option<Instant>) {
    match time {
        Some(time) => tokio::time::sleep_until(time.into()).await,
        None => std::future::pending().await,
    }
}

impl Sockets {
    async fn next(&self) -> io::Result<(Accepted, Peer)> {
        match self {
            Sockets::Tcp(listener) => {
                let (socket, peer) = listener.accept().await?;
                // One that accepts IPv4 too shows it as a part of IPv6.
                let peer = SocketAddr::new(peer.ip().to_canonical(), peer.port());
                Ok((Accepted::Tcp(socket.into_std()?), peer.into()))
            }
            Sockets::Unix(listener) => {
                let (socket, _) = listener.accept().await?;
                Ok((Accepted::Unix(socket.into_std()?), Peer::Local))
            }
        }
    }
}

/// A socket on its way to another thread.
enum Accepted {
    Tcp(std::net::TcpStream),
    Unix(std::os::unix::net::UnixStream),
}

impl Accepted {
    fn arrive(self) -> io::Result<Socket> {
        match self {
            Accepted::Tcp(socket) => {
                let socket = TcpStream::from_std(socket)?;
                if let Err(error) = socket.set_nodelay(true) {
                    tracing::debug!(%error, "a socket without TCP_NODELAY");
                }
                Ok(Socket::Tcp(socket))
            }
            Accepted::Unix(socket) => UnixStream::from_std(socket).map(Socket::Unix),
        }
    }
}

fn hand_over(socket: Accepted, peer: Peer, port: Arc<Port>, worker: &Worker) {
    let shared = worker.shared.clone();
    // From now on: that thread may be busy.
    let inside = (shared.living.enter(), port.open.enter());
    worker.handle.spawn(async move {
        let _inside = inside;
        match socket.arrive() {
            Ok(socket) => connection::serve(socket, peer, port, shared).await,
            Err(error) => tracing::warn!(%peer, %error, "a socket could not be handed over"),
        }
    });
}

/// Looks at the files of TLS from time to time, for ever.
pub(crate) async fn watch(all: Vec<Arc<Tls>>) {
    loop {
        tokio::time::sleep(LOOK).await;
        for tls in &all {
            let tls = tls.clone();
            // On a thread of its own, since it reads files.
            let looked = tokio::task::spawn_blocking(move || tls.reload(false)).await;
            if let Err(error) = looked {
                tracing::error!(%error, "the files of TLS could not be looked at");
            }
        }
    }
}
