//! A connection whose transport layers are established.

use super::link::Link;
use super::tls::CertificateUserError;
use crate::outbox::Outlet;
use crate::policy::Peer;
use tokio::net::{TcpStream, UnixStream};

/// An accepted socket. It carries bytes in order and without loss, in both directions [3.1.1 MQTT-7.1.1-1, 5.0 MQTT-4.2-1].
pub(crate) enum Socket {
    Tcp(TcpStream),
    Unix(UnixStream),
}

/// A connection whose next byte is MQTT.
pub(crate) struct EstablishedTransport {
    /// Belongs to the connection's task, which reads from it.
    pub link: Link,
    /// Belongs to the outbox, which writes to it.
    pub outlet: Outlet,
    pub peer: Peer,
    /// The user in the client's verified certificate.
    pub certificate_user: Result<Option<String>, CertificateUserError>,
}

impl EstablishedTransport {
    /// A connection without any layer: MQTT begins with the first byte.
    pub(crate) fn plain(socket: Socket, peer: Peer) -> EstablishedTransport {
        let (link, outlet) = match socket {
            Socket::Tcp(socket) => Link::tcp(socket),
            Socket::Unix(socket) => Link::unix(socket),
        };
        EstablishedTransport {
            link,
            outlet,
            peer,
            certificate_user: Ok(None),
        }
    }
}
