//! Between two connections: what is kept, what is dropped, and what goes out first on the next.
//!
//! The rule for a queue that is full: the oldest message that waits goes, and is counted. A client that is there is
//! closed for it, unless the queue was filled before it came. What the client was sent and has not acknowledged is never
//! dropped for room.

use super::message::Waiting;
use super::{DropReason, Frame, Outbound, QueueState};
use crate::cost::{MESSAGE_COST, RELEASED_ID_COST};
use crate::packet::{Patch, QoS, ReasonCode, Reply, Version};
use crate::session::OutboundLimits;
use crate::write_queue::WriteQueue;

impl Outbound {
    /// The connection is over. Gives back what waited for its socket.
    pub fn sleep(&mut self, now: u64) -> WriteQueue {
        self.asleep = true;
        self.sent = 0;
        self.room = QueueState::Enough;
        self.unanswerable = false;
        self.aliases = None;
        self.forgive(now);
        // They are as large as they once had to be, and what is counted is what they hold.
        self.in_flight.shrink_to_fit();
        self.waiting.shrink_to_fit();
        self.released.shrink_to_fit();
        std::mem::take(&mut self.queue)
    }

    /// A connection is open: `connack` is its first packet [MQTT-3.2.0-1], and what was on the way before
    /// follows [MQTT-4.4.0-1].
    pub fn wake(&mut self, version: Version, limits: OutboundLimits, connack: &Reply, now: u64) {
        self.asleep = false;
        self.version = version;
        self.limits = limits;
        self.aliases = super::Aliases::new(limits.topic_aliases);
        self.queue = WriteQueue::default();
        // Closed for what it has not had the time to read, it would never get to the end of it.
        self.room = QueueState::Behind;
        self.reply(connack);
        for n in 0..self.released.len() {
            let id = self.released[n];
            self.reply(&Reply::PubRel(id, ReasonCode::Success, None));
        }
        self.refill(now);
    }

    /// Sends again, in their order, what an earlier connection left unacknowledged [MQTT-4.6.0-1], with DUP 1
    /// [MQTT-3.3.1-1]; also what has expired since [5.0 MQTT-4.3.3-7].
    pub(super) fn resend(&mut self, now: u64) {
        while self.sent < self.in_flight.len() && self.window_is_open() {
            let message = &self.in_flight[self.sent];
            if self.is_too_large(&message.frame) {
                if let Some(over) = self.remove_in_flight(self.sent) {
                    self.drop_for(DropReason::TooLarge, over.frame.packet.payload_len());
                }
                continue;
            }
            let patch = Patch {
                id: Some(message.id),
                dup: true,
                ..message.frame.patch(now)
            };
            let frame = message.frame.packet.clone();
            self.put(&frame, patch);
            self.sent += 1;
        }
    }

    /// Keeps a QoS 1 or 2 message, for the next connection if need be [3.1.1 MQTT-3.1.2-5]; the oldest go for it. False
    /// where it can never fit.
    pub(super) fn keep(&mut self, next: Waiting, now: u64) -> bool {
        let frame = &next.frame;
        if frame.len() > self.limits.bytes {
            self.drop_for(DropReason::QueueFull, frame.packet.payload_len());
            return false;
        }
        self.make_room(1, frame.len(), now);
        self.push_waiting(next);
        true
    }

    /// Drops what is too old, and the oldest as long as there is no room for so many more; whether it had to for that. While
    /// lanes offer some that may be older none is dropped.
    pub(super) fn make_room(&mut self, messages: usize, bytes: usize, now: u64) -> bool {
        if !self.offers.is_empty() {
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
                self.drop_for(reason, oldest.frame.packet.payload_len());
            }
        }
        full
    }

    /// Bytes of what waits and what is on its way, as `limits.kept_bytes` counts them.
    pub(super) fn kept_bytes(&self) -> u64 {
        let messages = self.waiting.len() + self.in_flight.len();
        let bytes = self.waiting_bytes + self.in_flight_bytes + self.released_bytes();
        (bytes + messages * MESSAGE_COST) as u64
    }

    /// Of ids whose PUBCOMP is awaited.
    fn released_bytes(&self) -> usize {
        self.released.len() * RELEASED_ID_COST
    }

    /// There was no room for more than `most` bytes over all sessions that sleep: what waits here makes room for
    /// what came last, oldest first. What was sent and is not acknowledged stays, as ever.
    pub fn give_way(&mut self, most: u64) {
        let newest = self.waiting.back().map_or(0, |w| w.frame.len());
        let stays = self.in_flight_bytes + self.released_bytes();
        let least = (newest + stays) + (1 + self.in_flight.len()) * MESSAGE_COST;
        // One that does not fit without the others either drops no other.
        if least as u64 > most
            && let Some(newest) = self.waiting.pop_back()
        {
            self.waiting_bytes -= newest.frame.len();
            let payload = newest.frame.packet.payload_len();
            self.held_payload -= payload;
            self.drop_for(DropReason::KeptFull, payload);
        }
        while self.kept_bytes() > most
            && let Some(oldest) = self.pop_waiting()
        {
            self.drop_for(DropReason::KeptFull, oldest.frame.packet.payload_len());
        }
    }

    /// The session is over: only what others of a shared group may [have](Self::take_shared) is needed any more.
    pub fn let_go(&mut self) {
        let shared = |frame: &Frame| frame.share.is_some();
        self.waiting.retain(|w| shared(&w.frame));
        self.in_flight
            .retain(|m| m.frame.qos != QoS::ExactlyOnce && shared(&m.frame));
        self.released.clear();
        self.count_anew();
    }

    pub(super) fn is_too_old(&self, since: u64, now: u64) -> bool {
        now.saturating_sub(since) > self.limits.age
    }

    /// Drops what is for topics that the client may see no more.
    pub fn purge(&mut self, may_see: impl Fn(&str) -> bool) {
        let mut gone = Vec::new();
        let mut seen = |frame: &Frame| {
            let seen = std::str::from_utf8(frame.packet.topic()).is_ok_and(&may_see);
            if !seen {
                gone.push(frame.packet.payload_len());
            }
            seen
        };
        self.waiting.retain(|w| seen(&w.frame));
        self.in_flight.retain(|m| seen(&m.frame));
        self.count_anew();
        for payload in gone {
            self.drop_for(DropReason::Forbidden, payload);
        }
    }

    /// After something was taken out of what waits, or while asleep.
    pub(super) fn count_anew(&mut self) {
        self.waiting_bytes = self.waiting.iter().map(|w| w.frame.len()).sum();
        self.in_flight_bytes = self.in_flight.iter().map(|m| m.frame.len()).sum();
        let frames = self.waiting.iter().map(|w| &w.frame);
        let frames = frames.chain(self.in_flight.iter().map(|m| &m.frame));
        self.held_payload = frames.map(|f| f.packet.payload_len()).sum();
        self.sent = self.sent.min(self.in_flight.len());
    }
}
