//! A peer that has come as far as MQTT, and how it got there.

use super::link::Link;
use crate::outbox::Outlet;
use crate::policy::Peer;
use tokio::net::{TcpStream, UnixStream};

/// What was accepted: bytes in their order and without loss, both ways [3.1.1 MQTT-7.1.1-1, 5.0 MQTT-4.2-1].
pub(crate) enum Socket {
    Tcp(TcpStream),
    Unix(UnixStream),
}

/// A peer whose next byte is MQTT.
pub(crate) struct EstablishedTransport {
    pub link: Link,
    pub outlet: Outlet,
    pub peer: Peer,
    /// The user that a verified certificate names.
    pub certificate_user: Result<Option<String>, CertificateUserError>,
}

/// A verified certificate without the field that would be the user. Told by CONNACK, as any name that is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the client's certificate has no {0}, which would be the user")]
pub(crate) struct CertificateUserError(pub &'static str);

impl EstablishedTransport {
    /// A peer with nothing in between.
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
