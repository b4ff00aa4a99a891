//! Whether a client can take one more message, asked where somebody else could have it.

use super::{Frame, Outbound};
use crate::cost::LEAST_HELD_COST;
use crate::packet::{LARGEST_PACKET, QoS};

/// What is asked of a member of a shared group before a message is given to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Need {
    /// It gets it, and nothing is lost for that.
    Room,
    /// It gets it, whatever goes for it. Who is away is taken to come back with the limits that it had.
    Size,
    /// It is away, and keeps it: its next connection may take what its last could not.
    Later,
    /// Nothing: it is the last who could have it.
    Nothing,
}

impl Outbound {
    /// Whether a message meets what is needed.
    pub fn meets(&self, need: Need, frame: &Frame) -> bool {
        // Nothing waits at QoS 0 (4.3.1).
        let lost = self.asleep && frame.qos == QoS::AtMostOnce;
        match need {
            Need::Room => !lost && self.has_room(frame.len()) && !self.is_too_large(frame),
            Need::Size => !lost && !self.is_too_large(frame),
            Need::Later => !lost && self.asleep && self.has_room(frame.len()),
            Need::Nothing => true,
        }
    }

    /// Whether one with a payload of so many bytes can meet it: if not, it need not be encoded.
    #[must_use]
    pub fn may_meet(&self, need: Need, payload: usize) -> bool {
        let fits = payload <= self.largest() as usize;
        match need {
            Need::Room => self.has_room(payload) && fits,
            Need::Size => fits,
            Need::Later => self.asleep && self.has_room(payload),
            Need::Nothing => true,
        }
    }

    /// The largest packet that the client takes, or took [MQTT-3.1.2-24], and that there is.
    #[must_use]
    pub fn largest(&self) -> u32 {
        let largest = self.limits.maximum_packet_size;
        largest.unwrap_or(LARGEST_PACKET).min(LARGEST_PACKET)
    }

    /// Whether a message of which so many bytes are [kept](Frame::len) can be taken without a loss, once what is held for
    /// answers has gone on.
    fn has_room(&self, len: usize) -> bool {
        let (held, held_bytes) = self.held_back();
        let (offered, offered_bytes) = self.offered();
        let len = if self.owed.is_empty() {
            len
        } else {
            len.max(LEAST_HELD_COST)
        };
        let messages = self.waiting.len() + held + offered;
        let bytes = self.waiting_bytes.max(self.queue.len()) + held_bytes + offered_bytes;
        messages < self.limits.messages && bytes + len <= self.limits.bytes
    }
}
