//! A message for one client.

use crate::packet::{Patch, PublishFrame, QoS};
use crate::session::NEVER;
use bytes::Bytes;
use std::sync::Arc;

/// An encoded message with what its delivery depends on.
#[derive(Debug, Clone)]
pub struct Frame {
    /// The QoS of the delivery: the lower of the message's and the subscription's.
    pub qos: QoS,
    /// The encoded PUBLISH, shared by all subscribers that need the same bytes.
    pub packet: PublishFrame,
    /// When it expires, in milliseconds of lane time; [`NEVER`]: never.
    pub expires: u64,
    /// Present if it came by a shared subscription.
    pub share: Option<Arc<Share>>,
}

/// What the lane needs to give a shared group's message to another member.
#[derive(Debug, PartialEq, Eq)]
pub struct Share {
    /// The lane of the message.
    pub lane: u16,
    /// The whole filter, `$share/` included.
    pub group: Arc<str>,
    /// The message as it came into the lane: its encoded entry.
    pub entry: Bytes,
    /// What the topic's rules attached to it.
    pub mark: Mark,
    /// When it came, as its stamps show it: milliseconds since the Unix epoch.
    pub wall: u64,
}

/// Two numbers that the rules of a topic attach to an accepted message. The session only carries them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Mark(pub u64, pub u64);

impl Frame {
    /// Bytes that it counts for while it is kept. For a shared group's message that is the entry, if it is larger: its properties are
    /// not sent to 3.1.1 clients.
    #[allow(clippy::len_without_is_empty)] // a frame is never empty
    pub fn len(&self) -> usize {
        let entry = self.share.as_ref().map_or(0, |share| share.entry.len());
        self.packet.len().max(entry)
    }

    /// The patch with the message expiry that is left at `now` [MQTT-3.3.2-6].
    pub(super) fn patch(&self, now: u64) -> Patch {
        let left = || self.expires.saturating_sub(now).div_ceil(1000);
        Patch {
            expiry: (self.expires != NEVER).then(|| u32::try_from(left()).unwrap_or(u32::MAX)),
            ..Patch::default()
        }
    }
}
