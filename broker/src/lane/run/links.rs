//! A lane, and the outboxes of the sessions that it knows, by slot.

use crate::lane::state::{Lane, Slot};
use crate::outbox::Outbox;
use std::sync::Arc;

/// A lane as this node runs it. All of it is behind one lock.
pub(super) struct Running {
    pub lane: Lane,
    pub links: Links,
}

impl Running {
    /// A lane that no session of this node is linked to.
    pub(super) fn new(lane: Lane) -> Self {
        Running {
            lane,
            links: Links::default(),
        }
    }
}

/// What this node has for the slots of one lane. It is behind the lane's lock, beside the lane.
///
/// A slot belongs to the lane's state and means the same session on every node. Its outbox belongs
/// to the node where that session is.
#[derive(Default)]
pub(super) struct Links {
    /// None: the slot is free, or its session has no outbox here.
    by_slot: Vec<Option<Arc<Outbox>>>,
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
