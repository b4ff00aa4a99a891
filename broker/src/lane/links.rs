//! The outboxes of the sessions that a lane knows, by slot.

use super::turns::Turns;
use crate::outbox::Outbox;
use crate::policy::SessionId;
use roommq_lane::Slot;
use std::collections::HashMap;
use std::sync::Arc;

/// What this node has for the slots and the groups of one lane. It is behind the lane's lock,
/// beside the lane.
///
/// A slot belongs to the lane's state and means the same session on every node. Its outbox belongs
/// to the node where that session is.
#[derive(Default)]
pub(super) struct Links {
    /// None: the slot is free, or its session has no outbox here.
    by_slot: Vec<Option<Arc<Outbox>>>,
    /// Sessions without a slot whose outboxes held messages of shared groups when the lane took
    /// the slot back. At the end of the session other members receive them.
    pub leaving: HashMap<SessionId, Arc<Outbox>>,
    pub turns: Turns,
}

impl Links {
    /// The outbox at a slot.
    pub(super) fn get(&self, slot: Slot) -> Option<&Arc<Outbox>> {
        self.by_slot.get(slot as usize)?.as_ref()
    }

    /// All outboxes.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Arc<Outbox>> {
        self.by_slot.iter().flatten()
    }

    /// Links a slot, which is free. None: its session has ended, or is another node's.
    pub(super) fn link(&mut self, slot: Slot, outbox: Option<Arc<Outbox>>) {
        let slot = slot as usize;
        if self.by_slot.len() <= slot {
            self.by_slot.resize(slot + 1, None);
        }
        self.by_slot[slot] = outbox;
    }

    /// Frees a slot.
    pub(super) fn unlink(&mut self, slot: Slot) -> Option<Arc<Outbox>> {
        self.by_slot.get_mut(slot as usize)?.take()
    }
}
