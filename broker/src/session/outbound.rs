//! What goes out to one client: the in-flight window, what waits for it, and the answers that a keeper owes.
//!
//! Pure: bytes go into a queue, time is not known here.

use super::OutboundLimits;
use crate::packet::{PacketId, PublishFrame, QoS, ReasonCode, Reply, Version, encode};
use crate::write_queue::{SHARE_FROM, WriteQueue};
use std::collections::VecDeque;

/// The sending half of a session.
#[derive(Debug)]
pub(crate) struct Outbound {
    version: Version,
    limits: OutboundLimits,
    queue: WriteQueue,
    in_flight: VecDeque<InFlight>,
    /// Of messages that may have to be sent again.
    in_flight_bytes: usize,
    /// QoS 1 and 2 that the window has no room for.
    waiting: VecDeque<Frame>,
    waiting_bytes: usize,
    last_id: u16,
    owed: Vec<Owed>,
    dropped: u64,
    overflowed: bool,
}

/// A frame with the QoS it was encoded for.
#[derive(Debug, Clone)]
pub(crate) struct Frame {
    pub qos: QoS,
    pub frame: PublishFrame,
}

#[derive(Debug)]
struct InFlight {
    id: PacketId,
    /// Kept until acknowledged, for the day a session outlives its connection.
    state: State,
}

#[derive(Debug)]
enum State {
    /// PUBLISH sent, PUBACK or PUBREC awaited.
    Sent(Frame),
    /// PUBREL sent, PUBCOMP awaited [MQTT-4.3.3-1].
    Released,
}

impl State {
    /// Bytes that are kept for sending again.
    fn bytes(&self) -> usize {
        match self {
            State::Sent(frame) => frame.frame.len(),
            State::Released => 0,
        }
    }
}

/// An answer to a SUBSCRIBE or UNSUBSCRIBE that several lanes may owe.
#[derive(Debug)]
struct Owed {
    ticket: u32,
    packet_id: PacketId,
    kind: Answer,
    codes: Vec<ReasonCode>,
    /// Which of `codes` a lane has answered.
    known: Vec<bool>,
    reason: Option<String>,
    lanes_left: usize,
    /// Lanes that have answered: what they deliver from then on is held until the answer is out.
    answered: Vec<u16>,
    held: VecDeque<Frame>,
    held_bytes: usize,
}

/// Which packet answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Answer {
    SubAck,
    UnsubAck,
}

impl Outbound {
    pub(crate) fn new(version: Version, limits: OutboundLimits) -> Self {
        Outbound {
            version,
            limits,
            queue: WriteQueue::default(),
            in_flight: VecDeque::new(),
            in_flight_bytes: 0,
            waiting: VecDeque::new(),
            waiting_bytes: 0,
            last_id: 0,
            owed: Vec::new(),
            dropped: 0,
            overflowed: false,
        }
    }

    /// The version that frames must be encoded for.
    pub(crate) fn version(&self) -> Version {
        self.version
    }

    /// Bytes for the socket.
    pub(crate) fn queue(&mut self) -> &mut WriteQueue {
        &mut self.queue
    }

    /// QoS 0 messages that found no room, since the start.
    pub(crate) fn dropped(&self) -> u64 {
        self.dropped
    }

    /// Whether nothing waits for the window or an answer any more; bytes may still wait for the socket.
    pub(crate) fn is_settled(&self) -> bool {
        self.waiting.is_empty() && self.owed.is_empty()
    }

    /// Whether as much waits for the socket as may. Answers are queued even so: who asks has to stop.
    pub(crate) fn is_full(&self) -> bool {
        self.queue.len() > self.limits.bytes
    }

    /// Whether a message that must not be lost found no room: the session is to be closed.
    pub(crate) fn overflowed(&self) -> bool {
        self.overflowed
    }

    /// Queues anything but a PUBLISH.
    pub(crate) fn reply(&mut self, reply: &Reply) {
        encode(
            self.version,
            reply,
            self.limits.problem_information,
            self.limits.maximum_packet_size,
            self.queue.tail(),
        );
    }

    /// Takes a message that `lane` delivers; false where it found no room.
    pub(crate) fn deliver(&mut self, lane: u16, frame: &Frame) -> bool {
        if let Some(owed) = self.owed.iter_mut().find(|o| o.answered.contains(&lane)) {
            owed.held_bytes += frame.frame.len();
            if owed.held_bytes <= self.limits.bytes {
                owed.held.push_back(frame.clone());
                return true;
            }
            return self.no_room(frame.qos);
        }
        self.send(frame)
    }

    fn send(&mut self, frame: &Frame) -> bool {
        // What is larger than the client takes is not sent, as if it had been [MQTT-3.1.2-24, MQTT-3.1.2-25].
        let largest = self.limits.maximum_packet_size;
        if largest.is_some_and(|m| frame.frame.len() > m as usize) {
            self.dropped += 1;
            return true;
        }
        if frame.qos == QoS::AtMostOnce {
            if self.queue.len() + frame.frame.len() > self.limits.bytes && !self.queue.is_empty() {
                return self.no_room(frame.qos);
            } else if frame.frame.len() >= SHARE_FROM {
                self.queue.push_shared(frame.frame.as_bytes().clone());
            } else {
                self.queue.tail().extend_from_slice(frame.frame.as_bytes());
            }
            return true;
        }
        if self.waiting.is_empty() && self.window_takes(frame) {
            self.transmit(frame.clone());
        } else if self.waiting.len() >= self.limits.messages
            || self.waiting_bytes + frame.frame.len() > self.limits.bytes
        {
            return self.no_room(frame.qos);
        } else {
            self.waiting_bytes += frame.frame.len();
            self.waiting.push_back(frame.clone());
        }
        true
    }

    fn no_room(&mut self, qos: QoS) -> bool {
        self.dropped += 1;
        // QoS 0 may be lost (4.3.1); anything else not, so its receiver is told by a close.
        self.overflowed |= qos != QoS::AtMostOnce;
        false
    }

    /// Whether the window has room: for so many messages [MQTT-3.3.4-9], and so many bytes, for a client that
    /// reads and does not acknowledge holds all of them.
    fn window_takes(&self, frame: &Frame) -> bool {
        let many = self.in_flight.len() < usize::from(self.limits.receive_maximum);
        let large = self.in_flight_bytes + frame.frame.len() <= self.limits.bytes;
        many && (large || self.in_flight.is_empty())
    }

    /// Sends within the window; the caller has seen that there is room [MQTT-3.3.4-9].
    fn transmit(&mut self, frame: Frame) {
        let id = self.free_id();
        if frame.frame.len() >= SHARE_FROM {
            self.queue.push_shared(frame.frame.with_id(id, false));
        } else {
            frame.frame.write_to(self.queue.tail(), Some(id), false);
        }
        self.in_flight_bytes += frame.frame.len();
        let state = State::Sent(frame);
        self.in_flight.push_back(InFlight { id, state });
    }

    /// An id that is not in use [MQTT-2.2.1-3]; the window is smaller than the ids are many.
    fn free_id(&mut self) -> PacketId {
        loop {
            self.last_id = self.last_id.wrapping_add(1);
            if let Some(id) = PacketId::new(self.last_id)
                && self.find(id).is_none()
            {
                return id;
            }
        }
    }

    fn find(&self, id: PacketId) -> Option<usize> {
        self.in_flight.iter().position(|f| f.id == id)
    }

    /// PUBACK: false where no such message was on the way [MQTT-4.3.2-5].
    pub(crate) fn acked(&mut self, id: PacketId) -> bool {
        self.done(
            id,
            |state| matches!(state, State::Sent(f) if f.qos == QoS::AtLeastOnce),
        )
    }

    /// PUBREC with a reason below 0x80: answers PUBREL, with 0x92 where the id is not known.
    pub(crate) fn received(&mut self, id: PacketId) {
        let known = match self.find(id).and_then(|at| self.in_flight.get_mut(at)) {
            Some(message) if !matches!(&message.state, State::Sent(f) if f.qos == QoS::AtLeastOnce) =>
            {
                self.in_flight_bytes -= message.state.bytes();
                message.state = State::Released;
                true
            }
            _ => false,
        };
        let reason = if known {
            ReasonCode::Success
        } else {
            ReasonCode::PacketIdentifierNotFound
        };
        self.reply(&Reply::PubRel(id, reason));
        self.refill();
    }

    /// PUBREC with an error: the message is over, no PUBREL follows [MQTT-4.3.3-3].
    pub(crate) fn refused(&mut self, id: PacketId) -> bool {
        self.done(
            id,
            |state| matches!(state, State::Sent(f) if f.qos == QoS::ExactlyOnce),
        )
    }

    /// PUBCOMP: false where none was awaited.
    pub(crate) fn completed(&mut self, id: PacketId) -> bool {
        self.done(id, |state| matches!(state, State::Released))
    }

    fn done(&mut self, id: PacketId, awaited: impl Fn(&State) -> bool) -> bool {
        let Some(at) = self.find(id) else {
            return false;
        };
        if !self.in_flight.get(at).is_some_and(|f| awaited(&f.state)) {
            return false;
        }
        if let Some(over) = self.in_flight.remove(at) {
            self.in_flight_bytes -= over.state.bytes();
        }
        if self.in_flight.is_empty() && self.in_flight.capacity() > 64 {
            self.in_flight = VecDeque::new();
        }
        self.refill();
        true
    }

    /// Sends of what waits as much as the window takes.
    fn refill(&mut self) {
        while self.waiting.front().is_some_and(|f| self.window_takes(f))
            && let Some(next) = self.waiting.pop_front()
        {
            self.waiting_bytes -= next.frame.len();
            self.transmit(next);
        }
    }

    /// Promises an answer once `lanes` lanes have given theirs. `codes` holds what is settled already.
    pub(crate) fn owe(
        &mut self,
        ticket: u32,
        packet_id: PacketId,
        kind: Answer,
        codes: Vec<ReasonCode>,
        reason: Option<String>,
        lanes: usize,
    ) {
        self.owed.push(Owed {
            ticket,
            packet_id,
            kind,
            known: vec![false; codes.len()],
            codes,
            reason,
            lanes_left: lanes,
            answered: Vec::new(),
            held: VecDeque::new(),
            held_bytes: 0,
        });
        self.settle();
    }

    /// A lane's answer for some of the filters; the last one sends the whole and what was held.
    pub(crate) fn answer(
        &mut self,
        ticket: u32,
        lane: u16,
        codes: impl IntoIterator<Item = (u16, ReasonCode, Option<String>)>,
    ) {
        let Some(owed) = self.owed.iter_mut().find(|o| o.ticket == ticket) else {
            return;
        };
        for (slot, code, reason) in codes {
            let at = usize::from(slot);
            if let (Some(settled), Some(known)) = (owed.codes.get_mut(at), owed.known.get_mut(at)) {
                // Where lanes differ the refusal counts, and one that knew the filter over one that did not.
                let worse = code as u8 >= 0x80 || *settled == ReasonCode::NoSubscriptionExisted;
                if worse || !*known {
                    *settled = code;
                }
                *known = true;
            }
            owed.reason = owed.reason.take().or(reason);
        }
        owed.answered.push(lane);
        owed.lanes_left = owed.lanes_left.saturating_sub(1);
        self.settle();
    }

    fn settle(&mut self) {
        while let Some(at) = self.owed.iter().position(|o| o.lanes_left == 0) {
            let owed = self.owed.remove(at);
            let reason = owed.reason.map(Into::into);
            self.reply(&match owed.kind {
                Answer::SubAck => Reply::SubAck(owed.packet_id, owed.codes, reason),
                Answer::UnsubAck => Reply::UnsubAck(owed.packet_id, owed.codes),
            });
            for frame in owed.held {
                self.send(&frame);
            }
        }
    }
}

#[cfg(test)]
#[path = "outbound_tests.rs"]
mod tests;
