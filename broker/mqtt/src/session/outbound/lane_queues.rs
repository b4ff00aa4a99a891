//! The messages of a session that wait in the queues of lanes.

use crate::session::Untold;
use std::collections::BTreeSet;

/// The messages that wait in the queues of lanes, and those that the lanes have to be told of.
#[derive(Debug, Default)]
pub(super) struct LaneQueues {
    pub untold: Untold,
    /// Lanes whose queues hold messages that the session has not been handed. Live messages of such
    /// a lane wait behind them.
    pub behind: BTreeSet<u16>,
    /// How many messages wait in these queues, and not here.
    pub messages: u64,
    /// Bytes of their payloads.
    pub payload: u64,
}

impl LaneQueues {
    /// A message waits in the queue of its lane only.
    pub(super) fn add(&mut self, lane: u16, payload: usize) {
        self.behind.insert(lane);
        self.messages += 1;
        self.payload += payload as u64;
    }

    /// Some of these messages have been handed over or dropped.
    pub(super) fn subtract(&mut self, messages: u64, payload: u64) {
        self.messages = self.messages.saturating_sub(messages);
        self.payload = self.payload.saturating_sub(payload);
    }
}
