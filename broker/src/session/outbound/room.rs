//! Whether a client can take one more message, asked where somebody else could have it.

use super::{DropReason, Frame, Outbound};
use crate::packet::QoS;

/// What is asked of a member of a shared group before a message is given to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Need {
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
    pub(crate) fn meets(&self, need: Need, frame: &Frame) -> bool {
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
    pub(crate) fn may_meet(&self, need: Need, payload: usize) -> bool {
        let fits = payload <= self.largest() as usize;
        match need {
            Need::Room => self.has_room(payload) && fits,
            Need::Size => fits,
            Need::Later => self.asleep && self.has_room(payload),
            Need::Nothing => true,
        }
    }

    /// The largest packet that the client takes, or took [MQTT-3.1.2-24]; `u32::MAX`: any.
    pub(crate) fn largest(&self) -> u32 {
        self.limits.maximum_packet_size.unwrap_or(u32::MAX)
    }

    /// Whether a message of which so many bytes are [kept](Frame::len) can be taken without a loss.
    fn has_room(&self, len: usize) -> bool {
        let (messages, bytes) = self.room_to_wait();
        messages > 0 && len <= bytes
    }

    /// How many messages can wait beside those that do, and their bytes, once what is held for answers has gone on.
    fn room_to_wait(&self) -> (usize, usize) {
        let (held, held_bytes) = self.held_back();
        let bytes = self.waiting_bytes.max(self.queue.len()) + held_bytes;
        let messages = self.waiting.len() + held;
        let limits = self.limits;
        (
            limits.messages.saturating_sub(messages),
            limits.bytes.saturating_sub(bytes),
        )
    }

    /// How many messages of others it can take over at once without a loss, and their bytes: what can wait, and what the
    /// window takes.
    pub(crate) fn room(&self) -> (usize, usize) {
        let (messages, bytes) = self.room_to_wait();
        if self.asleep {
            return (messages, bytes);
        }
        let on_the_way = self.in_flight.len() + self.released.len();
        let window = usize::from(self.limits.receive_maximum).saturating_sub(on_the_way);
        let window_bytes = self.limits.bytes.saturating_sub(self.in_flight_bytes);
        (messages + window, bytes.min(window_bytes))
    }

    /// Counts a message that another left and nobody can take. None of its own goes for that one.
    pub(crate) fn forgo(&mut self, frame: &Frame) {
        let reason = if self.is_too_large(frame) {
            DropReason::TooLarge
        } else {
            DropReason::QueueFull
        };
        self.drop_for(reason, frame.packet.payload_len());
    }
}
