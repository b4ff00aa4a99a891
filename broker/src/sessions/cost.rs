//! The cost of an offline session in bytes, without its queue.

use super::session_state::SessionState;
use crate::metrics::Counters;
use crate::packet::Will;
use roommq_mqtt::cost::{ID_COST, SESSION_COST};
use std::sync::Arc;

/// Counts bytes for `limits.kept_bytes` while it lives. Drop it together with what it counts.
#[derive(Debug)]
pub(crate) struct OfflineCost {
    counters: Arc<Counters>,
    pub(super) bytes: u64,
    /// The session has ended, and the lanes are being told.
    ending: bool,
}

impl OfflineCost {
    fn new(counters: &Arc<Counters>, bytes: usize) -> OfflineCost {
        let bytes = bytes as u64;
        counters.kept.update(0, bytes);
        OfflineCost {
            counters: counters.clone(),
            bytes,
            ending: false,
        }
    }

    /// The cost of a session without its queue and its will, and without what lanes have of it, which
    /// they count themselves.
    pub(super) fn of_session(state: &SessionState, counters: &Arc<Counters>) -> OfflineCost {
        let filters = state.filters.iter().map(|name| name.len());
        let names = state.who.user.len() + state.who.client_id.len();
        let ids = state.unreleased.len() * ID_COST;
        let bytes = SESSION_COST + names + ids + filters.sum::<usize>();
        OfflineCost::new(counters, bytes)
    }

    /// The cost of a delayed will.
    pub(super) fn of_will(will: &Will, counters: &Arc<Counters>) -> OfflineCost {
        OfflineCost::new(counters, will.cost())
    }

    /// Whether `limits.kept_bytes` is not exceeded now, with this cost.
    pub(super) fn fits(&self) -> bool {
        self.counters.kept.has_capacity(0)
    }

    /// Counts the bytes as ending: they are freed without an eviction.
    pub(super) fn mark_ending(&mut self) {
        if !std::mem::replace(&mut self.ending, true) {
            self.counters.kept.begin_ending(self.bytes);
        }
    }
}

impl Drop for OfflineCost {
    fn drop(&mut self) {
        if self.ending {
            self.counters.kept.finish_ending(self.bytes);
        } else {
            self.counters.kept.update(self.bytes, 0);
        }
    }
}
