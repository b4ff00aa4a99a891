//! Sending PUBLISH packets: the window, packet ids, aliases.

use super::message::InFlight;
use super::{DropReason, Frame, Outbound, QueueState, Tag};
use crate::packet::{PacketId, Patch, PublishFrame, PublishLengths, PublishParts, QoS, Version};
use crate::write_queue::SHARE_FROM;
use std::borrow::Cow;
use std::collections::VecDeque;

impl Outbound {
    /// Delivers a message of `lane`: sends it, queues it, or holds it back until the answer that the lane has given is sent. False
    /// if it is dropped for capacity. The client receives messages of one lane and one QoS in the order of these calls
    /// [MQTT-4.6.0-5].
    pub fn deliver(&mut self, lane: u16, frame: &Frame, now: u64) -> bool {
        self.deliver_tagged(lane, frame, None, now)
    }

    /// Delivers a message that no other session receives: writes it behind the bytes that wait, without a frame. False, and
    /// nothing has happened, unless it has QoS 0 and can be sent now as it is: then [`deliver`](Self::deliver) a frame.
    pub fn deliver_alone(&mut self, version: Version, parts: &PublishParts<'_>) -> bool {
        let lengths = PublishLengths::of(version, parts);
        let len = lengths.packet();
        let as_it_is = parts.qos == QoS::AtMostOnce
            && version == self.version
            && self.aliases.is_none()
            && len < SHARE_FROM.min(self.largest() as usize + 1);
        let now = !self.offline
            && self.requests.is_none()
            && (self.queue.is_empty() || self.queue.len() + len <= self.limits.bytes);
        if as_it_is && now {
            self.tally.publishes += 1;
            self.tally.payload += parts.payload.len() as u64;
            lengths.write(version, parts, self.queue.tail());
        }
        as_it_is && now
    }

    /// The same as [`deliver`](Self::deliver) for a message that may be in the lane's queue, too.
    pub(super) fn deliver_tagged(
        &mut self,
        lane: u16,
        frame: &Frame,
        tag: Option<Tag>,
        now: u64,
    ) -> bool {
        // For an offline client all messages wait in one queue, in the order in which they came.
        if !self.offline && self.holds_back(lane) {
            return self.hold_back(lane, frame, tag);
        }
        self.send(frame, tag, now, now)
    }

    /// Sends or queues a message that has waited `since` then; false if it is dropped for capacity.
    pub(super) fn send(&mut self, frame: &Frame, tag: Option<Tag>, since: u64, now: u64) -> bool {
        if frame.qos == QoS::AtMostOnce {
            if self.offline {
                return true;
            }
            if self.queue.len() + frame.len() > self.limits.bytes && !self.queue.is_empty() {
                self.drop_for(DropReason::SlowReader, frame.packet.payload_len(), tag);
                return false;
            }
            if frame.expires <= now {
                // It has expired while it was held back.
                self.drop_for(DropReason::Expired, frame.packet.payload_len(), tag);
            } else {
                self.write_publish(&frame.packet, frame.patch(now));
            }
            return true;
        }
        if self.offline {
            let next = self.queue_entry(frame, tag, since);
            return self.enqueue_dropping_oldest(next, now);
        }
        if self.waiting.is_empty() && self.window_takes(frame.len()) {
            self.transmit(Cow::Borrowed(frame), tag, since, now);
        } else if self.is_too_large(frame) {
            // In the queue it would only take capacity from messages that can be sent.
            self.drop_for(DropReason::TooLarge, frame.packet.payload_len(), tag);
        } else if !self.has_offers()
            && (self.waiting.len() >= self.limits.messages
                || self.waiting_bytes + frame.len() > self.limits.bytes)
        {
            self.overflow();
            let next = self.queue_entry(frame, tag, since);
            return self.enqueue_dropping_oldest(next, now);
        } else {
            let next = self.queue_entry(frame, tag, since);
            self.push_waiting(next);
        }
        true
    }

    /// The queue's limits are exceeded.
    pub(super) fn overflow(&mut self) {
        if self.state == QueueState::WithinLimits {
            self.state = QueueState::Overflowed;
        }
    }

    /// Whether the window takes one more message of so many bytes: the client's receive maximum bounds the messages [MQTT-3.3.4-9],
    /// `limits.bytes` the bytes, since the server keeps what a client does not acknowledge. Messages of an earlier connection
    /// are sent again first.
    pub(super) fn window_takes(&self, len: usize) -> bool {
        let free = !self.has_offers() && usize::from(self.sent) == self.in_flight.len();
        let many = free && self.window_is_open();
        let large = self.in_flight_bytes + len <= self.limits.bytes;
        many && (large || self.in_flight.is_empty())
    }

    /// Whether one more message may be in flight [5.0 MQTT-4.9.0-2].
    pub(super) fn window_is_open(&self) -> bool {
        usize::from(self.sent) + self.released.len() < usize::from(self.limits.receive_maximum)
    }

    /// Sends a message; the caller has seen that the window takes it [MQTT-3.3.4-9]. DUP is 0, and the message stays
    /// in `in_flight` until it is acknowledged [3.1.1 MQTT-4.3.2-1, 5.0 MQTT-4.3.2-2, MQTT-4.3.2-3, MQTT-4.3.3-2].
    /// A message that is dropped here has used up its packet id.
    fn transmit(&mut self, frame: Cow<'_, Frame>, tag: Option<Tag>, since: u64, now: u64) {
        let id = self.next_id();
        let payload = frame.packet.payload_len();
        if self.is_too_old(since, now) {
            return self.drop_for(DropReason::TooOld, payload, tag);
        }
        // An expired message is not sent any more [MQTT-3.3.2-5].
        if frame.expires <= now {
            return self.drop_for(DropReason::Expired, payload, tag);
        }
        if self.is_too_large(&frame) {
            return self.drop_for(DropReason::TooLarge, payload, tag);
        }
        let patch = Patch {
            id: Some(id),
            ..frame.patch(now)
        };
        self.write_publish(&frame.packet, patch);
        self.in_flight_bytes += frame.len();
        self.held_payload += payload;
        self.sent += 1;
        let number = self.next_number();
        let sent = InFlight::new(id, frame, tag, number, self.resumable);
        self.in_flight.push_back(sent);
    }

    /// Whether the packet exceeds the client's maximum packet size [MQTT-3.1.2-24]: it is dropped, as if it had
    /// been sent [MQTT-3.1.2-25].
    pub(super) fn is_too_large(&self, frame: &Frame) -> bool {
        let largest = self.largest() as usize;
        // Measured exactly only near the limit: that costs a copy if the versions differ.
        frame.packet.len() + 2 > largest && frame.packet.len_in(self.version) > largest
    }

    /// Writes a PUBLISH in the version and with the aliases of this connection.
    pub(super) fn write_publish(&mut self, frame: &PublishFrame, patch: Patch) {
        let translated;
        let frame = if frame.version() == self.version {
            frame
        } else {
            translated = frame.translated(self.version);
            &translated
        };
        let largest = self.largest();
        let payload = frame.payload_len();
        if frame.len() > largest as usize {
            return self.drop_for(DropReason::TooLarge, payload, None);
        }
        self.tally.publishes += 1;
        self.tally.payload += payload as u64;
        let alias = self.aliases.as_mut().and_then(|a| a.of(frame, largest));
        let patch = Patch { alias, ..patch };
        if frame.len() >= SHARE_FROM {
            self.queue.push_shared(frame.patched(&patch));
        } else {
            frame.write_to(self.queue.tail(), &patch);
        }
    }

    fn next_id(&mut self) -> PacketId {
        let in_flight = self.in_flight.iter().map(|f| f.id);
        let in_use = in_flight.chain(self.released.iter().copied());
        self.ids.next(&in_use)
    }

    /// Continues packet ids after `last`; 0 is before the first. For tests: a whole round of 65,535 ids is more than a test
    /// sends.
    pub fn skip_ids_to(&mut self, last: u16) {
        self.ids.skip_to(last);
    }

    /// Sends again what an earlier connection left, then of the waiting messages as many as the window takes.
    pub(super) fn refill(&mut self, now: u64) {
        self.resend(now);
        while self
            .waiting
            .front()
            .is_some_and(|w| self.window_takes(w.frame.len()))
            && let Some(next) = self.pop_waiting()
        {
            self.transmit(Cow::Owned(next.frame), next.tag, next.since, now);
        }
        let half = !self.has_offers()
            && !self.is_behind()
            && self.waiting.len() * 2 <= self.limits.messages
            && self.waiting_bytes * 2 <= self.limits.bytes;
        if half && self.state == QueueState::CatchingUp {
            self.state = QueueState::WithinLimits;
        }
        if self.waiting.is_empty() && self.waiting.capacity() > 64 {
            self.waiting = VecDeque::new();
        }
    }
}
