//! What goes out to one client: the in-flight window, what waits for it, and the answers that a keeper owes.
//!
//! It outlives connections where the session does: between two of them it is asleep. Pure: bytes go into a
//! queue, `now` is passed in.

mod acks;
mod aliases;
mod answers;
mod away;
mod frame;
mod held;
mod ids;
mod message;
mod pending;
mod room;
mod shared;
mod tally;

pub use acks::WrongKind;
pub use frame::{Frame, Mark, Share};
pub use pending::Answer;
pub use room::Need;
pub use shared::Taken;
pub use tally::{DropReason, Dropped, Held, Tally};

use super::OutboundLimits;
use crate::packet::{PacketId, Patch, PublishFrame, QoS, ReasonCode, Reply, Version, encode};
use crate::write_queue::{SHARE_FROM, WriteQueue};
use aliases::Aliases;
use bytestring::ByteString;
use ids::PacketIds;
use message::{InFlight, Offer, Waiting};
use pending::Owed;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// The sending half of a session.
#[derive(Debug)]
pub struct Outbound {
    version: Version,
    limits: OutboundLimits,
    queue: WriteQueue,
    /// There is no connection: QoS 1 and 2 wait, QoS 0 is lost (4.3.1).
    asleep: bool,
    /// PUBLISH sent, PUBACK or PUBREC awaited [5.0 MQTT-4.3.3-3]; in the order sent [MQTT-4.6.0-6].
    in_flight: VecDeque<InFlight>,
    /// Of messages that may have to be sent again.
    in_flight_bytes: usize,
    /// Payload bytes of `in_flight` and `waiting`.
    held_payload: usize,
    /// How many of `in_flight`, from the front, were sent on this connection.
    sent: usize,
    /// PUBREL sent, PUBCOMP awaited [MQTT-4.3.3-1]; in the order of their PUBRECs [MQTT-4.6.0-4].
    released: VecDeque<PacketId>,
    /// QoS 1 and 2 that the window has no room for.
    waiting: VecDeque<Waiting>,
    waiting_bytes: usize,
    ids: PacketIds,
    owed: Vec<Owed>,
    /// The last ticket by which each filter was asked for that is not answered.
    asked: BTreeMap<ByteString, u32>,
    /// Filters that a lane refused, for whoever counts them.
    refused: BTreeSet<ByteString>,
    /// What lanes offer to others, each of its own groups; it may come back to its place.
    offers: Vec<Offer>,
    /// Of the last message that was held, came to wait, or was sent.
    last_number: u64,
    /// The lanes' answers to a session that wants to go on.
    resumed: Option<Vec<ReasonCode>>,
    aliases: Option<Box<Aliases>>,
    dropped: u64,
    tally: Tally,
    room: QueueState,
    unanswerable: bool,
}

/// How a connection stands with what waits for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum QueueState {
    Enough,
    /// It has found a queue that was filled before it, and has not yet halved it.
    Behind,
    /// It is to be closed.
    Overflowed,
}

impl Outbound {
    /// Of a connection that is open.
    #[must_use]
    pub fn new(version: Version, limits: OutboundLimits) -> Self {
        Outbound {
            version,
            limits,
            queue: WriteQueue::default(),
            asleep: false,
            in_flight: VecDeque::new(),
            in_flight_bytes: 0,
            held_payload: 0,
            sent: 0,
            released: VecDeque::new(),
            waiting: VecDeque::new(),
            waiting_bytes: 0,
            ids: PacketIds::default(),
            owed: Vec::new(),
            asked: BTreeMap::new(),
            refused: BTreeSet::new(),
            offers: Vec::new(),
            last_number: 0,
            resumed: None,
            aliases: Aliases::new(limits.topic_aliases),
            dropped: 0,
            tally: Tally::default(),
            room: QueueState::Enough,
            unanswerable: false,
        }
    }

    /// The version of the connection.
    #[must_use]
    pub fn version(&self) -> Version {
        self.version
    }

    /// An empty one on the same terms.
    #[must_use]
    pub fn bare(&self) -> Self {
        Outbound::new(self.version, self.limits)
    }

    /// Bytes for the socket.
    pub fn queue(&mut self) -> &mut WriteQueue {
        &mut self.queue
    }

    /// Messages that were for the client and did not go to it, since the start.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.dropped
    }

    /// What has been sent and dropped since it was taken last.
    pub fn tally(&mut self) -> &mut Tally {
        &mut self.tally
    }

    /// What is kept for the client.
    #[must_use]
    pub fn held(&self) -> Held {
        Held {
            messages: (self.in_flight.len() + self.waiting.len()) as u64,
            payload: self.held_payload as u64,
            in_flight: (self.in_flight.len() + self.released.len()) as u64,
            kept: if self.asleep { self.kept_bytes() } else { 0 },
            leaving: 0,
        }
    }

    /// A message does not go to the client.
    fn drop_for(&mut self, reason: DropReason, payload: usize) {
        self.dropped += 1;
        self.tally.dropped(reason, payload as u64);
    }

    /// Whether nothing waits for the window or an answer any more; bytes may still wait for the socket.
    #[must_use]
    pub fn is_settled(&self) -> bool {
        let all_sent = self.waiting.is_empty() && self.sent == self.in_flight.len();
        all_sent && self.owed.is_empty() && self.offers.is_empty()
    }

    /// Whether as much waits for the socket as may. Answers are queued even so: who asks has to stop.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.queue.len() > self.limits.bytes
    }

    /// Whether QoS 1 or 2 found no room: the connection is to be closed. Until then, and longer where the session is
    /// kept, the oldest goes for the newest.
    #[must_use]
    pub fn overflowed(&self) -> bool {
        self.room == QueueState::Overflowed
    }

    /// Whether an answer was larger than any packet that the client takes: the connection is to be closed.
    #[must_use]
    pub fn is_unanswerable(&self) -> bool {
        self.unanswerable
    }

    /// Queues anything but a PUBLISH, which no window holds up [5.0 MQTT-3.3.4-10, MQTT-4.9.0-3].
    pub fn reply(&mut self, reply: &Reply) {
        let before = self.queue.tail().len();
        encode(
            self.version,
            reply,
            self.limits.problem_information,
            self.limits.maximum_packet_size,
            self.queue.tail(),
        );
        let written = self.queue.tail().len() > before;
        self.tally.others += u64::from(written);
        // An answer that the client must get and cannot take [5.0 MQTT-3.1.2-24, MQTT-3.8.4-1, MQTT-3.10.4-4].
        let owed = matches!(reply, Reply::SubAck(..) | Reply::UnsubAck(..));
        self.unanswerable |= owed && !written;
    }

    /// Takes a message that `lane` delivers; false where it is lost, for want of room. The client receives messages of one lane and
    /// one QoS in the order of these calls [MQTT-4.6.0-5].
    pub fn deliver(&mut self, lane: u16, frame: &Frame, now: u64) -> bool {
        // Who is away waits for everything, in the order in which it came.
        match self.owed.iter().position(|o| o.answered.contains(&lane)) {
            Some(at) if !self.asleep => self.hold(at, lane, frame),
            _ => self.send(frame, now),
        }
    }

    fn send(&mut self, frame: &Frame, now: u64) -> bool {
        if frame.qos == QoS::AtMostOnce {
            if self.asleep {
                return true;
            }
            if self.queue.len() + frame.len() > self.limits.bytes && !self.queue.is_empty() {
                self.drop_for(DropReason::SlowReader, frame.packet.payload_len());
                return false;
            }
            if frame.expires <= now {
                // Held for an answer, it has become too old.
                self.drop_for(DropReason::Expired, frame.packet.payload_len());
            } else {
                self.put(&frame.packet, frame.patch(now));
            }
            return true;
        }
        if self.asleep {
            let next = self.next(frame, now);
            return self.keep(next, now);
        }
        if self.waiting.is_empty() && self.window_takes(frame.len()) {
            self.transmit(frame.clone(), now, now);
        } else if self.is_too_large(frame) {
            // It would only take room from what can be sent.
            self.drop_for(DropReason::TooLarge, frame.packet.payload_len());
        } else if self.offers.is_empty()
            && (self.waiting.len() >= self.limits.messages
                || self.waiting_bytes + frame.len() > self.limits.bytes)
        {
            self.overflow();
            let next = self.next(frame, now);
            return self.keep(next, now);
        } else {
            let next = self.next(frame, now);
            self.push_waiting(next);
        }
        true
    }

    fn overflow(&mut self) {
        if self.room == QueueState::Enough {
            self.room = QueueState::Overflowed;
        }
    }

    /// The last of what waits.
    fn next(&mut self, frame: &Frame, now: u64) -> Waiting {
        Waiting {
            frame: frame.clone(),
            since: now,
            number: self.number(),
        }
    }

    fn push_waiting(&mut self, next: Waiting) {
        self.waiting_bytes += next.frame.len();
        self.held_payload += next.frame.packet.payload_len();
        self.waiting.push_back(next);
    }

    /// After some were added that came before others.
    fn sort_waiting(&mut self) {
        // Few runs, in order each: that is about one pass.
        let waiting = self.waiting.make_contiguous();
        waiting.sort_by_key(|w| w.number);
    }

    fn number(&mut self) -> u64 {
        self.last_number += 1;
        self.last_number
    }

    fn pop_waiting(&mut self) -> Option<Waiting> {
        let oldest = self.waiting.pop_front()?;
        self.waiting_bytes -= oldest.frame.len();
        self.held_payload -= oldest.frame.packet.payload_len();
        Some(oldest)
    }

    fn remove_in_flight(&mut self, at: usize) -> Option<InFlight> {
        let over = self.in_flight.remove(at)?;
        self.in_flight_bytes -= over.frame.len();
        self.held_payload -= over.frame.packet.payload_len();
        self.sent -= usize::from(at < self.sent);
        Some(over)
    }

    /// Whether the window has room: for so many messages [MQTT-3.3.4-9], and so many bytes, for a client that
    /// reads and does not acknowledge holds all of them. What was on the way before goes first.
    fn window_takes(&self, len: usize) -> bool {
        let free = self.offers.is_empty() && self.sent == self.in_flight.len();
        let many = free && self.window_is_open();
        let large = self.in_flight_bytes + len <= self.limits.bytes;
        many && (large || self.in_flight.is_empty())
    }

    /// Whether one more may be on its way [5.0 MQTT-4.9.0-2].
    fn window_is_open(&self) -> bool {
        self.sent + self.released.len() < usize::from(self.limits.receive_maximum)
    }

    /// Sends within the window; the caller has seen that there is room [MQTT-3.3.4-9]. DUP is 0, and the message stands
    /// in `in_flight` until it is acknowledged [3.1.1 MQTT-4.3.2-1, 5.0 MQTT-4.3.2-2, MQTT-4.3.2-3, MQTT-4.3.3-2].
    /// Its turn has come with its packet id: one that is not sent after all has used that up.
    fn transmit(&mut self, frame: Frame, since: u64, now: u64) {
        let id = self.next_id();
        let payload = frame.packet.payload_len();
        if self.is_too_old(since, now) {
            return self.drop_for(DropReason::TooOld, payload);
        }
        // What is over is not begun any more [MQTT-3.3.2-5].
        if frame.expires <= now {
            return self.drop_for(DropReason::Expired, payload);
        }
        if self.is_too_large(&frame) {
            return self.drop_for(DropReason::TooLarge, payload);
        }
        let patch = Patch {
            id: Some(id),
            ..frame.patch(now)
        };
        self.put(&frame.packet, patch);
        self.in_flight_bytes += frame.len();
        self.held_payload += payload;
        self.sent += 1;
        let number = self.number();
        self.in_flight.push_back(InFlight { id, frame, number });
    }

    /// Whether the client takes no packet of this size [MQTT-3.1.2-24]: it is not sent, as if it had
    /// been [MQTT-3.1.2-25].
    fn is_too_large(&self, frame: &Frame) -> bool {
        let largest = self.largest() as usize;
        // Exactly only where it may matter: that costs a copy where the versions differ.
        frame.packet.len() + 2 > largest && frame.packet.len_in(self.version) > largest
    }

    /// Writes a PUBLISH, whole, in the words of this connection.
    fn put(&mut self, frame: &PublishFrame, patch: Patch) {
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
            return self.drop_for(DropReason::TooLarge, payload);
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

    /// Goes on as if `last` had been the last packet id given; 0 is before the first. For tests: a whole round of
    /// 65,535 ids is more than a test sends.
    pub fn skip_ids_to(&mut self, last: u16) {
        self.ids.skip_to(last);
    }

    fn find(&self, id: PacketId) -> Option<usize> {
        self.in_flight.iter().position(|f| f.id == id)
    }

    /// Sends of what waits as much as the window takes.
    fn refill(&mut self, now: u64) {
        self.resend(now);
        while self
            .waiting
            .front()
            .is_some_and(|w| self.window_takes(w.frame.len()))
            && let Some(next) = self.pop_waiting()
        {
            self.transmit(next.frame, next.since, now);
        }
        let half = self.offers.is_empty()
            && self.waiting.len() * 2 <= self.limits.messages
            && self.waiting_bytes * 2 <= self.limits.bytes;
        if half && self.room == QueueState::Behind {
            self.room = QueueState::Enough;
        }
        if self.waiting.is_empty() && self.waiting.capacity() > 64 {
            self.waiting = VecDeque::new();
        }
    }
}

#[cfg(test)]
mod away_tests;
#[cfg(test)]
mod overflow_tests;
#[cfg(test)]
mod shared_tests;
#[cfg(test)]
mod tally_tests;
#[cfg(test)]
mod tests;
