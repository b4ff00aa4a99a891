//! A SUBACK, an UNSUBACK or a resumption that lanes have not answered yet.

use super::held_back::HeldByLane;
use crate::packet::{PacketId, ReasonCode};
use bytestring::ByteString;

/// An answer that is not complete.
#[derive(Debug)]
pub(super) struct PendingAnswer {
    pub request_id: u32,
    pub kind: Answer,
    pub codes: Vec<ReasonCode>,
    /// Which of `codes` a lane has answered.
    pub known: Vec<bool>,
    pub reason: Option<String>,
    /// How many lanes have not answered.
    pub lanes_left: usize,
    /// How many lanes have retained messages for the client.
    pub replays: usize,
    /// Lanes that have answered: what they deliver from then on is held back until the answer is sent.
    pub answered: Vec<u16>,
    pub held: HeldByLane,
}

/// The request that is answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// A SUBSCRIBE with this packet id: the filters that lanes are asked for, each with its position in the packet.
    SubAck(PacketId, Vec<(u16, ByteString)>),
    /// An UNSUBSCRIBE with this packet id.
    UnsubAck(PacketId),
    /// A resumed session asks the lanes for its subscriptions again.
    Resume,
}
