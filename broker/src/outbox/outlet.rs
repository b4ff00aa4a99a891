//! Where the bytes of an outbox go: a socket that anybody may write to, or a stream that only its
//! connection's task can drive.

use std::io::{self, IoSlice};
use tokio::net::{tcp, unix};

/// The writing side of a connection, as its outbox holds it.
#[derive(Debug)]
pub(crate) enum Outlet {
    /// Written to directly, by keepers too. Dropping it shuts the sending side.
    Tcp(tcp::OwnedWriteHalf),
    /// The same.
    Unix(unix::OwnedWriteHalf),
    /// TLS, WebSocket: the connection's task is woken, and writes.
    Framed,
}

impl Outlet {
    /// Writes what the socket takes now; would block, always, where only the connection's task can write.
    pub(crate) fn try_write(&self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Outlet::Tcp(socket) => socket.try_write(bytes),
            Outlet::Unix(socket) => socket.try_write(bytes),
            Outlet::Framed => Err(io::ErrorKind::WouldBlock.into()),
        }
    }

    /// The same, for several pieces.
    pub(crate) fn try_write_vectored(&self, pieces: &[IoSlice<'_>]) -> io::Result<usize> {
        match self {
            Outlet::Tcp(socket) => socket.try_write_vectored(pieces),
            Outlet::Unix(socket) => socket.try_write_vectored(pieces),
            Outlet::Framed => Err(io::ErrorKind::WouldBlock.into()),
        }
    }
}
