//! The messages of a session that wait in the queues of lanes.

use crate::session::Untold;
use std::collections::BTreeMap;

/// The messages that wait in the queues of lanes, and those that the lanes have to be told of.
#[derive(Debug, Default)]
pub(super) struct LaneQueues {
    pub untold: Untold,
    /// Lanes whose queues hold messages that the session has not been handed, with how many these
    /// are and the bytes of their payloads. Live messages of such a lane wait behind them.
    pub behind: BTreeMap<u16, (u64, u64)>,
}

impl LaneQueues {
    /// A message waits in the queue of its lane only.
    pub(super) fn add(&mut self, lane: u16, payload: usize) {
        let (messages, bytes) = self.behind.entry(lane).or_default();
        *messages += 1;
        *bytes += payload as u64;
    }

    /// Some of these messages have been handed over or dropped.
    pub(super) fn subtract(&mut self, lane: u16, messages: u64, payload: u64) {
        if let Some((waiting, bytes)) = self.behind.get_mut(&lane) {
            *waiting = waiting.saturating_sub(messages);
            *bytes = bytes.saturating_sub(payload);
        }
    }

    /// How many messages wait in all these queues, and the bytes of their payloads.
    pub(super) fn waiting(&self) -> (u64, u64) {
        let all = self.behind.values();
        all.fold((0, 0), |(n, b), (more, bytes)| (n + more, b + bytes))
    }
}
