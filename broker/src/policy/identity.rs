//! A client's identity: in its CONNECT, as an accepted session, and in a lane.

use bytes::Bytes;
use bytestring::ByteString;
use roommq_lane::{Actor, SessionId, WallTime};
use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;

/// The user and the client id for which a session acts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Principal {
    /// The user's name, in the form that it has as a topic level.
    pub user: Arc<str>,
    /// The client id as it was sent. Empty until the broker has accepted the session.
    pub client_id: ByteString,
    /// Whether the client proved its identity with credentials.
    pub authenticated: bool,
}

impl Principal {
    /// A principal without a client id, which the broker fills in.
    pub fn new(user: impl Into<Arc<str>>, authenticated: bool) -> Principal {
        Principal {
            user: user.into(),
            client_id: ByteString::new(),
            authenticated,
        }
    }

    /// The actor of this user's entries in a session, by the connection with this number.
    pub fn actor(&self, session: SessionId, connection: u32) -> Actor<'_> {
        Actor {
            session,
            connection,
            user: &self.user,
        }
    }
}

/// The parts of a CONNECT that a policy decides on.
#[derive(Debug, Clone)]
pub struct ConnectRequest {
    /// The client id. Never empty: the broker replaces an empty one.
    pub client_id: String,
    /// The user name, if the client sent one.
    pub user_name: Option<String>,
    /// The password, if the client sent one. Never logged.
    pub password: Option<Bytes>,
    /// The user in the verified client certificate, if the listener takes users from certificates.
    pub certificate_user: Option<String>,
    /// The other end of the connection.
    pub peer: Peer,
    /// The time of the packet, for credentials that end.
    pub now: WallTime,
}

/// The other end of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Peer {
    /// The address of the socket, or the address that a trusted proxy reports.
    Address(SocketAddr),
    /// A process of this machine that uses a Unix socket.
    Local,
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Peer::Address(address) => address.fmt(f),
            Peer::Local => f.write_str("local"),
        }
    }
}

impl From<SocketAddr> for Peer {
    fn from(address: SocketAddr) -> Self {
        Peer::Address(address)
    }
}
