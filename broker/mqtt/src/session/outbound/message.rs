//! Messages in a client's queues.

use super::Frame;
use crate::packet::PacketId;

/// A message that was sent and is not acknowledged.
#[derive(Debug)]
pub(super) struct InFlight {
    pub id: PacketId,
    pub frame: Frame,
    /// Ascending.
    pub number: u64,
}

/// A QoS 1 or 2 message that waits for the window, or for the client to come back.
#[derive(Debug)]
pub(super) struct Waiting {
    pub frame: Frame,
    /// Milliseconds since the Unix epoch.
    pub since: u64,
    /// Ascending.
    pub number: u64,
}

/// What a lane has taken out, but for what had been sent.
#[derive(Debug)]
pub(super) struct Offer {
    pub lane: u16,
    pub messages: usize,
    pub bytes: usize,
}
