//! The destination of an outbox's bytes: a socket that any thread may write to, or a stream that
//! only its connection's task can drive.

use std::io::{self, IoSlice};
use tokio::net::{tcp, unix};

/// The writing side of a connection, as its outbox holds it. Dropping a socket shuts its sending
/// side.
#[derive(Debug)]
pub(crate) enum Outlet {
    /// A plain TCP socket: connection tasks and appliers write to it directly.
    Tcp(tcp::OwnedWriteHalf),
    /// A plain Unix socket, written to in the same way.
    Unix(unix::OwnedWriteHalf),
    /// TLS or WebSocket: the outbox wakes the connection's task, which writes.
    Framed,
}

impl Outlet {
    /// Writes as much as the socket takes without blocking. [`Outlet::Framed`] always answers
    /// `WouldBlock`.
    pub(crate) fn try_write(&self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Outlet::Tcp(socket) => socket.try_write(bytes),
            Outlet::Unix(socket) => socket.try_write(bytes),
            Outlet::Framed => Err(io::ErrorKind::WouldBlock.into()),
        }
    }

    /// The same for several pieces.
    pub(crate) fn try_write_vectored(&self, pieces: &[IoSlice<'_>]) -> io::Result<usize> {
        match self {
            Outlet::Tcp(socket) => socket.try_write_vectored(pieces),
            Outlet::Unix(socket) => socket.try_write_vectored(pieces),
            Outlet::Framed => Err(io::ErrorKind::WouldBlock.into()),
        }
    }
}
