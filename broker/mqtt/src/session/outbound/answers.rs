//! Answers that need several lanes, and the messages held back until an answer is complete.

use super::held_back::{HeldBack, HeldByLane, held_cost};
use super::message::Waiting;
use super::pending::{Answer, PendingAnswer};
use super::{DropReason, Frame, Outbound, QueueState, Tag};
use crate::packet::{QoS, ReasonCode, Reply};
use bytestring::ByteString;
use std::collections::BTreeSet;

impl Outbound {
    /// Registers a request that `lanes` lanes will answer. `codes` has a code for each filter, final for those that no lane is
    /// asked for. With no lane to ask the answer is sent at once. No two pending requests have the same id.
    pub fn expect_answer(
        &mut self,
        request_id: u32,
        kind: Answer,
        codes: Vec<ReasonCode>,
        reason: Option<String>,
        lanes: usize,
        now: u64,
    ) {
        let requests = self.requests.get_or_insert_default();
        if let Answer::SubAck(_, filters) = &kind {
            for (_, filter) in filters {
                requests.refused.remove(filter);
                requests.asked.insert(filter.clone(), request_id);
            }
        }
        requests.pending.push(PendingAnswer {
            request_id,
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
        self.send_complete_answers(now);
    }

    /// One lane's whole answer: filter positions with codes and reason strings. The last lane's answer sends SUBACK or
    /// UNSUBACK, and then what was held back for it. An unknown `request_id` is ignored.
    pub fn answer(
        &mut self,
        request_id: u32,
        lane: u16,
        codes: impl IntoIterator<Item = (u16, ReasonCode, Option<String>)>,
        now: u64,
    ) {
        self.begin_answer(request_id, lane, codes, now);
        self.end_answer(request_id, now);
    }

    /// The same, by a lane that replays retained messages before its answer [ends](Outbound::end_answer). If it is the
    /// only lane asked, the answer is sent at once.
    pub fn begin_answer(
        &mut self,
        request_id: u32,
        lane: u16,
        codes: impl IntoIterator<Item = (u16, ReasonCode, Option<String>)>,
        now: u64,
    ) {
        let Some(pending) = self.request(request_id) else {
            return;
        };
        for (slot, code, reason) in codes {
            let at = usize::from(slot);
            if let (Some(settled), Some(known)) =
                (pending.codes.get_mut(at), pending.known.get_mut(at))
            {
                // If lanes differ, an error counts, and a lane that knew the filter over one that did not.
                let worse = code.is_error() || *settled == ReasonCode::NoSubscriptionExisted;
                if worse || !*known {
                    *settled = code;
                }
                *known = true;
            }
            pending.reason = pending.reason.take().or(reason);
        }
        let alone = pending.answered.is_empty() && pending.lanes_left == 1;
        // A lane that is asked in pieces answers more than once.
        if !pending.answered.contains(&lane) {
            pending.answered.push(lane);
        }
        if alone {
            self.end_answer(request_id, now);
        }
    }

    /// Queues a retained message that belongs to this request. Those of all lanes are sent in the order of their topics. False
    /// if it is dropped for capacity.
    pub fn deliver_retained(
        &mut self,
        request_id: u32,
        lane: u16,
        frame: &Frame,
        now: u64,
    ) -> bool {
        let number = self.next_number();
        let pending = self.requests.as_mut().map(|r| &mut r.pending);
        let mut pending = pending.into_iter().flatten();
        let first = pending.find(|p| p.answered.contains(&lane));
        // Messages held back for an earlier request, or for an earlier piece of this one, go first: it queues behind them.
        let behind = |p: &PendingAnswer| p.request_id != request_id || p.held.has(lane);
        let Some(pending) = first.filter(|pending| !behind(pending)) else {
            return self.deliver(lane, frame, now);
        };
        if pending.bytes() + held_cost(frame) > self.limits.bytes {
            if frame.qos != QoS::AtMostOnce {
                self.state = QueueState::Overflowed;
            }
            self.drop_for_capacity(frame, None);
            return false;
        }
        pending.replayed_bytes += held_cost(frame);
        pending.replayed.push(HeldBack {
            number,
            frame: frame.clone(),
            tag: None,
        });
        true
    }

    /// Ends a lane's answer that [began](Outbound::begin_answer).
    pub fn end_answer(&mut self, request_id: u32, now: u64) {
        if let Some(pending) = self.request(request_id) {
            pending.lanes_left = pending.lanes_left.saturating_sub(1);
            self.send_complete_answers(now);
        }
    }

    /// Sends the answers that are complete: SUBACK or UNSUBACK [MQTT-3.8.4-1, MQTT-3.10.4-4], with the packet id of the request
    /// [MQTT-3.8.4-2, MQTT-3.10.4-5, 3.1.1 MQTT-2.3.1-7, 5.0 MQTT-2.2.1-6], with a code for each filter in its position
    /// [MQTT-3.9.3-1, 5.0 MQTT-3.8.4-6, MQTT-3.11.3-1].
    pub(super) fn send_complete_answers(&mut self, now: u64) {
        // Messages that a lane has taken out may come back to their position among those held back.
        if self.has_offers() {
            return;
        }
        while let Some(requests) = &mut self.requests
            && let Some(mut pending) = requests.take_complete()
        {
            let reason = pending.reason.map(Into::into);
            match pending.kind {
                Answer::SubAck(id, filters) => {
                    requests.note_refused(pending.request_id, &filters, &pending.codes);
                    self.reply(&Reply::SubAck(id, pending.codes, reason));
                }
                Answer::UnsubAck(id) => self.reply(&Reply::UnsubAck(id, pending.codes, reason)),
                Answer::Resume => requests.resumed = Some(pending.codes),
            }
            // The sort is stable: a lane's messages of one topic keep their order.
            pending
                .replayed
                .sort_by(|a, b| levels(&a.frame).cmp(levels(&b.frame)));
            for replayed in pending.replayed {
                self.send(&replayed.frame, None, now, now);
            }
            // The lane may have answered a later request, too, which waits for other lanes.
            for lane in pending.held.lanes() {
                let later = self.pending_of(lane);
                if let Some(later) = later {
                    pending.held.move_lane(lane, &mut later.held);
                }
            }
            while let Some(held) = pending.held.pop() {
                self.send(&held.frame, held.tag, now, now);
            }
        }
        self.free_requests();
    }

    /// The answers that are not complete, in the order of the requests.
    pub(super) fn pending(&self) -> &[PendingAnswer] {
        self.requests.as_ref().map_or(&[], |r| &r.pending)
    }

    /// The first answer for which this lane's messages are held back.
    fn pending_of(&mut self, lane: u16) -> Option<&mut PendingAnswer> {
        let mut pending = self.requests.as_mut()?.pending.iter_mut();
        pending.find(|p| p.answered.contains(&lane))
    }

    fn request(&mut self, request_id: u32) -> Option<&mut PendingAnswer> {
        self.requests.as_mut()?.find(request_id)
    }

    /// Frees the requests if nothing is left of them.
    pub(super) fn free_requests(&mut self) {
        self.requests.take_if(|requests| requests.is_empty());
    }

    /// Holds a message back for the pending answer at this index. At the limit QoS 0 is dropped (4.3.1); for QoS 1 and 2 the
    /// oldest held back are dropped, and the connection is to be closed. False if the message is dropped.
    pub(super) fn hold_back(
        &mut self,
        at: usize,
        lane: u16,
        frame: &Frame,
        tag: Option<Tag>,
    ) -> bool {
        let (most, number) = (self.limits.bytes, self.next_number());
        let requests = self.requests.get_or_insert_default();
        let pending = &mut requests.pending[at];
        let cost = held_cost(frame);
        let full = pending.bytes() + cost > most;
        let may_be_lost = frame.qos == QoS::AtMostOnce;
        let taken = !full || !may_be_lost && cost <= most;
        if full && !may_be_lost {
            self.state = QueueState::Overflowed;
        }
        let mut lost = Vec::new();
        if taken {
            while pending.bytes() + cost > most
                && let Some(oldest) = pending.held.pop()
            {
                lost.push((oldest.frame, oldest.tag));
            }
            let frame = frame.clone();
            pending.held.insert(lane, HeldBack { number, frame, tag });
        } else {
            lost.push((frame.clone(), tag));
        }
        for (frame, tag) in &lost {
            self.drop_for_capacity(frame, *tag);
        }
        taken
    }

    /// Counts a message that exceeds the capacity.
    fn drop_for_capacity(&mut self, frame: &Frame, tag: Option<Tag>) {
        let reason = match frame.qos {
            QoS::AtMostOnce => DropReason::SlowReader,
            QoS::AtLeastOnce | QoS::ExactlyOnce => DropReason::QueueFull,
        };
        self.drop_for(reason, frame.packet.payload_len(), tag);
    }

    /// Takes out the messages held back for which `stay` is false, given the frame, the request id and the number. Retained
    /// messages stay, since they came by no group.
    pub(super) fn take_held(&mut self, mut stay: impl FnMut(&Frame, u32, u64) -> bool) {
        let pending = self.requests.as_mut().map(|r| &mut r.pending);
        for pending in pending.into_iter().flatten() {
            let request_id = pending.request_id;
            pending
                .held
                .retain(|h| stay(&h.frame, request_id, h.number));
        }
    }

    /// Puts a message back that was taken out of there; false if the request is not pending any more.
    pub(super) fn hold_back_again(
        &mut self,
        (request_id, number): (u32, u64),
        lane: u16,
        frame: &Frame,
    ) -> bool {
        let Some(pending) = self.request(request_id) else {
            return false;
        };
        let frame = frame.clone();
        let held = HeldBack {
            number,
            frame,
            // Only a message of a group is taken out.
            tag: None,
        };
        pending.held.insert(lane, held);
        true
    }

    /// How many messages are held back for answers, retained ones included, and their bytes.
    pub(super) fn held_back_totals(&self) -> (usize, usize) {
        let numbers = |o: &PendingAnswer| (o.held.len() + o.replayed.len(), o.bytes());
        let all = self.pending().iter().map(numbers);
        all.fold((0, 0), |(n, b), (more, bytes)| (n + more, b + bytes))
    }

    /// The messages held back for answers.
    pub(super) fn held_frames(&self) -> impl Iterator<Item = &Frame> {
        let held = self.pending().iter().flat_map(|p| p.held.iter());
        held.map(|h| &h.frame)
    }

    /// The references of these messages in queues of lanes.
    pub(super) fn held_tags(&self) -> impl Iterator<Item = Tag> {
        let held = self.pending().iter().flat_map(|p| p.held.iter());
        held.filter_map(|h| h.tag)
    }

    /// Takes the filters that were refused, and not asked for again, since the last call.
    pub fn take_refused(&mut self) -> BTreeSet<ByteString> {
        let refused = self
            .requests
            .as_mut()
            .map(|r| std::mem::take(&mut r.refused));
        self.free_requests();
        refused.unwrap_or_default()
    }

    /// Whether all lanes have answered a resumed session.
    #[must_use]
    pub fn has_resumed(&self) -> bool {
        self.requests.as_ref().is_some_and(|r| r.resumed.is_some())
    }

    /// The codes of that answer, in the order of the request. Taken once.
    pub fn take_resumed(&mut self) -> Option<Vec<ReasonCode>> {
        let resumed = self.requests.as_mut()?.resumed.take();
        self.free_requests();
        resumed
    }

    /// Drops all pending answers. The messages held back for them go to the queue, except QoS 0.
    pub(super) fn cancel_answers(&mut self, now: u64) {
        let mut cancelled = Vec::new();
        if let Some(requests) = &mut self.requests {
            cancelled = std::mem::take(&mut requests.pending);
            requests.asked.clear();
            requests.resumed = None;
        }
        self.free_requests();
        for mut pending in cancelled {
            let held = std::iter::from_fn(|| pending.held.pop());
            for HeldBack { number, frame, tag } in pending.replayed.into_iter().chain(held) {
                if frame.qos == QoS::AtMostOnce {
                    continue;
                }
                // One with a tag goes back to its lane.
                if tag.is_none() && frame.len() > self.limits.bytes {
                    self.drop_for_capacity(&frame, None);
                    continue;
                }
                self.push_waiting(Waiting {
                    frame,
                    since: now,
                    number,
                    tag,
                });
            }
        }
        self.sort_waiting();
    }
}

/// The levels of a frame's topic, to sort by: a topic comes before those below it.
fn levels(frame: &Frame) -> impl Iterator<Item = &[u8]> {
    frame.packet.topic().split(|byte| *byte == b'/')
}
