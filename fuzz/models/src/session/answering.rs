//! The answers that a client gets for its SUBSCRIBEs and UNSUBSCRIBEs: one each, when all lanes have given theirs.

use super::terms::LANES;
use roommq_mqtt::packet::{PacketId, ReasonCode};

/// What is asked of lanes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Request {
    Subscribe,
    Unsubscribe,
    /// The session's subscriptions again, for a connection that wants to go on.
    Resume,
}

/// A request that is not answered.
#[derive(Debug)]
pub(super) struct Asked {
    pub request_id: u32,
    pub id: PacketId,
    pub what: Request,
    /// Which lanes have it, and which of them have answered.
    lanes: Vec<(u16, bool)>,
    /// What the lanes said of each filter; of one that was refused before, that.
    said: Vec<Vec<ReasonCode>>,
    refused: bool,
}

/// All of them, in their order. Every lane answers in this order too: it is the order of its log.
#[derive(Debug, Default)]
pub(super) struct Answering {
    asked: Vec<Asked>,
    last: u32,
    forgotten: u32,
}

/// The first filter lies in all lanes of the request, any other in one.
fn lies_in(filter: usize, place: usize, lanes: usize) -> bool {
    filter == 0 || filter % lanes == place
}

impl Answering {
    /// A new request: its id, its codes to begin with, and in how many lanes it is.
    pub(super) fn ask(
        &mut self,
        what: Request,
        lanes: u8,
        filters: usize,
        refused: bool,
    ) -> (u32, PacketId, Vec<ReasonCode>, usize) {
        self.last += 1;
        let id = u16::try_from(self.last).ok().and_then(PacketId::new);
        let id = id.unwrap_or(PacketId::MIN);
        let lanes: Vec<(u16, bool)> = (0..LANES)
            .filter(|lane| lanes & (1 << lane) != 0)
            .map(|lane| (lane, false))
            .collect();
        let mut codes = vec![ReasonCode::Success; filters];
        codes.extend(refused.then_some(ReasonCode::TopicFilterInvalid));
        let count = lanes.len();
        self.asked.push(Asked {
            request_id: self.last,
            id,
            what,
            lanes,
            said: vec![Vec::new(); filters],
            refused,
        });
        (self.last, id, codes, count)
    }

    /// The lane's next answer, if one is pending: of which request, and what it says.
    pub(super) fn answer(
        &mut self,
        lane: u16,
        code: ReasonCode,
    ) -> Option<(u32, Vec<(u16, ReasonCode)>)> {
        let asked = self
            .asked
            .iter_mut()
            .find(|a| a.lanes.contains(&(lane, false)))?;
        let place = asked.lanes.iter().position(|(l, _)| *l == lane)?;
        asked.lanes[place].1 = true;
        let mut codes = Vec::new();
        for (filter, said) in asked.said.iter_mut().enumerate() {
            if lies_in(filter, place, asked.lanes.len()) {
                said.push(code);
                codes.push((u16::try_from(filter).ok()?, code));
            }
        }
        Some((asked.request_id, codes))
    }

    /// Takes out what all lanes have answered.
    pub(super) fn done(&mut self) -> Option<Asked> {
        let all = |asked: &Asked| asked.lanes.iter().all(|(_, answered)| *answered);
        let at = self.asked.iter().position(all)?;
        Some(self.asked.remove(at))
    }

    /// Whose answers a message of `lane` has to wait for.
    pub(super) fn before(&self, lane: u16) -> Vec<u32> {
        let holds = |asked: &&Asked| asked.lanes.contains(&(lane, true));
        self.asked
            .iter()
            .filter(holds)
            .map(|asked| asked.request_id)
            .collect()
    }

    /// Nobody waits any more.
    pub(super) fn forget(&mut self) {
        self.asked.clear();
        self.forgotten = self.last;
    }

    /// The id of a request that nobody waits for; none is 0.
    pub(super) fn stale(&self) -> u32 {
        self.forgotten
    }

    /// A lane that has an answer pending.
    pub(super) fn pending_lane(&self) -> Option<u16> {
        let mut lanes = self.asked.iter().flat_map(|asked| &asked.lanes);
        lanes.find(|(_, answered)| !answered).map(|(lane, _)| *lane)
    }
}

impl Asked {
    /// The codes of the answer.
    pub(super) fn codes(&self) -> Vec<ReasonCode> {
        let mut codes: Vec<ReasonCode> = self.said.iter().map(|said| agreed(said)).collect();
        codes.extend(self.refused.then_some(ReasonCode::TopicFilterInvalid));
        codes
    }
}

/// What lanes say together: a refusal counts, then whoever knew the filter.
fn agreed(said: &[ReasonCode]) -> ReasonCode {
    let refusal = said.iter().rfind(|code| **code as u8 >= 0x80);
    let known = said
        .iter()
        .find(|code| **code != ReasonCode::NoSubscriptionExisted);
    let any = refusal.or(known).or(said.first());
    any.copied().unwrap_or(ReasonCode::Success)
}
