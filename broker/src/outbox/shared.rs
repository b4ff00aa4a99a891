//! Messages of shared subscriptions that move from one group member to another: out of one outbox,
//! into others.

use super::{Outbox, Stage};
use crate::session::{Need, Share, Taken};
use std::collections::HashSet;
use std::sync::Arc;

impl Outbox {
    /// Whether it holds a message that another member of a shared group of `lane` may take over.
    pub(crate) fn holds_shared(&self, lane: u16) -> bool {
        self.state.lock().outbound.holds_shared(lane)
    }

    /// The shared groups of `lane` by which it holds messages.
    pub(crate) fn shared_groups(&self, lane: u16) -> HashSet<Arc<str>> {
        self.state.lock().outbound.shared_groups(lane)
    }

    /// Whether it can take the smallest message without dropping another.
    pub(crate) fn has_capacity(&self) -> bool {
        let state = self.state.lock();
        state.stage != Stage::Ended && state.outbound.may_meet(Need::Capacity, 0)
    }

    /// Takes out the messages of `lane`'s shared groups that another member `may` have. Call
    /// [`put_back`](Outbox::put_back) or [`drop_taken`](Outbox::drop_taken) with those that no
    /// member took: until then the outbox sends nothing that waits.
    pub(crate) fn take_shared(&self, lane: u16, may: &dyn Fn(&Share) -> bool) -> Vec<Taken> {
        let mut state = self.state.lock();
        let taken = state.outbound.take_shared(lane, may);
        state.report();
        taken
    }

    /// Puts back the messages that no other member took, in their old places. If it returns true,
    /// the caller must arrange a [`flush`](Outbox::flush).
    pub(crate) fn put_back(&self, lane: u16, left: Vec<Taken>, now: u64) -> bool {
        let mut state = self.state.lock();
        state.outbound.put_back(lane, left, now);
        state.report();
        let is_served = matches!(state.stage, Stage::Connected | Stage::Draining);
        if is_served {
            self.close_if_undeliverable(&mut state);
        }
        is_served && !std::mem::replace(&mut state.flush_pending, true)
    }

    /// Counts the messages that no other member took as dropped. For a session that has ended in
    /// the lane.
    pub(crate) fn drop_taken(&self, lane: u16, left: &[Taken], now: u64) {
        let mut state = self.state.lock();
        state.outbound.drop_taken(lane, left, now);
        state.report();
    }
}
