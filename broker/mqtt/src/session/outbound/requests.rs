//! Business with lanes that is not settled: requests that they answer, and messages that they may put back.

use super::held_back::HeldByLane;
use super::message::Offer;
use super::pending::PendingAnswer;
use crate::packet::{QoS, ReasonCode};
use bytestring::ByteString;
use std::collections::{BTreeMap, BTreeSet};

/// What a session needs while lanes owe it something. Freed when all of it is empty, since most sessions subscribe once.
#[derive(Debug, Default)]
pub(super) struct Requests {
    /// In the order of the requests.
    pub pending: Vec<PendingAnswer>,
    /// For each filter of a pending SUBSCRIBE, the last request that asks for it.
    pub asked: BTreeMap<ByteString, u32>,
    /// Filters that were refused, until the caller takes them.
    pub refused: BTreeSet<ByteString>,
    /// The lanes' answer to a resumed session.
    pub resumed: Option<Vec<ReasonCode>>,
    /// Requests that were answered and whose retained messages are being sent, by id: how many replays have not ended, and
    /// the lanes that were asked.
    pub replaying: BTreeMap<u32, (usize, Vec<u16>)>,
    /// How many of them have asked each lane. What such a lane delivers is held back.
    pub replaying_lanes: BTreeMap<u16, usize>,
    /// These messages.
    pub held: HeldByLane,
    /// Length and QoS of a retained message that had to wait.
    pub refused_retained: Option<(usize, QoS)>,
    /// Messages that lanes have taken out for other group members and may put back.
    pub offers: Vec<Offer>,
}

impl Requests {
    /// Whether nothing is left of any request.
    pub(super) fn is_empty(&self) -> bool {
        let answered = self.is_answered() && self.asked.is_empty();
        let taken = self.refused.is_empty() && self.resumed.is_none();
        answered && taken && self.offers.is_empty()
    }

    /// Whether all answers and all retained messages that follow them were sent.
    pub(super) fn is_answered(&self) -> bool {
        self.pending.is_empty() && self.replaying.is_empty()
    }

    /// The pending answer to a request.
    pub(super) fn find(&mut self, request_id: u32) -> Option<&mut PendingAnswer> {
        self.pending.iter_mut().find(|p| p.request_id == request_id)
    }

    /// Takes out an answer that all lanes have completed.
    pub(super) fn take_complete(&mut self) -> Option<PendingAnswer> {
        let at = self.pending.iter().position(|p| p.lanes_left == 0)?;
        Some(self.pending.remove(at))
    }

    /// The messages that are held back, if those of this lane are.
    pub(super) fn holder(&mut self, lane: u16) -> Option<&mut HeldByLane> {
        if self.replaying_lanes.contains_key(&lane) {
            return Some(&mut self.held);
        }
        let mut pending = self.pending.iter_mut();
        let first = pending.find(|p| p.answered.contains(&lane));
        first.map(|pending| &mut pending.held)
    }

    /// A request has been answered whose retained messages follow.
    pub(super) fn begin_replays(&mut self, answered: &mut PendingAnswer) {
        let lanes = std::mem::take(&mut answered.answered);
        for lane in &lanes {
            *self.replaying_lanes.entry(*lane).or_default() += 1;
        }
        let replays = (answered.replays, lanes);
        self.replaying.insert(answered.request_id, replays);
    }

    /// Takes out the messages that waited for the first of the requests, if its replays have ended.
    pub(super) fn take_replayed(&mut self) -> Option<HeldByLane> {
        let first = self.replaying.first_entry()?;
        if first.get().0 > 0 {
            return None;
        }
        let (_, lanes) = first.remove();
        let mut held = HeldByLane::default();
        for lane in lanes {
            let others = self.replaying_lanes.entry(lane).or_default();
            *others = others.saturating_sub(1);
            if *others == 0 {
                self.replaying_lanes.remove(&lane);
                self.held.move_lane(lane, &mut held);
            }
        }
        Some(held)
    }

    /// Notes which filters were refused. For a filter that a later request asks for again, the later answer counts.
    pub(super) fn note_refused(
        &mut self,
        request_id: u32,
        filters: &[(u16, ByteString)],
        codes: &[ReasonCode],
    ) {
        for (place, filter) in filters {
            let refused = codes.get(usize::from(*place)).is_some_and(|c| c.is_error());
            if self.asked.get(filter) != Some(&request_id) {
                continue;
            }
            if refused {
                self.refused.insert(filter.clone());
            } else {
                self.refused.remove(filter);
            }
        }
        // Only now: a SUBSCRIBE may name a filter more than once.
        for (_, filter) in filters {
            if self.asked.get(filter) == Some(&request_id) {
                self.asked.remove(filter);
            }
        }
    }
}
