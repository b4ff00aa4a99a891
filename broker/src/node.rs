//! What the connections of one thread reach: the node around them.

use crate::fairness::HandshakePacer;
use crate::gate::Gate;
use crate::lane::{Entrance, Mailboxes};
use crate::metrics::Counters;
use crate::policy::Policy;
use crate::sessions::Sessions;
use roommq_config::Limits;
use std::sync::Arc;

/// What all connections of one thread share.
pub(crate) struct Node {
    pub policy: Arc<dyn Policy>,
    pub sessions: Arc<Sessions>,
    pub mailboxes: Mailboxes,
    pub counters: Arc<Counters>,
    pub entrance: Arc<Entrance>,
    pub limits: Limits,
    /// How many lanes there are.
    pub lanes: u16,
    /// Sessions that still take new messages.
    pub reading: Gate,
    /// Sessions that still have their connection.
    pub connected: Gate,
    /// Connections, those before their CONNECT included.
    pub connections: Gate,
    /// For handshakes that cost much of a core.
    pub handshakes: HandshakePacer,
}
