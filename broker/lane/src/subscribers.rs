//! The sessions that a lane knows, each in a numbered slot to which its subscriptions refer.

use super::messages::Presence;
use super::pending::Queue;
use super::share::{Place, Waits};
use super::subscription::Slot;
use crate::{Actor, SessionId};
use ahash::RandomState;
use bytestring::ByteString;
use roommq_mqtt::session::Filters;
use std::collections::HashMap;

mod snapshot;

/// A session that has subscriptions or messages in this lane.
#[derive(Debug)]
pub(super) struct Subscriber {
    pub session: SessionId,
    /// The session's latest connection that this lane has heard of.
    pub connection: u32,
    pub user: Box<str>,
    pub filters: Filters,
    /// Whether it has a connection.
    pub presence: Presence,
    /// None if it is empty. Boxed, since most are.
    pub queue: Option<Box<Queue>>,
    /// In the order in which offline sessions are evicted; none while it has a connection.
    pub place: Option<Place>,
    /// The lane keeps nothing for it until its client returns, which is unlikely: it is about to
    /// end.
    pub evicted: bool,
}

/// All sessions of a lane, by slot and by id. A session keeps its slot when another connection
/// resumes it.
#[derive(Debug, Default)]
pub(super) struct Subscribers {
    slots: Vec<Option<Subscriber>>,
    by_id: HashMap<SessionId, Slot, RandomState>,
    /// Slots of sessions that have been removed.
    free: Vec<Slot>,
}

impl Subscriber {
    /// The session as hooks know it.
    pub(super) fn actor(&self) -> Actor<'_> {
        Actor {
            session: self.session,
            connection: self.connection,
            user: &self.user,
        }
    }

    /// The contents of its queue.
    pub(super) fn waits(&self) -> Waits {
        let queue = self.queue.as_ref();
        queue.map_or_else(Waits::default, |queue| Waits {
            references: queue.references(),
            bytes: queue.bytes(),
        })
    }

    /// Whether a message for it counts for the lane's share.
    pub(super) fn is_offline(&self) -> bool {
        self.presence == Presence::Offline
    }
}

impl Subscribers {
    pub(super) fn get(&self, slot: Slot) -> Option<&Subscriber> {
        self.slots.get(slot as usize)?.as_ref()
    }

    pub(super) fn get_mut(&mut self, slot: Slot) -> Option<&mut Subscriber> {
        self.slots.get_mut(slot as usize)?.as_mut()
    }

    /// The slot of a session, whatever its connection.
    pub(super) fn slot_of(&self, session: SessionId) -> Option<Slot> {
        self.by_id.get(&session).copied()
    }

    /// Adds a session, which must have no slot. None if all slots are taken.
    pub(super) fn insert(&mut self, who: Actor<'_>) -> Option<Slot> {
        let subscriber = Subscriber {
            session: who.session,
            connection: who.connection,
            user: who.user.into(),
            filters: Filters::default(),
            presence: Presence::Connected,
            queue: None,
            place: None,
            evicted: false,
        };
        let slot = match self.free.pop() {
            Some(slot) => slot,
            None => Slot::try_from(self.slots.len()).ok()?,
        };
        match self.slots.get_mut(slot as usize) {
            Some(free) => *free = Some(subscriber),
            None => self.slots.push(Some(subscriber)),
        }
        self.by_id.insert(who.session, slot);
        Some(slot)
    }

    /// Another connection has resumed a session. None if the session has no slot here, or if a later
    /// connection has it.
    pub(super) fn set_connection(&mut self, who: Actor<'_>) -> Option<Slot> {
        let slot = self.slot_of(who.session)?;
        let known = self.get_mut(slot)?;
        if known.connection > who.connection {
            return None;
        }
        known.connection = who.connection;
        Some(slot)
    }

    /// The filters of the session at `slot`, sorted.
    pub(super) fn filters(&self, slot: Slot) -> Vec<ByteString> {
        let subscriber = self.get(slot).into_iter();
        let mut filters: Vec<_> = subscriber.flat_map(|s| s.filters.iter().cloned()).collect();
        filters.sort_unstable();
        filters
    }

    /// Notes that the session at `slot` has subscribed to `filter`.
    pub(super) fn add_filter(&mut self, slot: Slot, filter: &str) {
        if let Some(subscriber) = self.get_mut(slot) {
            subscriber.filters.insert(filter.into());
        }
    }

    /// Notes that the session at `slot` has no subscription to `filter` any more.
    pub(super) fn remove_filter(&mut self, slot: Slot, filter: &str) {
        if let Some(subscriber) = self.get_mut(slot) {
            subscriber.filters.remove(filter);
        }
    }

    /// Removes a session. Its subscriptions in the index are the caller's to remove.
    pub(super) fn remove(&mut self, slot: Slot) -> Option<Subscriber> {
        let subscriber = self.slots.get_mut(slot as usize)?.take()?;
        self.by_id.remove(&subscriber.session);
        self.free.push(slot);
        Some(subscriber)
    }
}
