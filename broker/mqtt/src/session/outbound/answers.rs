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
            replays: 0,
            answered: Vec::new(),
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
        // A lane that is asked in pieces answers more than once.
        if !pending.answered.contains(&lane) {
            pending.answered.push(lane);
        }
        pending.lanes_left = pending.lanes_left.saturating_sub(1);
        self.send_complete_answers(now);
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
            let reason = pending.reason.take().map(Into::into);
            if pending.replays > 0 {
                requests.begin_replays(&mut pending);
            }
            match pending.kind {
                Answer::SubAck(id, filters) => {
                    requests.note_refused(pending.request_id, &filters, &pending.codes);
                    self.reply(&Reply::SubAck(id, pending.codes, reason));
                }
                Answer::UnsubAck(id) => self.reply(&Reply::UnsubAck(id, pending.codes, reason)),
                Answer::Resume => requests.resumed = Some(pending.codes),
            }
            self.release(pending.held, now);
        }
        while let Some(requests) = &mut self.requests
            && let Some(held) = requests.take_replayed()
        {
            self.release(held, now);
        }
        self.free_requests();
    }

    /// Sends messages that were held back. The lane may have answered another request, too, which waits for other lanes, or
    /// whose retained messages are being sent.
    fn release(&mut self, mut held: HeldByLane, now: u64) {
        if let Some(requests) = &mut self.requests {
            for lane in held.lanes() {
                if let Some(other) = requests.holder(lane) {
                    held.move_lane(lane, other);
                }
            }
        }
        while let Some(next) = held.pop() {
            self.send(&next.frame, next.tag, now, now);
        }
    }

    /// Whether all answers and all retained messages that follow them were sent.
    pub(super) fn is_answered(&self) -> bool {
        let requests = self.requests.as_ref();
        requests.is_none_or(|requests| requests.is_answered())
    }

    pub(super) fn request(&mut self, request_id: u32) -> Option<&mut PendingAnswer> {
        self.requests.as_mut()?.find(request_id)
    }

    /// Frees the requests if nothing is left of them.
    pub(super) fn free_requests(&mut self) {
        self.requests.take_if(|requests| requests.is_empty());
    }

    /// Whether messages of this lane are held back.
    pub(super) fn holds_back(&self, lane: u16) -> bool {
        let requests = self.requests.as_ref();
        requests.is_some_and(|r| {
            let mut pending = r.pending.iter();
            r.replaying_lanes.contains_key(&lane) || pending.any(|p| p.answered.contains(&lane))
        })
    }

    /// Holds a message back for the answer that its lane has a part in, or behind retained messages. At the limit QoS 0 is
    /// dropped (4.3.1); for QoS 1 and 2 the oldest held back are dropped, and the connection is to be closed. False if the
    /// message is dropped.
    pub(super) fn hold_back(&mut self, lane: u16, frame: &Frame, tag: Option<Tag>) -> bool {
        let (most, number) = (self.limits.bytes, self.next_number());
        let Some(held) = self.requests.as_mut().and_then(|r| r.holder(lane)) else {
            return false;
        };
        let cost = held_cost(frame);
        let full = held.bytes() + cost > most;
        let may_be_lost = frame.qos == QoS::AtMostOnce;
        let taken = !full || !may_be_lost && cost <= most;
        if full && !may_be_lost {
            self.state = QueueState::Overflowed;
        }
        let mut lost = Vec::new();
        if taken {
            while held.bytes() + cost > most
                && let Some(oldest) = held.pop()
            {
                lost.push((oldest.frame, oldest.tag));
            }
            let frame = frame.clone();
            held.insert(lane, HeldBack { number, frame, tag });
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

    /// All messages that are held back: for each pending answer, and behind retained messages.
    fn all_held(&self) -> impl Iterator<Item = &HeldByLane> {
        let requests = self.requests.iter();
        requests.flat_map(|r| r.pending.iter().map(|p| &p.held).chain([&r.held]))
    }

    /// Takes out the messages held back for which `stay` is false, given the frame and the number.
    pub(super) fn take_held(&mut self, mut stay: impl FnMut(&Frame, u64) -> bool) {
        if let Some(requests) = &mut self.requests {
            let pending = requests.pending.iter_mut().map(|p| &mut p.held);
            for held in pending.chain([&mut requests.held]) {
                held.retain(|h| stay(&h.frame, h.number));
            }
        }
    }

    /// Puts a message back that was taken out of there; false if its lane's messages are not held back any more.
    pub(super) fn hold_back_again(&mut self, number: u64, lane: u16, frame: &Frame) -> bool {
        let Some(held) = self.requests.as_mut().and_then(|r| r.holder(lane)) else {
            return false;
        };
        let again = HeldBack {
            number,
            frame: frame.clone(),
            // Only a message of a group is taken out.
            tag: None,
        };
        held.insert(lane, again);
        true
    }

    /// How many messages are held back, and their bytes.
    pub(super) fn held_back_totals(&self) -> (usize, usize) {
        let all = self.all_held().map(|held| (held.len(), held.bytes()));
        all.fold((0, 0), |(n, b), (more, bytes)| (n + more, b + bytes))
    }

    /// The messages held back.
    pub(super) fn held_frames(&self) -> impl Iterator<Item = &Frame> {
        self.all_held().flat_map(HeldByLane::iter).map(|h| &h.frame)
    }

    /// The references of these messages in queues of lanes.
    pub(super) fn held_tags(&self) -> impl Iterator<Item = Tag> {
        self.all_held()
            .flat_map(HeldByLane::iter)
            .filter_map(|h| h.tag)
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

    /// The connection has ended: drops all pending answers. Replays whose answer was sent go on with the next connection. The
    /// messages held back go to the queue, except QoS 0.
    pub(super) fn cancel_answers(&mut self, now: u64) {
        let mut held = Vec::new();
        if let Some(requests) = &mut self.requests {
            for pending in &mut std::mem::take(&mut requests.pending) {
                held.extend(std::iter::from_fn(|| pending.held.pop()));
            }
            // Retained messages may have come before these, which are in the queue with higher numbers.
            while let Some(mut next) = requests.held.pop() {
                self.last_number += 1;
                next.number = self.last_number;
                held.push(next);
            }
            requests.asked.clear();
            requests.resumed = None;
        }
        self.free_requests();
        for HeldBack { number, frame, tag } in held {
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
        self.sort_waiting();
    }
}
