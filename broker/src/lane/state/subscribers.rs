//! The sessions that a lane knows, each in a numbered slot to which its subscriptions refer.

use super::subscription::Slot;
use crate::outbox::Outbox;
use crate::policy::{Actor, SessionId};
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

/// A session that has subscriptions in this lane, or had them and still holds messages of its
/// groups.
#[derive(Debug)]
pub(super) struct Subscriber {
    pub session: SessionId,
    pub user: Box<str>,
    /// None if the session ended before this lane heard of it, or is another node's.
    pub outbox: Option<Arc<Outbox>>,
    /// A set, because some sessions have thousands.
    pub filters: HashSet<Box<str>>,
}

/// All sessions of a lane, by slot and by client.
///
/// A client has one slot at the most: its session keeps the slot when another connection resumes
/// it.
#[derive(Debug, Default)]
pub(super) struct Subscribers {
    slots: Vec<Option<Subscriber>>,
    by_client: HashMap<u64, Slot>,
    /// Slots of sessions that have been removed.
    free: Vec<Slot>,
}

impl Subscriber {
    /// The session as hooks know it.
    pub(super) fn actor(&self) -> Actor<'_> {
        Actor {
            session: self.session,
            user: &self.user,
        }
    }
}

impl Subscribers {
    pub(super) fn get(&self, slot: Slot) -> Option<&Subscriber> {
        self.slots.get(slot as usize)?.as_ref()
    }

    /// The outbox of the session at `slot`.
    pub(super) fn outbox(&self, slot: Slot) -> Option<&Arc<Outbox>> {
        self.get(slot)?.outbox.as_ref()
    }

    /// The outboxes of all sessions.
    pub(super) fn outboxes(&self) -> impl Iterator<Item = &Arc<Outbox>> {
        let known = self.slots.iter().flatten();
        known.filter_map(|subscriber| subscriber.outbox.as_ref())
    }

    /// The slot of a client's session, whatever its incarnation.
    pub(super) fn slot_of(&self, client: u64) -> Option<Slot> {
        self.by_client.get(&client).copied()
    }

    /// Adds a session, whose client must have no slot. None if all slots are taken.
    pub(super) fn insert(&mut self, who: Actor<'_>, outbox: Option<Arc<Outbox>>) -> Option<Slot> {
        let subscriber = Subscriber {
            session: who.session,
            user: who.user.into(),
            outbox,
            filters: HashSet::new(),
        };
        let slot = match self.free.pop() {
            Some(slot) => slot,
            None => Slot::try_from(self.slots.len()).ok()?,
        };
        match self.slots.get_mut(slot as usize) {
            Some(free) => *free = Some(subscriber),
            None => self.slots.push(Some(subscriber)),
        }
        self.by_client.insert(who.session.client, slot);
        Some(slot)
    }

    /// Another connection has resumed a session: sets its incarnation. None if the client has no
    /// slot here, or if a later incarnation has it.
    pub(super) fn set_session(&mut self, session: SessionId) -> Option<Slot> {
        let slot = self.slot_of(session.client)?;
        let known = self.slots.get_mut(slot as usize)?.as_mut()?;
        if known.session.incarnation > session.incarnation {
            return None;
        }
        known.session = session;
        Some(slot)
    }

    /// The filters of the session at `slot`.
    pub(super) fn filters(&self, slot: Slot) -> Vec<Box<str>> {
        self.get(slot)
            .map_or_else(Vec::new, |s| s.filters.iter().cloned().collect())
    }

    /// Notes that the session at `slot` has subscribed to `filter`.
    pub(super) fn add_filter(&mut self, slot: Slot, filter: &str) {
        if let Some(Some(subscriber)) = self.slots.get_mut(slot as usize) {
            subscriber.filters.insert(filter.into());
        }
    }

    /// Notes that the session at `slot` has no subscription to `filter` any more.
    pub(super) fn remove_filter(&mut self, slot: Slot, filter: &str) {
        if let Some(Some(subscriber)) = self.slots.get_mut(slot as usize) {
            subscriber.filters.remove(filter);
        }
    }

    /// Removes a session. Its subscriptions in the index are the caller's to remove.
    pub(super) fn remove(&mut self, slot: Slot) -> Option<Subscriber> {
        let subscriber = self.slots.get_mut(slot as usize)?.take()?;
        self.by_client.remove(&subscriber.session.client);
        self.free.push(slot);
        Some(subscriber)
    }

    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.by_client.is_empty()
    }
}
