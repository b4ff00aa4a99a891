//! A client's identity: in its CONNECT, as an accepted session, and in a lane.

use bytes::Bytes;
use bytestring::ByteString;
use roommq_lane::{Actor, SessionId, WallTime};
use std::any::Any;
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
    /// What its credentials say beside that. None: they last for ever, and say nothing.
    pub credential: Option<Arc<Credential>>,
    /// The [`version`](super::Policy::version) of the policy before the client logged in.
    pub generation: u64,
}

/// What a policy remembers of a client's credentials.
#[derive(Debug)]
pub struct Credential {
    /// When they end. The server then ends the connection with 0xA0. None: never.
    pub expires: Option<WallTime>,
    /// Facts for the policy alone; the broker does not read them.
    pub claims: Box<dyn Any + Send + Sync>,
}

/// One credential is equal only to itself.
impl PartialEq for Credential {
    fn eq(&self, other: &Self) -> bool {
        std::ptr::eq(self, other)
    }
}

impl Eq for Credential {}

impl Principal {
    /// A principal without a client id, which the broker fills in.
    pub fn new(user: impl Into<Arc<str>>, authenticated: bool) -> Principal {
        Principal {
            user: user.into(),
            client_id: ByteString::new(),
            authenticated,
            credential: None,
            generation: 0,
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
