//! What members of shared groups pass on to each other: it is taken out of one outbox and put into others.

use super::{Outbox, Stage};
use crate::session::{Need, Share, Taken};
use std::collections::HashSet;
use std::sync::Arc;

impl Outbox {
    /// Whether it holds anything that members of shared groups of `lane` may take over.
    pub(crate) fn holds_shared(&self, lane: u16) -> bool {
        self.state.lock().outbound.holds_shared(lane)
    }

    /// By which shared groups of `lane` it holds anything; see [`Outbound::shared_groups`].
    pub(crate) fn shared_groups(&self, lane: u16) -> HashSet<Arc<str>> {
        self.state.lock().outbound.shared_groups(lane)
    }

    /// Whether it can take anything at all without a loss.
    pub(crate) fn has_capacity(&self) -> bool {
        let state = self.state.lock();
        state.stage != Stage::Ended && state.outbound.may_meet(Need::Room, 0)
    }

    /// Takes out what other members of a lane's shared groups may have; see [`Outbound::take_shared`].
    pub(crate) fn take_shared(&self, lane: u16, may: &dyn Fn(&Share) -> bool) -> Vec<Taken> {
        let mut state = self.state.lock();
        let taken = state.outbound.take_shared(lane, may);
        state.report();
        taken
    }

    /// Puts back what none of them took. True where the caller has to see to a [`Outbox::flush`].
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

    /// Counts what none of them took as lost: the session is over, and so is its time in the lane.
    pub(crate) fn lose_taken(&self, lane: u16, left: &[Taken], now: u64) {
        let mut state = self.state.lock();
        state.outbound.lose_taken(lane, left, now);
        state.report();
    }
}
