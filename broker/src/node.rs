//! The parts of the server that every connection of one thread uses.

use crate::connect_limits::ConnectLimits;
use crate::fairness::HandshakePacer;
use crate::gate::Gate;
use crate::lane::{Entrance, Mailboxes};
use crate::limit_counts::LimitCounts;
use crate::metrics::Counters;
use crate::policy::Policy;
use crate::sessions::Sessions;
use roommq_config::Limits;
use std::sync::Arc;

/// Shared by all connections of one thread. The entrance and the handshakes belong to this thread;
/// the rest belongs to the whole server.
pub(crate) struct Node {
    pub policy: Arc<dyn Policy>,
    pub sessions: Arc<Sessions>,
    pub mailboxes: Mailboxes,
    pub counters: Arc<Counters>,
    /// Limits on the connections of an address, a user and a client.
    pub connect_limits: Arc<ConnectLimits>,
    /// How often each limit has acted.
    pub limit_counts: Arc<LimitCounts>,
    pub entrance: Arc<Entrance>,
    pub limits: Limits,
    /// Number of lanes that have a log. It is also the number of the lane of the node.
    pub lanes: u16,
    /// Counts sessions that still accept new messages.
    pub reading: Gate,
    /// Counts sessions that have a connection.
    pub connected: Gate,
    /// Counts connections, including those that have not sent CONNECT.
    pub connections: Gate,
    /// Limits the handshakes that cost much CPU time.
    pub handshakes: HandshakePacer,
}
