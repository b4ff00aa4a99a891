//! Messages in a client's queues.

use super::Frame;
use crate::packet::PacketId;

/// A QoS 1 or 2 message that was sent and is not acknowledged.
#[derive(Debug)]
pub(super) struct InFlight {
    pub id: PacketId,
    pub frame: Frame,
    /// Grows in the order of sending.
    pub number: u64,
}

/// A QoS 1 or 2 message that waits for the window, or for the client to reconnect.
#[derive(Debug)]
pub(super) struct Waiting {
    pub frame: Frame,
    /// When it was queued, in milliseconds since the Unix epoch.
    pub since: u64,
    /// Grows in the order of queueing.
    pub number: u64,
}

/// Capacity reserved for messages that a lane has taken out for other group members and may put back. Messages that had been
/// sent are not counted.
#[derive(Debug)]
pub(super) struct Offer {
    pub lane: u16,
    pub messages: usize,
    pub bytes: usize,
}
