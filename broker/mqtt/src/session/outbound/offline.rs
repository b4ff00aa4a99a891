//! Between two connections of a session: what is kept, what is dropped, and what the next connection sends first.

use super::aliases::Aliases;
use super::{DropReason, Frame, Outbound, QueueState, Tag};
use crate::cost::MESSAGE_COST;
use crate::packet::{Patch, ReasonCode, Reply, Version};
use crate::session::OutboundLimits;
use crate::write_queue::WriteQueue;

impl Outbound {
    /// The connection has ended. Returns the bytes that waited for its socket.
    pub fn disconnect(&mut self, now: u64) -> WriteQueue {
        self.offline = true;
        self.sent = 0;
        self.state = QueueState::WithinLimits;
        self.aliases = None;
        self.cancel_answers(now);
        self.give_back_waiting();
        self.free_capacity(0, 0, now);
        // They have the capacity of their largest moment; what is counted is what they hold.
        self.in_flight.shrink_to_fit();
        self.waiting.shrink_to_fit();
        self.released.shrink_to_fit();
        std::mem::take(&mut self.queue)
    }

    /// A new connection serves the session, with these limits: `connack` is its first packet [MQTT-3.2.0-1], then the messages
    /// that were in flight are sent again [MQTT-4.4.0-1].
    pub fn reconnect(
        &mut self,
        version: Version,
        limits: OutboundLimits,
        connack: &Reply,
        now: u64,
    ) {
        self.offline = false;
        self.version = version;
        self.limits = limits;
        self.aliases = Aliases::new(limits.topic_aliases);
        self.queue = WriteQueue::default();
        // If it were closed for a queue that it had no time to read, the client would never get through the queue.
        self.state = QueueState::CatchingUp;
        self.reply(connack);
        for n in 0..self.released.len() {
            let id = self.released[n];
            self.reply(&Reply::PubRel(id, ReasonCode::Success, None));
        }
        self.refill(now);
    }

    /// Sends again, in their order, the messages that an earlier connection left unacknowledged [MQTT-4.6.0-1], with DUP 1
    /// [MQTT-3.3.1-1], even those that have expired since [5.0 MQTT-4.3.3-7].
    pub(super) fn resend(&mut self, now: u64) {
        while usize::from(self.sent) < self.in_flight.len() && self.window_is_open() {
            let message = &self.in_flight[usize::from(self.sent)];
            let frame = message.frame();
            // Without a frame the session was not to be resumed, so nothing comes here.
            let Some(frame) = frame.filter(|frame| !self.is_too_large(frame)) else {
                if let Some(over) = self.remove_in_flight(self.sent.into()) {
                    self.drop_for(DropReason::TooLarge, over.payload as usize, over.tag());
                }
                continue;
            };
            let patch = Patch {
                id: Some(message.id),
                dup: true,
                ..frame.patch(now)
            };
            let packet = frame.packet.clone();
            self.write_publish(&packet, patch);
            self.sent += 1;
        }
    }

    /// All offline sessions together have reached their limit, and this one may keep `most` bytes: drops waiting messages, the
    /// oldest first, but the last one only if it does not fit alone. Messages in flight stay.
    pub fn drop_oldest_to(&mut self, most: u64) {
        let newest = self.waiting.back().map_or(0, |w| w.frame.len());
        let stays = self.in_flight_bytes + self.released_bytes();
        let least = (newest + stays) + (1 + self.in_flight.len()) * MESSAGE_COST;
        // If the newest does not fit even without the others, it is dropped instead of them.
        if least as u64 > most
            && let Some(newest) = self.waiting.pop_back()
        {
            self.waiting_bytes -= newest.frame.len();
            let payload = newest.frame.packet.payload_len();
            self.held_payload -= payload;
            self.drop_for(DropReason::KeptFull, payload, None);
        }
        while self.kept_bytes() > most
            && let Some(oldest) = self.pop_waiting()
        {
            self.drop_for(
                DropReason::KeptFull,
                oldest.frame.packet.payload_len(),
                None,
            );
        }
    }

    /// The session has ended: drops all but the messages that other members of a shared group may
    /// [take](Self::take_shared).
    pub fn end(&mut self) {
        self.waiting.retain(|w| w.frame.share.is_some());
        self.in_flight.retain(|m| m.shared().is_some());
        self.released.clear();
        if let Some(requests) = &mut self.requests {
            requests.replaying.clear();
            requests.replaying_lanes.clear();
        }
        self.free_requests();
        self.lanes = None;
        self.recount();
    }

    /// Drops messages of topics that the client may not see any more.
    pub fn purge(&mut self, may_see: impl Fn(&str) -> bool) {
        let mut gone = Vec::new();
        let mut seen = |frame: &Frame, tag: Option<Tag>| {
            let seen = std::str::from_utf8(frame.packet.topic()).is_ok_and(&may_see);
            if !seen {
                gone.push((frame.packet.payload_len(), tag));
            }
            seen
        };
        self.waiting.retain(|w| seen(&w.frame, w.tag));
        self.in_flight
            .retain(|m| m.frame().is_none_or(|frame| seen(frame, m.tag())));
        self.recount();
        for (payload, tag) in gone {
            self.drop_for(DropReason::Forbidden, payload, tag);
        }
    }
}
