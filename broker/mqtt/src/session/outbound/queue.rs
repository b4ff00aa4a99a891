//! The queue of QoS 1 and 2 messages that wait for the window, or for the client to reconnect.
//!
//! When it is full the oldest waiting message is dropped and counted. A connected client is disconnected then, unless the queue
//! was filled while it was offline. Messages that were sent and are not acknowledged are never dropped for capacity.

use super::message::{InFlight, Waiting};
use super::{DropReason, Frame, Outbound, Tag};
use crate::cost::{MESSAGE_COST, RELEASED_ID_COST};
use crate::packet::PacketId;

impl Outbound {
    /// A queue entry for a message that comes last.
    pub(super) fn queue_entry(&mut self, frame: &Frame, tag: Option<Tag>, since: u64) -> Waiting {
        Waiting {
            frame: frame.clone(),
            since,
            number: self.next_number(),
            tag,
        }
    }

    pub(super) fn push_waiting(&mut self, next: Waiting) {
        self.waiting_bytes += next.frame.len();
        self.held_payload += next.frame.packet.payload_len();
        self.waiting.push_back(next);
    }

    /// Restores the order after messages were added that came before others.
    pub(super) fn sort_waiting(&mut self) {
        // Few runs, sorted each: that is about one pass.
        let waiting = self.waiting.make_contiguous();
        waiting.sort_by_key(|w| w.number);
    }

    pub(super) fn next_number(&mut self) -> u64 {
        self.last_number += 1;
        self.last_number
    }

    /// Takes the oldest waiting message out.
    pub(super) fn pop_waiting(&mut self) -> Option<Waiting> {
        let oldest = self.waiting.pop_front()?;
        self.waiting_bytes -= oldest.frame.len();
        self.held_payload -= oldest.frame.packet.payload_len();
        Some(oldest)
    }

    /// Takes the message at this index out of those in flight.
    pub(super) fn remove_in_flight(&mut self, at: usize) -> Option<InFlight> {
        let over = self.in_flight.remove(at)?;
        self.in_flight_bytes -= over.len as usize;
        self.held_payload -= over.payload as usize;
        self.sent -= u16::from(at < usize::from(self.sent));
        Some(over)
    }

    /// Where the message with this packet id is in `in_flight`.
    pub(super) fn find(&self, id: PacketId) -> Option<usize> {
        self.in_flight.iter().position(|f| f.id == id)
    }

    /// Queues a QoS 1 or 2 message, for the next connection if need be [3.1.1 MQTT-3.1.2-5], and drops the oldest for it. False
    /// if it alone exceeds the limit.
    pub(super) fn enqueue_dropping_oldest(&mut self, next: Waiting, now: u64) -> bool {
        let frame = &next.frame;
        if frame.len() > self.limits.bytes {
            self.drop_for(DropReason::QueueFull, frame.packet.payload_len(), next.tag);
            return false;
        }
        self.free_capacity(1, frame.len(), now);
        self.push_waiting(next);
        true
    }

    /// Drops messages that are too old, and then the oldest until so many messages and bytes fit; whether it dropped any for
    /// that. Drops none while lanes may put back messages that are older.
    pub(super) fn free_capacity(&mut self, messages: usize, bytes: usize, now: u64) -> bool {
        if self.has_offers() {
            return false;
        }
        let mut full = false;
        while let Some(oldest) = self.waiting.front() {
            let reason = if self.is_too_old(oldest.since, now) {
                DropReason::TooOld
            } else if self.waiting.len() + messages > self.limits.messages
                || self.waiting_bytes + bytes > self.limits.bytes
            {
                full = true;
                DropReason::QueueFull
            } else {
                break;
            };
            if let Some(oldest) = self.pop_waiting() {
                self.drop_for(reason, oldest.frame.packet.payload_len(), oldest.tag);
            }
        }
        full
    }

    /// Bytes of the waiting messages and those in flight, as `limits.kept_bytes` counts them. What waits in lanes is counted
    /// there.
    pub(super) fn kept_bytes(&self) -> u64 {
        let messages = self.waiting.len() + self.in_flight.len();
        let bytes = self.waiting_bytes + self.in_flight_bytes + self.released_bytes();
        (bytes + messages * MESSAGE_COST) as u64
    }

    /// Bytes of ids whose PUBCOMP is awaited.
    pub(super) fn released_bytes(&self) -> usize {
        self.released.len() * RELEASED_ID_COST
    }

    /// Whether a message that was queued then has waited longer than `limits.age`.
    pub(super) fn is_too_old(&self, since: u64, now: u64) -> bool {
        now.saturating_sub(since) > self.limits.age
    }

    /// Recomputes the totals after messages were taken out of the queues.
    pub(super) fn recount(&mut self) {
        self.waiting_bytes = self.waiting.iter().map(|w| w.frame.len()).sum();
        self.in_flight_bytes = self.in_flight.iter().map(|m| m.len as usize).sum();
        let waiting = self.waiting.iter().map(|w| w.frame.packet.payload_len());
        let sent = self.in_flight.iter().map(|m| m.payload as usize);
        self.held_payload = waiting.chain(sent).sum();
        let in_flight = u16::try_from(self.in_flight.len()).unwrap_or(u16::MAX);
        self.sent = self.sent.min(in_flight);
    }
}
