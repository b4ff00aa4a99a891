//! The streams that carry the bytes of a connection.

use std::fmt::Debug;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
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

/// A TCP socket to a server, from this address of loopback: 127.0.0.2 stands for another machine.
pub fn tcp_from(source: Ipv4Addr, server: SocketAddr) -> Box<dyn Stream> {
    use rustix::net::{AddressFamily, SocketType, bind, connect, socket};
    let socket = socket(AddressFamily::INET, SocketType::STREAM, None).expect("a socket");
    bind(&socket, &SocketAddr::from((source, 0))).expect("an address of loopback");
    connect(&socket, &server).expect("the server accepts");
    Box::new(TcpStream::from(socket))
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
