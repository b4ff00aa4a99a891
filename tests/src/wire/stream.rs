//! The streams that carry the bytes of a connection.

use std::fmt::Debug;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::time::Duration;
use tokio_rustls::rustls::{ClientConnection, StreamOwned};

/// A blocking stream whose reads have a time limit.
pub trait Stream: Read + Write + Debug + Send {
    /// From now on a read fails after `time`, which is not zero.
    fn wait_for(&self, time: Duration);

    /// The TCP socket at the bottom, if there is one.
    fn tcp(&self) -> Option<&TcpStream>;
}

impl Stream for TcpStream {
    fn wait_for(&self, time: Duration) {
        self.set_read_timeout(Some(time)).expect("an open socket");
    }

    fn tcp(&self) -> Option<&TcpStream> {
        Some(self)
    }
}

impl Stream for UnixStream {
    fn wait_for(&self, time: Duration) {
        self.set_read_timeout(Some(time)).expect("an open socket");
    }

    fn tcp(&self) -> Option<&TcpStream> {
        None
    }
}

impl Stream for StreamOwned<ClientConnection, TcpStream> {
    fn wait_for(&self, time: Duration) {
        self.sock.wait_for(time);
    }

    fn tcp(&self) -> Option<&TcpStream> {
        Some(&self.sock)
    }
}

impl Stream for Box<dyn Stream> {
    fn wait_for(&self, time: Duration) {
        (**self).wait_for(time);
    }

    fn tcp(&self) -> Option<&TcpStream> {
        (**self).tcp()
    }
}
