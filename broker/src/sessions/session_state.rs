//! The session state that outlives a connection (Session State, 4.1).

use crate::packet::PacketId;
use crate::policy::Principal;
use crate::session::Filters;
use std::collections::{BTreeSet, HashSet};

/// The state of an offline session, without its outbox and its subscriptions in the lanes.
#[derive(Debug)]
pub(crate) struct SessionState {
    pub who: Principal,
    /// Packet ids of QoS 2 messages that were received and are not released.
    pub unreleased: HashSet<PacketId>,
    /// The subscribed filters, by the client's own names.
    pub filters: Filters,
    /// Lanes that know the session.
    pub lanes: BTreeSet<u16>,
    /// Request id of the last SUBSCRIBE or UNSUBSCRIBE.
    pub request_id: u32,
}

impl SessionState {
    /// The state of a new session.
    pub(crate) fn new(who: Principal) -> SessionState {
        SessionState {
            who,
            unreleased: HashSet::new(),
            filters: Filters::default(),
            lanes: BTreeSet::new(),
            request_id: 0,
        }
    }
}
