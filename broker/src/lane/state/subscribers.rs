//! The sessions that have something in a lane, each in a numbered place that subscriptions refer to.

use super::entry::Origin;
use super::subscription::Slot;
use crate::outbox::Outbox;
use crate::policy::{Actor, SessionId};
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

/// A session with something in this lane.
#[derive(Debug)]
pub(super) struct Subscriber {
    pub session: SessionId,
    pub user: Box<str>,
    /// None where the session is gone from here, or is another node's.
    pub outbox: Option<Arc<Outbox>>,
    /// Thousands, for some: none is looked for one by one.
    filters: HashSet<Box<str>>,
}

/// All of a lane. A session that has nothing any more is taken out, and its place used again.
#[derive(Debug, Default)]
pub(super) struct Subscribers {
    slots: Vec<Option<Subscriber>>,
    by_client: HashMap<u64, Slot>,
    free: Vec<Slot>,
}

impl Subscriber {
    pub(super) fn actor(&self) -> Actor<'_> {
        Actor {
            session: self.session,
            user: &self.user,
        }
    }

    /// Its filters, once it has been taken out.
    pub(super) fn into_filters(self) -> HashSet<Box<str>> {
        self.filters
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

    /// The place of a client's session, whichever incarnation it is.
    pub(super) fn slot_of(&self, client: u64) -> Option<Slot> {
        self.by_client.get(&client).copied()
    }

    /// Gives a session a place; its client must have none.
    pub(super) fn insert(&mut self, who: Origin<'_>, outbox: Option<Arc<Outbox>>) -> Option<Slot> {
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
            Some(place) => *place = Some(subscriber),
            None => self.slots.push(Some(subscriber)),
        }
        self.by_client.insert(who.session.client, slot);
        Some(slot)
    }

    /// A client's session goes on as `session`; none where it has nothing here, or is a later one.
    pub(super) fn set_session(&mut self, session: SessionId) -> Option<Slot> {
        let slot = self.slot_of(session.client)?;
        let known = self.slots.get_mut(slot as usize)?.as_mut()?;
        if known.session.incarnation > session.incarnation {
            return None;
        }
        known.session = session;
        Some(slot)
    }

    /// What the session at `slot` holds.
    pub(super) fn filters(&self, slot: Slot) -> Vec<Box<str>> {
        self.get(slot)
            .map_or_else(Vec::new, |s| s.filters.iter().cloned().collect())
    }

    /// The session at `slot` holds one more filter.
    pub(super) fn add_filter(&mut self, slot: Slot, filter: &str) {
        if let Some(Some(subscriber)) = self.slots.get_mut(slot as usize) {
            subscriber.filters.insert(filter.into());
        }
    }

    /// And one less.
    pub(super) fn remove_filter(&mut self, slot: Slot, filter: &str) {
        if let Some(Some(subscriber)) = self.slots.get_mut(slot as usize) {
            subscriber.filters.remove(filter);
        }
    }

    /// Takes a session out.
    pub(super) fn remove(&mut self, slot: Slot) -> Option<Subscriber> {
        let subscriber = self.slots.get_mut(slot as usize)?.take()?;
        self.by_client.remove(&subscriber.session.client);
        self.free.push(slot);
        Some(subscriber)
    }

    /// Whether the session at `slot` holds no filter.
    pub(super) fn has_no_filter(&self, slot: Slot) -> bool {
        self.get(slot).is_some_and(|s| s.filters.is_empty())
    }

    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.by_client.is_empty()
    }
}
