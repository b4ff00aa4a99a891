//! Answers that several lanes may owe, and what is held back until they are complete.

use super::held::{HeldBack, HeldByLane, weight};
use super::message::Waiting;
use super::pending::{Answer, Owed};
use super::{DropReason, Frame, Outbound, QueueState};
use crate::packet::{QoS, ReasonCode, Reply};
use bytestring::ByteString;
use std::collections::BTreeSet;

impl Outbound {
    /// Promises an answer once lanes have given `lanes` of theirs. `codes` holds what is settled already.
    pub fn owe(
        &mut self,
        ticket: u32,
        kind: Answer,
        codes: Vec<ReasonCode>,
        reason: Option<String>,
        lanes: usize,
        now: u64,
    ) {
        if let Answer::SubAck(_, filters) = &kind {
            for (_, filter) in filters {
                self.refused.remove(filter);
                self.asked.insert(filter.clone(), ticket);
            }
        }
        self.owed.push(Owed {
            ticket,
            kind,
            known: vec![false; codes.len()],
            codes,
            reason,
            lanes_left: lanes,
            answered: Vec::new(),
            replayed: Vec::new(),
            replayed_bytes: 0,
            held: HeldByLane::default(),
        });
        self.settle(now);
    }

    /// A lane's answer for some of the filters, of which it may give several; the last one sends the whole and what was held.
    pub fn answer(
        &mut self,
        ticket: u32,
        lane: u16,
        codes: impl IntoIterator<Item = (u16, ReasonCode, Option<String>)>,
        now: u64,
    ) {
        self.begin_answer(ticket, lane, codes, now);
        self.end_answer(ticket, now);
    }

    /// The same, by a lane that has more to say before its answer [ends](Outbound::end_answer). One that is asked
    /// alone keeps nobody waiting: its answer goes out at once.
    pub fn begin_answer(
        &mut self,
        ticket: u32,
        lane: u16,
        codes: impl IntoIterator<Item = (u16, ReasonCode, Option<String>)>,
        now: u64,
    ) {
        let Some(owed) = self.owed.iter_mut().find(|o| o.ticket == ticket) else {
            return;
        };
        for (slot, code, reason) in codes {
            let at = usize::from(slot);
            if let (Some(settled), Some(known)) = (owed.codes.get_mut(at), owed.known.get_mut(at)) {
                // Where lanes differ the refusal counts, and one that knew the filter over one that did not.
                let worse = code.is_error() || *settled == ReasonCode::NoSubscriptionExisted;
                if worse || !*known {
                    *settled = code;
                }
                *known = true;
            }
            owed.reason = owed.reason.take().or(reason);
        }
        let alone = owed.answered.is_empty() && owed.lanes_left == 1;
        // More than once where it is asked in pieces.
        if !owed.answered.contains(&lane) {
            owed.answered.push(lane);
        }
        if alone {
            self.end_answer(ticket, now);
        }
    }

    /// A retained message for the answer that `lane` gives, which comes in the order of topics among those of other
    /// lanes; false where it found no room.
    pub fn replay(&mut self, ticket: u32, lane: u16, frame: &Frame, now: u64) -> bool {
        let number = self.number();
        let first = self.owed.iter_mut().find(|o| o.answered.contains(&lane));
        // Behind what is held for an answer before this one, or for an earlier piece of this one, it has its place already.
        let behind = |owed: &Owed| owed.ticket != ticket || owed.held.has(lane);
        let Some(owed) = first.filter(|owed| !behind(owed)) else {
            return self.deliver(lane, frame, now);
        };
        if owed.bytes() + weight(frame) > self.limits.bytes {
            if frame.qos != QoS::AtMostOnce {
                self.room = QueueState::Overflowed;
            }
            self.lose(frame);
            return false;
        }
        owed.replayed_bytes += weight(frame);
        owed.replayed.push(HeldBack {
            number,
            frame: frame.clone(),
        });
        true
    }

    /// A lane has said all that belongs to its answer.
    pub fn end_answer(&mut self, ticket: u32, now: u64) {
        if let Some(owed) = self.owed.iter_mut().find(|o| o.ticket == ticket) {
            owed.lanes_left = owed.lanes_left.saturating_sub(1);
            self.settle(now);
        }
    }

    /// Sends what is complete: SUBACK or UNSUBACK [MQTT-3.8.4-1, MQTT-3.10.4-4], by the packet id of what it answers
    /// [MQTT-3.8.4-2, MQTT-3.10.4-5, 3.1.1 MQTT-2.3.1-7, 5.0 MQTT-2.2.1-6], with a code for each filter in its place
    /// [MQTT-3.9.3-1, 5.0 MQTT-3.8.4-6, MQTT-3.11.3-1].
    pub(super) fn settle(&mut self, now: u64) {
        // Meanwhile what is held goes nowhere: it may come back to its place.
        if !self.offers.is_empty() {
            return;
        }
        while let Some(at) = self.owed.iter().position(|o| o.lanes_left == 0) {
            let mut owed = self.owed.remove(at);
            let reason = owed.reason.map(Into::into);
            match owed.kind {
                Answer::SubAck(id, filters) => {
                    self.see_refused(owed.ticket, &filters, &owed.codes);
                    self.reply(&Reply::SubAck(id, owed.codes, reason));
                }
                Answer::UnsubAck(id) => self.reply(&Reply::UnsubAck(id, owed.codes, reason)),
                Answer::Resume => self.resumed = Some(owed.codes),
            }
            // Each lane's own are in order already, and several of one topic stay as they are.
            owed.replayed
                .sort_by(|a, b| levels(&a.frame).cmp(levels(&b.frame)));
            for replayed in owed.replayed {
                self.send(&replayed.frame, now);
            }
            // The same lane may have answered a later request that waits for others.
            for lane in owed.held.lanes() {
                let later = self.owed.iter_mut().find(|o| o.answered.contains(&lane));
                if let Some(later) = later {
                    owed.held.move_lane(lane, &mut later.held);
                }
            }
            while let Some(held) = owed.held.pop() {
                self.send(&held.frame, now);
            }
        }
    }

    /// Of filters that have been asked for again since, what is answered later counts.
    fn see_refused(&mut self, ticket: u32, filters: &[(u16, ByteString)], codes: &[ReasonCode]) {
        for (place, filter) in filters {
            let refused = codes.get(usize::from(*place)).is_some_and(|c| c.is_error());
            if self.asked.get(filter) != Some(&ticket) {
                continue;
            }
            if refused {
                self.refused.insert(filter.clone());
            } else {
                self.refused.remove(filter);
            }
        }
        // Only now: it may name one more than once.
        for (_, filter) in filters {
            if self.asked.get(filter) == Some(&ticket) {
                self.asked.remove(filter);
            }
        }
    }

    /// Holds a message back for the answer `at` this place, by the rules of what waits: QoS 0 that finds no room is
    /// lost (4.3.1), for anything else the oldest go, and the connection is closed. False where it is lost.
    pub(super) fn hold(&mut self, at: usize, lane: u16, frame: &Frame) -> bool {
        let (most, number) = (self.limits.bytes, self.number());
        let owed = &mut self.owed[at];
        let weight = weight(frame);
        let full = owed.bytes() + weight > most;
        let may_be_lost = frame.qos == QoS::AtMostOnce;
        let taken = !full || !may_be_lost && weight <= most;
        if full && !may_be_lost {
            self.room = QueueState::Overflowed;
        }
        let mut lost = Vec::new();
        if taken {
            while owed.bytes() + weight > most
                && let Some(oldest) = owed.held.pop()
            {
                lost.push(oldest.frame);
            }
            let frame = frame.clone();
            owed.held.put(lane, HeldBack { number, frame });
        } else {
            lost.push(frame.clone());
        }
        for frame in &lost {
            self.lose(frame);
        }
        taken
    }

    /// Counts what found no room.
    fn lose(&mut self, frame: &Frame) {
        let reason = match frame.qos {
            QoS::AtMostOnce => DropReason::SlowReader,
            QoS::AtLeastOnce | QoS::ExactlyOnce => DropReason::QueueFull,
        };
        self.drop_for(reason, frame.packet.payload_len());
    }

    /// Takes out of what is held for answers, by ticket and number, all that is not to `stay`; what is retained came by no
    /// group.
    pub(super) fn take_held(&mut self, mut stay: impl FnMut(&Frame, u32, u64) -> bool) {
        for owed in &mut self.owed {
            let ticket = owed.ticket;
            owed.held.retain(|h| stay(&h.frame, ticket, h.number));
        }
    }

    /// Puts back what was taken out of there; false where nobody waits for that answer any more.
    pub(super) fn hold_again(
        &mut self,
        (ticket, number): (u32, u64),
        lane: u16,
        frame: &Frame,
    ) -> bool {
        let Some(owed) = self.owed.iter_mut().find(|o| o.ticket == ticket) else {
            return false;
        };
        let frame = frame.clone();
        owed.held.put(lane, HeldBack { number, frame });
        true
    }

    /// How many messages wait for answers, and their bytes.
    pub(super) fn held_back(&self) -> (usize, usize) {
        let numbers = |o: &Owed| (o.held.len() + o.replayed.len(), o.bytes());
        let all = self.owed.iter().map(numbers);
        all.fold((0, 0), |(n, b), (more, bytes)| (n + more, b + bytes))
    }

    /// What is held for answers.
    pub(super) fn held_frames(&self) -> impl Iterator<Item = &Frame> {
        let held = self.owed.iter().flat_map(|owed| owed.held.iter());
        held.map(|h| &h.frame)
    }

    /// Filters that lanes have refused, and nobody has asked for again, since this was asked last.
    pub fn take_refused(&mut self) -> BTreeSet<ByteString> {
        std::mem::take(&mut self.refused)
    }

    /// Whether all lanes have answered a session that goes on.
    #[must_use]
    pub fn has_resumed(&self) -> bool {
        self.resumed.is_some()
    }

    /// Their answers, once.
    pub fn take_resumed(&mut self) -> Option<Vec<ReasonCode>> {
        self.resumed.take()
    }

    /// Nobody waits for an answer any more; what was held for one is kept.
    pub(super) fn forgive(&mut self, now: u64) {
        for mut owed in std::mem::take(&mut self.owed) {
            let held = std::iter::from_fn(|| owed.held.pop());
            for HeldBack { number, frame } in owed.replayed.into_iter().chain(held) {
                if frame.qos == QoS::AtMostOnce {
                    continue;
                }
                if frame.len() > self.limits.bytes {
                    self.lose(&frame);
                    continue;
                }
                self.push_waiting(Waiting {
                    frame,
                    since: now,
                    number,
                });
            }
        }
        self.sort_waiting();
        self.make_room(0, 0, now);
        self.asked.clear();
        self.resumed = None;
    }
}

/// What messages are sorted by: what stands above comes before what is below.
fn levels(frame: &Frame) -> impl Iterator<Item = &[u8]> {
    frame.packet.topic().split(|byte| *byte == b'/')
}
