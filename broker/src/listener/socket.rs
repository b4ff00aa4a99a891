//! Opens listening sockets, and takes the files of Unix sockets away again.

use rustix::net::sockopt;
use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::net::{TcpListener, TcpSocket, UnixListener, UnixSocket};

/// Connections that the kernel holds until they are accepted.
const BACKLOG: u32 = 4096;

/// Silence after which the kernel asks whether the peer is there: rarely, for devices that sleep.
const PROBED_AFTER: Duration = Duration::from_mins(10);

/// How often it asks then, and how many times before it gives the peer up.
const PROBED_EVERY: Duration = Duration::from_secs(30);
const PROBES: u32 = 4;

/// Must be called within a runtime.
pub(super) fn tcp(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = match address {
        SocketAddr::V4(_) => TcpSocket::new_v4()?,
        SocketAddr::V6(_) => TcpSocket::new_v6()?,
    };
    // Only for sockets in TIME_WAIT: two servers on one port stay an error.
    socket.set_reuseaddr(true)?;
    // Accepted sockets inherit it: a peer that vanished without a word is found though it asked for no keep-alive.
    sockopt::set_socket_keepalive(&socket, true)?;
    sockopt::set_tcp_keepidle(&socket, PROBED_AFTER)?;
    sockopt::set_tcp_keepintvl(&socket, PROBED_EVERY)?;
    sockopt::set_tcp_keepcnt(&socket, PROBES)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// The file of a Unix socket; it goes with this, unless another has taken its place.
#[derive(Debug)]
pub(crate) struct SocketFile {
    path: PathBuf,
    inode: u64,
}

/// Must be called within a runtime. A file that an earlier server left is replaced; one that somebody answers on, or
/// that is no socket, is an address in use.
pub(super) fn unix(path: &Path, mode: u32) -> io::Result<(UnixListener, SocketFile)> {
    if std::fs::symlink_metadata(path).is_ok_and(|file| file.file_type().is_socket())
        && let Err(error) = UnixStream::connect(path)
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
    // Nobody gets in before it listens.
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode))?;
    Ok((socket.listen(BACKLOG)?, file))
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        let own = std::fs::symlink_metadata(&self.path).is_ok_and(|f| f.ino() == self.inode);
        if own && let Err(error) = std::fs::remove_file(&self.path) {
            tracing::warn!(path = %self.path.display(), %error, "a socket's file stays behind");
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_file_is_replaced_only_where_nobody_answers() {
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
        assert_eq!(taken.kind(), ErrorKind::AddrInUse, "somebody answers");
        // As after a crash: nobody listens, and the file is there.
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
    fn a_peer_that_vanishes_is_looked_for() {
        let mut runtime = tokio::runtime::Builder::new_current_thread();
        runtime.enable_all().build().unwrap().block_on(async {
            let listener = tcp("127.0.0.1:0".parse().unwrap()).unwrap();
            let connect = tokio::net::TcpStream::connect(listener.local_addr().unwrap());
            let (peer, accepted) = tokio::join!(connect, listener.accept());
            let (socket, _) = accepted.unwrap();
            assert!(sockopt::socket_keepalive(&socket).unwrap());
            assert_eq!(sockopt::tcp_keepidle(&socket).unwrap(), PROBED_AFTER);
            drop(peer.unwrap());
        });
    }
}
