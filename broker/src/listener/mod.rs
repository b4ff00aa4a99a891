//! Accepts sockets and hands each to one of the threads; never waits for a peer.

mod socket;
mod token_bucket;

pub(crate) use socket::SocketFile;

use crate::clock;
use crate::gate::{Gate, GateGuard};
use crate::policy::Peer;
use crate::rate_limiter::RateLimiter;
use crate::transport::{ListenAddress, ListenerContext, Socket, Tls, TlsError, TransportLayers};
use roommq_config::{Endpoint, Limits, Listener};
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};
use token_bucket::TokenBucket;
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::runtime::Handle;

/// Connections past a limit that are told so by a CONNACK; any more are closed at once.
const REFUSED_WITH_CONNACK: usize = 1024;

/// Milliseconds from one log line about refused connections of one kind to the next.
const LOG_INTERVAL_MS: u64 = 1_000;

/// Rest after a failed accept: out of file descriptors, most of the time.
const ACCEPT_RETRY_DELAY: Duration = Duration::from_millis(100);

/// How often the files of TLS are looked at.
const TLS_CHECK_INTERVAL: Duration = Duration::from_secs(2);

/// A thread that serves connections.
#[derive(Clone)]
pub(crate) struct IoThread<S> {
    pub handle: Handle,
    /// Serves one connection until its end, on that thread.
    pub serve: S,
}

/// What bounds the connections of all listeners together.
#[derive(Debug, Clone)]
pub(crate) struct ConnectionLimit {
    /// Those that are open.
    pub open: Gate,
    /// How many may be.
    pub most: usize,
}

/// Why a listener cannot listen.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// An address cannot be listened on.
    #[error("cannot listen on {address}: {error}")]
    Address {
        /// Which.
        address: SocketAddr,
        /// What the system said.
        error: io::Error,
    },
    /// A Unix socket cannot be listened on.
    #[error("cannot listen on {}: {error}", path.display())]
    Path {
        /// Its file.
        path: PathBuf,
        /// What the system said.
        error: io::Error,
    },
    /// A certificate, key or roots cannot be used.
    #[error("{0}")]
    Tls(#[from] TlsError),
}

/// A listener that nobody has been accepted from yet.
pub(crate) struct BoundListener {
    pub context: Arc<ListenerContext>,
    sockets: ListeningSocket,
    rate: Option<TokenBucket>,
    /// Of a Unix socket.
    pub file: Option<SocketFile>,
}

enum ListeningSocket {
    Tcp(TcpListener),
    Unix(UnixListener),
}

/// Binds; must be called within a runtime.
pub(crate) fn bind(listener: &Listener, limits: &Limits) -> Result<BoundListener, BindError> {
    let tls = listener.tls.as_ref().map(Tls::load).transpose()?;
    let (sockets, address, file) = match &listener.at {
        Endpoint::Address(address) => {
            let at = |error| BindError::Address {
                address: *address,
                error,
            };
            let sockets = socket::tcp(*address).map_err(at)?;
            let address = ListenAddress::Ip {
                address: sockets.local_addr().map_err(at)?,
                transport: listener.transport(),
                path: listener
                    .websocket
                    .as_ref()
                    .map_or_else(String::new, |ws| ws.path.clone()),
            };
            (ListeningSocket::Tcp(sockets), address, None)
        }
        Endpoint::Socket { path, mode } => {
            let (sockets, file) = socket::unix(path, *mode).map_err(|error| BindError::Path {
                path: path.clone(),
                error,
            })?;
            let address = ListenAddress::Unix(path.clone());
            (ListeningSocket::Unix(sockets), address, Some(file))
        }
    };
    let own = &listener.limits;
    let connections = own.connections.map(|n| usize::try_from(u32::from(n)));
    let layers = TransportLayers {
        proxy: listener.proxy_protocol,
        tls: tls.map(Arc::new),
        websocket: listener.websocket.clone(),
        packet_bytes: own.packet_bytes.map_or(limits.packet_bytes, u32::from),
    };
    Ok(BoundListener {
        context: Arc::new(ListenerContext {
            address,
            layers,
            handshake_time: own.handshake_time.unwrap_or(limits.connect_time),
            connections: connections.and_then(Result::ok).unwrap_or(usize::MAX),
            open: Gate::default(),
        }),
        sockets,
        rate: own
            .connect_rate
            .map(|rate| TokenBucket::new(rate.into(), Instant::now())),
        file,
    })
}

/// Accepts until it is dropped, and has each socket served by one of `workers`, in turn.
pub(crate) async fn accept<S, F>(
    mut bound: BoundListener,
    all: ConnectionLimit,
    workers: Vec<IoThread<S>>,
) where
    S: Fn(Socket, Peer, Arc<ListenerContext>) -> F + Clone + Send + 'static,
    F: Future<Output = ()> + Send,
{
    let context = &bound.context;
    let (mut too_fast, mut too_many) = (
        RateLimiter::every(LOG_INTERVAL_MS),
        RateLimiter::every(LOG_INTERVAL_MS),
    );
    for worker in workers.iter().cycle() {
        let (socket, peer) = loop {
            let now = clock::now_ms();
            if let Some(refused) = too_fast.take(now) {
                tracing::warn!(listener = %context.address, refused, "more new connections than connect_rate");
            }
            if let Some(refused) = too_many.take(now) {
                tracing::warn!(listener = %context.address, refused, "too many connections are open");
            }
            let due = [too_fast.due(), too_many.due()].into_iter().flatten().min();
            let accepted = tokio::select! {
                accepted = bound.sockets.next() => accepted,
                () = clock::sleep_until(due) => continue,
            };
            match accepted {
                Ok(accepted) => break accepted,
                Err(error) => {
                    tracing::warn!(listener = %context.address, %error, "a connection could not be accepted");
                    tokio::time::sleep(ACCEPT_RETRY_DELAY).await;
                }
            }
        };
        let rate = bound.rate.as_mut();
        if !rate.is_none_or(|rate| rate.admits(Instant::now())) {
            too_fast.note(1);
            continue;
        }
        let full = |open: usize, most: usize| open >= most.saturating_add(REFUSED_WITH_CONNACK);
        if full(all.open.count(), all.most) || full(context.open.count(), context.connections) {
            too_many.note(1);
            continue;
        }
        let inside = (all.open.enter(), context.open.enter());
        hand_over(socket, peer, context.clone(), worker, inside);
    }
}

impl ListeningSocket {
    async fn next(&self) -> io::Result<(AcceptedSocket, Peer)> {
        match self {
            ListeningSocket::Tcp(listener) => {
                let (socket, peer) = listener.accept().await?;
                // One that accepts IPv4 too shows it as a part of IPv6.
                let peer = SocketAddr::new(peer.ip().to_canonical(), peer.port());
                Ok((AcceptedSocket::Tcp(socket.into_std()?), peer.into()))
            }
            ListeningSocket::Unix(listener) => {
                let (socket, _) = listener.accept().await?;
                Ok((AcceptedSocket::Unix(socket.into_std()?), Peer::Local))
            }
        }
    }
}

/// A socket on its way to another thread.
enum AcceptedSocket {
    Tcp(std::net::TcpStream),
    Unix(std::os::unix::net::UnixStream),
}

impl AcceptedSocket {
    fn arrive(self) -> io::Result<Socket> {
        match self {
            AcceptedSocket::Tcp(socket) => {
                let socket = TcpStream::from_std(socket)?;
                if let Err(error) = socket.set_nodelay(true) {
                    tracing::debug!(%error, "a socket without TCP_NODELAY");
                }
                Ok(Socket::Tcp(socket))
            }
            AcceptedSocket::Unix(socket) => UnixStream::from_std(socket).map(Socket::Unix),
        }
    }
}

/// `inside` counts from now on: that thread may be busy.
fn hand_over<S, F>(
    socket: AcceptedSocket,
    peer: Peer,
    context: Arc<ListenerContext>,
    worker: &IoThread<S>,
    inside: (GateGuard, GateGuard),
) where
    S: Fn(Socket, Peer, Arc<ListenerContext>) -> F + Clone + Send + 'static,
    F: Future<Output = ()> + Send,
{
    let serve = worker.serve.clone();
    worker.handle.spawn(async move {
        let _inside = inside;
        match socket.arrive() {
            Ok(socket) => serve(socket, peer, context).await,
            Err(error) => tracing::warn!(%peer, %error, "a socket could not be handed over"),
        }
    });
}

/// Looks at the files of TLS from time to time, for ever.
pub(crate) async fn watch(all: Vec<Arc<Tls>>) {
    loop {
        tokio::time::sleep(TLS_CHECK_INTERVAL).await;
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
