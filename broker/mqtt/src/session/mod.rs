//! The session state machine: what a packet means after all that came before it.
//!
//! Architecture invariant: no socket, no clock, no task. [`Session`] takes a packet and says what is to be
//! done; [`Outbound`] takes messages and acknowledgements and yields bytes.

mod expiry;
mod filters;
mod inbound;
mod outbound;

pub use expiry::{FOR_EVER, longest_expiry};
pub use filters::{FilterLimits, Filters};
pub use inbound::{Close, Inbound, Session, Start, Step};
pub use outbound::{
    Answer, DropReason, Dropped, Frame, Held, Mark, Need, Outbound, Share, Taken, Tally, WrongKind,
};

/// What PUBREL and PUBCOMP say with 0x92, the one failure that they have.
pub const UNKNOWN_ID: &str = "no QoS 2 message is under way with this packet id";

/// What bounds the sending half of one session.
#[derive(Debug, Clone, Copy)]
pub struct OutboundLimits {
    /// Bytes that may wait for the socket, and as many for the window.
    pub bytes: usize,
    /// QoS 1 and 2 messages that may wait for the window.
    pub messages: usize,
    /// The window: the smaller of the client's and ours, never 0 [5.0 MQTT-4.9.0-1].
    pub receive_maximum: u16,
    /// The largest packet that the client takes, in bytes.
    pub maximum_packet_size: Option<u32>,
    /// Whether reason strings may be sent on acknowledgements.
    pub problem_information: bool,
    /// Topic aliases that the client takes.
    pub topic_aliases: u16,
    /// Milliseconds that a QoS 1 or 2 message may wait for the window, or for the client to come back.
    pub age: u64,
}
