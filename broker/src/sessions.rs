//! All sessions of this node, and takeover: one connection for one client id of one user.

use crate::outbox::Outbox;
use crate::packet::ReasonCode;
use crate::policy::SessionId;
use crate::session::Close;
use bytestring::ByteString;
use parking_lot::Mutex;
use std::collections::HashMap;
use std::sync::Arc;

/// A client's place: client ids are scoped by user, so that nobody can evict a stranger.
type Client = (Arc<str>, ByteString);

/// The registry.
#[derive(Debug, Default)]
pub(crate) struct Sessions {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    by_client: HashMap<Client, u64>,
    by_number: HashMap<u64, Registered>,
    last: u64,
    shut: bool,
}

#[derive(Debug)]
struct Registered {
    client: Client,
    incarnation: u64,
    outbox: Arc<Outbox>,
}

impl Sessions {
    /// Enters a session. An earlier one of the same client is told to end [MQTT-3.1.4-3]. None once the
    /// server is shutting down.
    pub(crate) fn enter(
        &self,
        user: &Arc<str>,
        id: &ByteString,
        outbox: &Arc<Outbox>,
    ) -> Option<SessionId> {
        let client: Client = (user.clone(), id.clone());
        let mut state = self.state.lock();
        if state.shut {
            return None;
        }
        state.last += 1;
        let incarnation = state.last;
        let number = *state.by_client.entry(client.clone()).or_insert(incarnation);
        let registered = Registered {
            client,
            incarnation,
            outbox: outbox.clone(),
        };
        if let Some(old) = state.by_number.insert(number, registered) {
            old.outbox.close(Close {
                reason: ReasonCode::SessionTakenOver,
                text: "another connection uses this client id".to_owned(),
            });
        }
        Some(SessionId {
            client: number,
            incarnation,
        })
    }

    /// Takes a session out; a later incarnation stays.
    pub(crate) fn leave(&self, session: SessionId) {
        let mut state = self.state.lock();
        let own = |r: &Registered| r.incarnation == session.incarnation;
        if state.by_number.get(&session.client).is_some_and(own)
            && let Some(registered) = state.by_number.remove(&session.client)
        {
            state.by_client.remove(&registered.client);
        }
    }

    /// The outbox of a session that lives.
    pub(crate) fn outbox(&self, session: SessionId) -> Option<Arc<Outbox>> {
        let state = self.state.lock();
        let registered = state.by_number.get(&session.client)?;
        (registered.incarnation == session.incarnation).then(|| registered.outbox.clone())
    }

    /// Lets nobody in any more; all outboxes.
    pub(crate) fn shut(&self) -> Vec<Arc<Outbox>> {
        let mut state = self.state.lock();
        state.shut = true;
        state.by_number.values().map(|r| r.outbox.clone()).collect()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::packet::Version;
    use crate::session::{Outbound, OutboundLimits};

    fn outbox() -> Arc<Outbox> {
        let limits = OutboundLimits {
            bytes: 100,
            messages: 1,
            receive_maximum: 1,
            maximum_packet_size: None,
            problem_information: true,
        };
        Arc::new(Outbox::new(Outbound::new(Version::V5, limits), None))
    }

    #[test]
    fn a_second_connection_takes_over_within_one_user_only() {
        let sessions = Sessions::default();
        let (alice, bob): (Arc<str>, Arc<str>) = ("alice".into(), "bob".into());
        let (first, stranger, second) = (outbox(), outbox(), outbox());
        let old = sessions.enter(&alice, &"tv".into(), &first).unwrap();
        sessions.enter(&bob, &"tv".into(), &stranger).unwrap();
        let new = sessions.enter(&alice, &"tv".into(), &second).unwrap();
        assert_eq!(old.client, new.client);
        assert!(old.incarnation < new.incarnation);
        let reason = |o: &Outbox| o.condition().closing.map(|c| c.reason);
        assert_eq!(reason(&first), Some(ReasonCode::SessionTakenOver));
        assert_eq!((reason(&stranger), reason(&second)), (None, None));
        sessions.leave(old);
        assert!(sessions.outbox(old).is_none() && sessions.outbox(new).is_some());
        sessions.leave(new);
        assert_eq!(sessions.shut().len(), 1);
        assert!(sessions.enter(&alice, &"tv".into(), &second).is_none());
    }
}
