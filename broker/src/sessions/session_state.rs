//! What the server keeps of a session from one connection to the next (Session State, 4.1).

use crate::packet::PacketId;
use crate::policy::Principal;
use crate::session::Filters;
use bytestring::ByteString;
use std::collections::{BTreeSet, HashSet};

/// What a session is between two connections, beside its outbox and its subscriptions in the lanes.
#[derive(Debug)]
pub(crate) struct SessionState {
    pub who: Principal,
    pub client_id: ByteString,
    /// QoS 2 ids taken and not yet released.
    pub unreleased: HashSet<PacketId>,
    /// As the client named them.
    pub filters: Filters,
    /// Lanes in which the session has had something.
    pub lanes: BTreeSet<u16>,
    /// Number of the last SUBSCRIBE or UNSUBSCRIBE.
    pub request_id: u32,
}

impl SessionState {
    /// The state of a new session.
    pub(crate) fn new(who: Principal, client_id: ByteString) -> SessionState {
        SessionState {
            who,
            client_id,
            unreleased: HashSet::new(),
            filters: Filters::default(),
            lanes: BTreeSet::new(),
            request_id: 0,
        }
    }
}
