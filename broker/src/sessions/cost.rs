//! What a session costs that sleeps, beside its queue.

use super::session_state::SessionState;
use crate::metrics::Counters;
use crate::packet::{PacketId, TopicFilter, Will};
use std::sync::Arc;

/// Bytes of a session that holds nothing: 1,400 were measured, with short names and what the registry grows by.
const SESSION_COST: usize = 1_500;
/// For each lane that knows it.
const LANE_COST: usize = 300;
/// Of a filter beside its text, in each lane that it lives in.
const FILTER_COST: usize = 350;
/// Of a QoS 2 id that is taken: its place in a table that may be half empty.
const ID_COST: usize = 3 * size_of::<PacketId>();

/// Bytes that count for `limits.kept_bytes` from its making to its end, which is when what they stand for ends.
#[derive(Debug)]
pub(crate) struct OfflineCost {
    counters: Arc<Counters>,
    bytes: u64,
    /// What it stands for is on its way out.
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

    /// Of a session without its queue and its will.
    pub(super) fn of_session(state: &SessionState, counters: &Arc<Counters>) -> OfflineCost {
        let lanes = state.lanes.len();
        let filters = state.filters.iter().map(|name| {
            let spans = |filter: TopicFilter| filter.literal_head().is_none();
            let many = TopicFilter::new(name.clone()).is_ok_and(spans);
            let lanes = if many { lanes } else { 1 };
            name.len() + lanes * (name.len() + FILTER_COST)
        });
        let names = state.who.user.len() + state.client_id.len();
        let others = lanes * LANE_COST + state.unreleased.len() * ID_COST;
        let bytes = SESSION_COST + names + others + filters.sum::<usize>();
        OfflineCost::new(counters, bytes)
    }

    /// Of a will that waits.
    pub(super) fn of_will(will: &Will, counters: &Arc<Counters>) -> OfflineCost {
        OfflineCost::new(counters, will.cost())
    }

    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Whether there was room for it.
    pub(super) fn fits(&self) -> bool {
        self.counters.kept.has_capacity(0)
    }

    /// It makes room, as soon as it is told to all who have to know.
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
