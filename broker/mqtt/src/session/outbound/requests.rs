//! Business with lanes that is not settled: requests that they answer, and messages that they may put back.

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
    /// Length and QoS of a retained message that had to wait.
    pub refused_retained: Option<(usize, QoS)>,
    /// Messages that lanes have taken out for other group members and may put back.
    pub offers: Vec<Offer>,
}

impl Requests {
    /// Whether nothing is left of any request.
    pub(super) fn is_empty(&self) -> bool {
        let answered = self.pending.is_empty() && self.asked.is_empty();
        let taken = self.refused.is_empty() && self.resumed.is_none();
        answered && taken && self.offers.is_empty()
    }

    /// The pending answer to a request.
    pub(super) fn find(&mut self, request_id: u32) -> Option<&mut PendingAnswer> {
        self.pending.iter_mut().find(|p| p.request_id == request_id)
    }

    /// Where an answer is that all lanes have completed, and that is to be sent or is over.
    pub(super) fn complete(&self) -> Option<usize> {
        let is_due = |p: &PendingAnswer| p.lanes_left == 0 && (p.kind.is_some() || p.replays == 0);
        self.pending.iter().position(is_due)
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
