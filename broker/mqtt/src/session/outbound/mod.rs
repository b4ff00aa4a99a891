//! The sending half of a session: the in-flight window, the messages that wait for it, and the answers that lanes have to
//! complete.
//!
//! ```text
//!  deliver ──► held back (until the lane's answer and the retained messages are sent) ──► waiting (until the window opens) ──► in flight ──► acked
//!              answers.rs, held_back.rs, replays.rs                                       queue.rs                             sending.rs    acks.rs
//! ```
//!
//! It lives as long as the session. Between two connections it is offline (`offline.rs`) and only queues.

mod acks;
mod aliases;
mod answers;
mod capacity;
mod frame;
mod held_back;
mod ids;
mod lane_queues;
mod message;
mod offline;
mod pending;
mod queue;
mod replays;
mod requests;
mod sending;
mod shared;
mod tally;
mod untold;
mod waiting_in_lanes;

pub use acks::WrongKind;
pub use capacity::Need;
pub use frame::{Frame, Mark, Share};
pub use pending::Answer;
pub use shared::Taken;
pub use tally::{Backlog, DropReason, Dropped, Tally};
pub use untold::{Done, GroupId, MessageNo, Tag, Untold};

use super::OutboundLimits;
use crate::packet::{PacketId, Reply, Version, encode};
use crate::write_queue::WriteQueue;
use aliases::Aliases;
use ids::PacketIds;
use lane_queues::LaneQueues;
use message::{InFlight, Waiting};
use requests::Requests;
use std::collections::VecDeque;

/// The sending half of a session: takes messages and acknowledgements, and writes packets into a queue of bytes.
///
/// After each call the caller writes [`queue`](Outbound::queue) to the socket and looks at
/// [`overflowed`](Outbound::overflowed) and [`has_unsendable_reply`](Outbound::has_unsendable_reply). `now` is in milliseconds of
/// lane time.
#[derive(Debug)]
pub struct Outbound {
    version: Version,
    limits: OutboundLimits,
    queue: WriteQueue,
    /// There is no connection: QoS 1 and 2 wait, QoS 0 is dropped (4.3.1).
    offline: bool,
    /// PUBLISH sent, PUBACK or PUBREC awaited [5.0 MQTT-4.3.3-3]; in the order sent [MQTT-4.6.0-6].
    in_flight: VecDeque<InFlight>,
    /// Bytes of `in_flight`, as [kept](Frame::len).
    in_flight_bytes: usize,
    /// Payload bytes of `in_flight` and `waiting`.
    held_payload: usize,
    /// How many of `in_flight`, from the front, were sent on this connection. Each has an id, so 16 bits count them.
    sent: u16,
    /// Whether the session may outlive its connection, so that a later one sends `in_flight` again.
    resumable: bool,
    /// PUBREL sent, PUBCOMP awaited [MQTT-4.3.3-1]; in the order of their PUBRECs [MQTT-4.6.0-4].
    released: VecDeque<PacketId>,
    /// QoS 1 and 2 messages that wait for the window.
    waiting: VecDeque<Waiting>,
    /// Bytes of `waiting`, as [kept](Frame::len).
    waiting_bytes: usize,
    ids: PacketIds,
    /// None if lanes owe nothing. Boxed, since that is so most of the time.
    requests: Option<Box<Requests>>,
    /// Number of the last message that was held back, queued or sent.
    last_number: u64,
    aliases: Option<Box<Aliases>>,
    /// None until a lane delivers a message that is in its queue for this session, too. Boxed, since that needs a session that
    /// may outlive its connection.
    lanes: Option<Box<LaneQueues>>,
    /// Messages dropped since the start of the session, up to the largest number of this type.
    dropped: u32,
    tally: Tally,
    state: QueueState,
}

/// Whether the connection keeps up with its queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum QueueState {
    WithinLimits,
    /// Messages that came while the client was offline wait, here or in lanes, and have not been halved yet: exceeding the limits
    /// drops the oldest message and closes no connection.
    CatchingUp,
    /// The connection is to be closed.
    Overflowed,
    /// The connection is to be closed: a SUBACK or UNSUBACK was larger than the client's maximum packet size.
    Unsendable,
}

impl Outbound {
    /// The sending half of a new session, with a connection.
    #[must_use]
    pub fn new(version: Version, limits: OutboundLimits) -> Self {
        Outbound {
            version,
            limits,
            queue: WriteQueue::default(),
            offline: false,
            in_flight: VecDeque::new(),
            in_flight_bytes: 0,
            held_payload: 0,
            sent: 0,
            resumable: true,
            released: VecDeque::new(),
            waiting: VecDeque::new(),
            waiting_bytes: 0,
            ids: PacketIds::default(),
            requests: None,
            last_number: 0,
            aliases: Aliases::new(limits.topic_aliases),
            lanes: None,
            dropped: 0,
            tally: Tally::default(),
            state: QueueState::WithinLimits,
        }
    }

    /// Sets whether the session may outlive the connection that begins next; true at first. If not, the copies of sent messages
    /// are not kept, since nothing sends them again.
    pub fn set_resumable(&mut self, resumable: bool) {
        self.resumable = resumable;
    }

    /// The version of the connection, or of the last one.
    #[must_use]
    pub fn version(&self) -> Version {
        self.version
    }

    /// Another sending half of the same version and limits, without messages.
    #[must_use]
    pub fn empty_copy(&self) -> Self {
        Outbound::new(self.version, self.limits)
    }

    /// Bytes for the socket. The caller takes out what it has written.
    pub fn queue(&mut self) -> &mut WriteQueue {
        &mut self.queue
    }

    /// How many messages for this client were dropped since the start of the session.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.dropped.into()
    }

    /// Counts of what has been sent and dropped. The caller takes them and leaves zeros.
    pub fn tally(&mut self) -> &mut Tally {
        &mut self.tally
    }

    /// What the session holds for its client: messages and bytes.
    #[must_use]
    pub fn backlog(&self) -> Backlog {
        let lanes = self.lanes.as_ref();
        let (messages, payload) = lanes.map_or((0, 0), |lanes| lanes.waiting());
        Backlog {
            messages: (self.in_flight.len() + self.waiting.len()) as u64 + messages,
            payload: self.held_payload as u64 + payload,
            in_flight: (self.in_flight.len() + self.released.len()) as u64,
            kept_bytes: if self.offline { self.kept_bytes() } else { 0 },
            ending_bytes: 0,
        }
    }

    /// Counts a dropped message with a payload of so many bytes. The session has finished with it.
    fn drop_for(&mut self, reason: DropReason, payload: usize, tag: Option<Tag>) {
        self.dropped = self.dropped.saturating_add(1);
        self.tally.dropped(reason, 1, payload as u64);
        self.finished(tag, payload);
    }

    /// Whether no message waits for the window and no answer is pending. Bytes may still wait for the socket, and sent
    /// messages for their acknowledgement.
    #[must_use]
    pub fn has_sent_all(&self) -> bool {
        let all_sent = self.waiting.is_empty() && usize::from(self.sent) == self.in_flight.len();
        all_sent && self.is_answered() && !self.has_offers() && !self.is_behind()
    }

    /// Whether the bytes that wait for the socket exceed the limit. Replies are queued even so: the caller stops reading from the
    /// client.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.queue.len() > self.limits.bytes
    }

    /// Whether something of so many bytes is larger than what may wait for the socket.
    #[must_use]
    pub fn exceeds_limit(&self, bytes: usize) -> bool {
        bytes > self.limits.bytes
    }

    /// Whether a QoS 1 or 2 message exceeded the limits of the queue: the connection is to be closed. Until then each new message
    /// drops the oldest.
    #[must_use]
    pub fn overflowed(&self) -> bool {
        self.state == QueueState::Overflowed
    }

    /// Whether a SUBACK or UNSUBACK exceeded the client's maximum packet size: the connection is to be closed.
    #[must_use]
    pub fn has_unsendable_reply(&self) -> bool {
        self.state == QueueState::Unsendable
    }

    /// Queues a packet other than PUBLISH. The window does not delay it [5.0 MQTT-3.3.4-10, MQTT-4.9.0-3].
    pub fn reply(&mut self, reply: &Reply) {
        let before = self.queue.tail().len();
        encode(
            self.version,
            reply,
            self.limits.problem_information,
            self.limits.maximum_packet_size,
            self.queue.tail(),
        );
        let written = self.queue.tail().len() > before;
        self.tally.others += u64::from(written);
        // The client must get this answer and cannot take it [5.0 MQTT-3.1.2-24, MQTT-3.8.4-1, MQTT-3.10.4-4].
        let must_arrive = matches!(reply, Reply::SubAck(..) | Reply::UnsubAck(..));
        if must_arrive && !written && self.state != QueueState::Overflowed {
            self.state = QueueState::Unsendable;
        }
    }
}

#[cfg(test)]
mod offline_tests;
#[cfg(test)]
mod overflow_tests;
#[cfg(test)]
mod shared_tests;
#[cfg(test)]
mod tally_tests;
#[cfg(test)]
mod tests;
