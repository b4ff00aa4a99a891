//! The session state machine: what a packet means after all that came before it.
//!
//! [`Session`] is the receiving half: it takes a packet and says what is to be done. [`Outbound`] is the sending half: it takes
//! messages and acknowledgements and yields bytes. The [crate] explains both and the order of calls.
//!
//! Architecture invariant: no socket, no clock, no task.

mod expiry;
mod filters;
mod inbound;
mod outbound;
mod ranges;

pub use expiry::{FOR_EVER, NEVER, longest_expiry};
pub use filters::{FilterLimits, Filters};
pub use inbound::{Close, Inbound, Session, Start, Step};
pub use outbound::{
    Answer, Backlog, Done, DropReason, Dropped, Frame, GroupId, Mark, MessageNo, Need, Outbound,
    Share, Tag, Taken, Tally, Untold, WrongKind,
};
pub use ranges::RangeSet;

/// The reason string of a PUBREL or PUBCOMP with 0x92, the only error code of these packets.
pub const UNKNOWN_ID: &str = "no QoS 2 message is under way with this packet id";

/// Limits of the sending half of one session.
#[derive(Debug, Clone, Copy)]
pub struct OutboundLimits {
    /// Bytes that may wait for the socket. As many may wait for the window, and be held back for one answer.
    pub bytes: usize,
    /// QoS 1 and 2 messages that may wait for the window, or for the client to reconnect.
    pub messages: usize,
    /// QoS 1 and 2 messages that may be in flight: the smaller of the client's receive maximum and the server's, never 0 [5.0 MQTT-4.9.0-1].
    pub receive_maximum: u16,
    /// The largest packet that the client takes, in bytes; none: any.
    pub maximum_packet_size: Option<u32>,
    /// Whether reason strings may be sent on acknowledgements.
    pub problem_information: bool,
    /// Topic aliases that the client takes; 0: none.
    pub topic_aliases: u16,
    /// Milliseconds that a QoS 1 or 2 message may wait for the window, or for the client to reconnect.
    pub age: u64,
}
