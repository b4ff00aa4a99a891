//! A SUBACK, an UNSUBACK or a resumption that lanes have not answered yet.

use super::held::{HeldBack, HeldByLane};
use crate::packet::{PacketId, ReasonCode};
use bytestring::ByteString;

/// An answer in the making.
#[derive(Debug)]
pub(super) struct Owed {
    pub ticket: u32,
    pub kind: Answer,
    pub codes: Vec<ReasonCode>,
    /// Which of `codes` a lane has answered.
    pub known: Vec<bool>,
    pub reason: Option<String>,
    pub lanes_left: usize,
    /// Lanes that have answered: what they deliver from then on is held until the answer is out.
    pub answered: Vec<u16>,
    /// What is retained. It goes before all that is held.
    pub replayed: Vec<HeldBack>,
    pub replayed_bytes: usize,
    pub held: HeldByLane,
}

impl Owed {
    /// Bytes that wait for this answer.
    pub(super) fn bytes(&self) -> usize {
        self.replayed_bytes + self.held.bytes()
    }
}

/// What is answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// A SUBSCRIBE, of which lanes are asked for these filters, each with its place in it.
    SubAck(PacketId, Vec<(u16, ByteString)>),
    /// An UNSUBSCRIBE.
    UnsubAck(PacketId),
    /// A session that goes on asks for its subscriptions again.
    Resume,
}
