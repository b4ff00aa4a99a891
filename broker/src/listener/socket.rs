//! Listening and accepted sockets, and the files of Unix sockets.

use crate::policy::Peer;
use crate::transport::Socket;
use rustix::fs::{Access, access};
use rustix::net::{SocketAddrAny, SocketFlags, acceptfrom_with, sockopt};
use std::io::{self, ErrorKind};
use std::net::{SocketAddr, TcpListener as StdTcpListener};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::{UnixListener as StdUnixListener, UnixStream as StdUnixStream};
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::net::{TcpSocket, TcpStream, UnixSocket, UnixStream};

/// Connections that the kernel holds until the server accepts them.
const BACKLOG: u32 = 4096;

/// The kernel probes a silent peer after this time. Probes are rare, so that sleeping devices save power.
const KEEPALIVE_IDLE: Duration = Duration::from_mins(10);

/// The time between two probes, and the number of unanswered probes that closes the connection.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(30);
const KEEPALIVE_PROBES: u32 = 4;

/// A socket that clients connect to.
pub(super) enum ListeningSocket {
    /// One for each address of the listener.
    Tcp(Vec<AsyncFd<StdTcpListener>>),
    Unix(AsyncFd<StdUnixListener>),
}

impl ListeningSocket {
    /// Accepts the next connection.
    pub(super) async fn accept(&self) -> io::Result<(AcceptedSocket, Peer)> {
        match self {
            ListeningSocket::Tcp(listeners) => {
                let (socket, peer) = match listeners.as_slice() {
                    [first, second, ..] => tokio::select! {
                        accepted = accept_from(first) => accepted?,
                        accepted = accept_from(second) => accepted?,
                    },
                    [one] => accept_from(one).await?,
                    [] => std::future::pending().await,
                };
                let peer = SocketAddr::try_from(peer.ok_or(ErrorKind::NotConnected)?)?;
                // A socket for IPv4 and IPv6 reports IPv4 addresses as `::ffff:…`.
                let peer = SocketAddr::new(peer.ip().to_canonical(), peer.port());
                Ok((AcceptedSocket::Tcp(socket.into()), peer.into()))
            }
            ListeningSocket::Unix(listener) => {
                let (socket, _) = accept_from(listener).await?;
                Ok((AcceptedSocket::Unix(socket.into()), Peer::Local))
            }
        }
    }
}

/// Registers a listening socket with the runtime of the calling thread.
#[expect(
    deprecated,
    reason = "its successor is unsafe, for types that do not own their descriptor; these do"
)]
fn watch<L: AsFd + AsRawFd>(listener: L) -> io::Result<AsyncFd<L>> {
    AsyncFd::with_interest(listener, Interest::READABLE)
}

/// Accepts a socket. Tokio's own `accept` would register it with this runtime, and another one
/// serves it.
async fn accept_from<L: AsFd + AsRawFd>(
    listener: &AsyncFd<L>,
) -> io::Result<(OwnedFd, Option<SocketAddrAny>)> {
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    let accept = |listener: &L| Ok(acceptfrom_with(listener, flags)?);
    listener.async_io(Interest::READABLE, accept).await
}

/// An accepted socket on its way to the thread that serves it. It belongs to no runtime.
pub(super) enum AcceptedSocket {
    Tcp(std::net::TcpStream),
    Unix(StdUnixStream),
}

impl AcceptedSocket {
    /// Registers the socket with the runtime of the calling thread.
    pub(super) fn register(self) -> io::Result<Socket> {
        match self {
            AcceptedSocket::Tcp(socket) => TcpStream::from_std(socket).map(Socket::Tcp),
            AcceptedSocket::Unix(socket) => UnixStream::from_std(socket).map(Socket::Unix),
        }
    }
}

/// Opens a TCP socket. Must be called within a runtime.
pub(super) fn tcp(address: SocketAddr) -> io::Result<AsyncFd<StdTcpListener>> {
    let socket = bound(address)?;
    // Accepted sockets inherit all of these. Small packets are sent at once.
    sockopt::set_tcp_nodelay(&socket, true)?;
    // Probes find peers that vanished and whose CONNECT has keep-alive 0.
    sockopt::set_socket_keepalive(&socket, true)?;
    sockopt::set_tcp_keepidle(&socket, KEEPALIVE_IDLE)?;
    sockopt::set_tcp_keepintvl(&socket, KEEPALIVE_INTERVAL)?;
    sockopt::set_tcp_keepcnt(&socket, KEEPALIVE_PROBES)?;
    watch(socket.listen(BACKLOG)?.into_std()?)
}

fn bound(address: SocketAddr) -> io::Result<TcpSocket> {
    let socket = match address {
        SocketAddr::V4(_) => TcpSocket::new_v4()?,
        SocketAddr::V6(_) => TcpSocket::new_v6()?,
    };
    // Allows a port with sockets in TIME_WAIT. Two servers on one port are still an error.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    Ok(socket)
}

/// Checks whether a server could listen on `address`, or another one listens already.
pub(super) fn check_tcp(address: SocketAddr) -> io::Result<()> {
    match bound(address) {
        Err(error) if error.kind() != ErrorKind::AddrInUse => Err(error),
        _ => Ok(()),
    }
}

/// Checks whether the file of a Unix socket could be made, or is a socket already.
pub(super) fn check_unix(path: &Path) -> io::Result<()> {
    if let Ok(file) = std::fs::symlink_metadata(path) {
        let is_socket = file.file_type().is_socket();
        return is_socket.then_some(()).ok_or(ErrorKind::AddrInUse.into());
    }
    let folder = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    Ok(access(folder, Access::WRITE_OK | Access::EXEC_OK)?)
}

/// The file of a Unix socket. Dropping this removes the file, unless another file has replaced it.
#[derive(Debug)]
pub(crate) struct SocketFile {
    path: PathBuf,
    inode: u64,
}

/// Opens a Unix socket whose file has these access rights. Must be called within a runtime.
///
/// A file that an earlier server left behind is replaced.
///
/// # Errors
/// `AddrInUse` if a process answers on the file, or if the file is no socket.
pub(super) fn unix(path: &Path, mode: u32) -> io::Result<(AsyncFd<StdUnixListener>, SocketFile)> {
    if std::fs::symlink_metadata(path).is_ok_and(|file| file.file_type().is_socket())
        && let Err(error) = StdUnixStream::connect(path)
        && error.kind() == ErrorKind::ConnectionRefused
    {
        std::fs::remove_file(path)?;
    }
    let socket = UnixSocket::new_stream()?;
    socket.bind(path)?;
    let file = SocketFile {
        path: path.to_owned(),
        inode: std::fs::symlink_metadata(path)?.ino(),
    };
    // No client can connect before the socket listens.
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode))?;
    Ok((watch(socket.listen(BACKLOG)?.into_std()?)?, file))
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        let own = std::fs::symlink_metadata(&self.path).is_ok_and(|f| f.ino() == self.inode);
        if own && let Err(error) = std::fs::remove_file(&self.path) {
            tracing::warn!(path = %self.path.display(), %error, "the file of a Unix socket could not be removed");
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn only_a_socket_file_without_a_server_is_replaced() {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_io()
            .build();
        let runtime = runtime.unwrap();
        let _within = runtime.enter();
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("mqtt.sock");
        let (listener, file) = unix(&path, 0o600).unwrap();
        let mode = || std::fs::metadata(&path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(), 0o600);
        let taken = unix(&path, 0o600).unwrap_err();
        assert_eq!(taken.kind(), ErrorKind::AddrInUse, "a server answers");
        // As after a crash: the file is there, and no server listens.
        drop(listener);
        std::mem::forget(file);
        let (listener, file) = unix(&path, 0o666).unwrap();
        assert_eq!(mode(), 0o666);
        drop((listener, file));
        assert!(!path.exists());
        std::fs::write(&path, "not a socket").unwrap();
        let taken = unix(&path, 0o600).unwrap_err();
        assert_eq!(taken.kind(), ErrorKind::AddrInUse);
        assert_eq!(std::fs::read(&path).unwrap(), b"not a socket");
    }

    #[test]
    fn accepted_sockets_have_keepalive_probes_and_no_delay() {
        let mut runtime = tokio::runtime::Builder::new_current_thread();
        runtime.enable_all().build().unwrap().block_on(async {
            let listener = tcp("127.0.0.1:0".parse().unwrap()).unwrap();
            let connect = TcpStream::connect(listener.get_ref().local_addr().unwrap());
            let (peer, accepted) = tokio::join!(connect, accept_from(&listener));
            let (socket, _) = accepted.unwrap();
            assert!(sockopt::tcp_nodelay(&socket).unwrap());
            assert!(sockopt::socket_keepalive(&socket).unwrap());
            assert_eq!(sockopt::tcp_keepidle(&socket).unwrap(), KEEPALIVE_IDLE);
            drop(peer.unwrap());
        });
    }
}
