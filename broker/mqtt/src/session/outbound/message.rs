//! Messages in a client's queues.

use super::{Frame, Tag};
use crate::packet::{PacketId, QoS};
use std::borrow::Cow;

/// A QoS 1 or 2 message that was sent and is not acknowledged.
#[derive(Debug)]
pub(super) struct InFlight {
    pub id: PacketId,
    pub qos: QoS,
    /// Bytes of the message, as [kept](Frame::len).
    pub len: u32,
    /// Bytes of its payload.
    pub payload: u32,
    /// Grows in the order of sending.
    pub number: u64,
    /// None if nobody can need it again: the session ends with its connection, so the message is not sent again, and it came by
    /// no shared subscription, so no other client takes it over; and no lane has to be told of it. Boxed, since most sessions are
    /// such.
    pub kept: Option<Box<KeptFrame>>,
}

/// A message that was sent and may be sent again.
#[derive(Debug)]
pub(super) struct KeptFrame {
    pub frame: Frame,
    /// Its reference in the queue of a lane.
    pub tag: Option<Tag>,
}

impl InFlight {
    /// A message that was sent. Its frame is kept only if `resumable`, shared or tagged.
    pub(super) fn new(
        id: PacketId,
        frame: Cow<'_, Frame>,
        tag: Option<Tag>,
        number: u64,
        resumable: bool,
    ) -> Self {
        // Every valid packet has fewer bytes than 32 bits count.
        let bytes = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        InFlight {
            id,
            qos: frame.qos,
            len: bytes(frame.len()),
            payload: bytes(frame.packet.payload_len()),
            number,
            kept: (resumable || frame.share.is_some() || tag.is_some()).then(|| {
                Box::new(KeptFrame {
                    frame: frame.into_owned(),
                    tag,
                })
            }),
        }
    }

    /// The message, if it is kept.
    pub(super) fn frame(&self) -> Option<&Frame> {
        Some(&self.kept.as_ref()?.frame)
    }

    /// Its reference in the queue of a lane.
    pub(super) fn tag(&self) -> Option<Tag> {
        self.kept.as_ref()?.tag
    }

    /// The message, if another member of its shared group may take it over at the end of the session. A QoS 2 message that was
    /// sent is for nobody else [MQTT-4.8.2-4, MQTT-4.8.2-5].
    pub(super) fn shared(&self) -> Option<&Frame> {
        let frame = self.frame()?;
        (self.qos != QoS::ExactlyOnce && frame.share.is_some()).then_some(frame)
    }
}

/// A QoS 1 or 2 message that waits for the window, or for the client to reconnect.
#[derive(Debug)]
pub(super) struct Waiting {
    pub frame: Frame,
    /// When it was queued, in milliseconds of lane time.
    pub since: u64,
    /// Grows in the order of queueing.
    pub number: u64,
    /// Its reference in the queue of a lane.
    pub tag: Option<Tag>,
}

/// Capacity reserved for messages that a lane has taken out for other group members and may put back. Messages that had been
/// sent are not counted.
#[derive(Debug)]
pub(super) struct Offer {
    pub lane: u16,
    pub messages: usize,
    pub bytes: usize,
}
