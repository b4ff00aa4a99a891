//! The session state that outlives a connection (Session State, 4.1).

use crate::packet::PacketId;
use crate::policy::{Actor, Principal, SessionId};
use crate::session::Filters;
use std::collections::{BTreeSet, HashSet};

/// The state of an offline session, without its outbox and its subscriptions in the lanes.
#[derive(Debug)]
pub(crate) struct SessionState {
    /// The number of the session's last connection, from 1.
    pub connection: u32,
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
            connection: 1,
            who,
            unreleased: HashSet::new(),
            filters: Filters::default(),
            lanes: BTreeSet::new(),
            request_id: 0,
        }
    }

    /// The actor of entries for the session's last connection.
    pub(crate) fn actor(&self, id: SessionId) -> Actor<'_> {
        self.who.actor(id, self.connection)
    }
}
