//! Whether a client can take one more message: asked before a shared group's message is given to a member.

use super::{Frame, Outbound};
use crate::cost::LEAST_HELD_COST;
use crate::packet::{LARGEST_PACKET, QoS};

/// What is asked of a member of a shared group before a message is given to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Need {
    /// The member takes it, and no message is dropped for it.
    Capacity,
    /// The member takes it, even if other messages are dropped for it. An offline member is assumed to reconnect with the
    /// limits of its last connection.
    Size,
    /// The member is offline and has capacity: its next connection may take a packet that its last could not.
    Later,
    /// Nothing: no other member is left.
    Nothing,
}

impl Outbound {
    /// Whether a message meets what is needed.
    pub fn meets(&self, need: Need, frame: &Frame) -> bool {
        // QoS 0 is not queued for an offline client (4.3.1).
        let lost = self.offline && frame.qos == QoS::AtMostOnce;
        match need {
            Need::Capacity => !lost && self.has_capacity(frame.len()) && !self.is_too_large(frame),
            Need::Size => !lost && !self.is_too_large(frame),
            Need::Later => !lost && self.offline && self.has_capacity(frame.len()),
            Need::Nothing => true,
        }
    }

    /// Whether a message with a payload of so many bytes can meet the need; if not, the caller need not encode it.
    #[must_use]
    pub fn may_meet(&self, need: Need, payload: usize) -> bool {
        let fits = payload <= self.largest() as usize;
        match need {
            Need::Capacity => self.has_capacity(payload) && fits,
            Need::Size => fits,
            Need::Later => self.offline && self.has_capacity(payload),
            Need::Nothing => true,
        }
    }

    /// The largest packet in bytes that the client takes, or took on its last connection [MQTT-3.1.2-24]; MQTT's own limit if
    /// it named none.
    #[must_use]
    pub fn largest(&self) -> u32 {
        let largest = self.limits.maximum_packet_size;
        largest.unwrap_or(LARGEST_PACKET).min(LARGEST_PACKET)
    }

    /// Whether a message that is [kept](Frame::len) with so many bytes can be taken without dropping another, all that
    /// is held back for answers included.
    fn has_capacity(&self, len: usize) -> bool {
        let (held, held_bytes) = self.held_back_totals();
        let (offered, offered_bytes) = self.offered();
        let len = if self.is_answered() {
            len
        } else {
            len.max(LEAST_HELD_COST)
        };
        let messages = self.waiting.len() + held + offered;
        let bytes = self.waiting_bytes.max(self.queue.len()) + held_bytes + offered_bytes;
        messages < self.limits.messages && bytes + len <= self.limits.bytes
    }
}
