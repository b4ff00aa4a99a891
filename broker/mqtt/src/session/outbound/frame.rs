//! A message as it waits for one client.

use crate::packet::{Patch, PublishFrame, QoS};
use bytes::Bytes;
use std::sync::Arc;

/// A frame with what its delivery depends on.
#[derive(Debug, Clone)]
pub struct Frame {
    /// With which it is delivered: the lower of the message's and the subscription's.
    pub qos: QoS,
    /// The encoded PUBLISH, shared by all subscribers that need the same bytes.
    pub packet: PublishFrame,
    /// When it is worth nothing any more, in milliseconds since the Unix epoch; [`Frame::FOR_EVER`].
    pub expires: u64,
    /// Where it came by a shared subscription.
    pub share: Option<Arc<Share>>,
}

/// What another member of a shared group needs to take a message over.
#[derive(Debug, PartialEq, Eq)]
pub struct Share {
    /// Whose message it is.
    pub lane: u16,
    /// The whole shared filter.
    pub group: Arc<str>,
    /// The message as it came into the lane: a batch of one entry.
    pub batch: Bytes,
    /// What the owner of the topic's rules remembers of it.
    pub mark: Mark,
}

/// Two numbers that the rules of a topic attach to an accepted message. The session only carries them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Mark(pub u64, pub u64);

impl Frame {
    /// Never expires.
    pub const FOR_EVER: u64 = u64::MAX;

    /// Bytes that are kept for it. In a group the message as it came may be much larger than what 3.1.1 is sent of it.
    #[allow(clippy::len_without_is_empty)] // a frame is never empty
    pub fn len(&self) -> usize {
        let batch = self.share.as_ref().map_or(0, |share| share.batch.len());
        self.packet.len().max(batch)
    }

    /// With what a receiver is told at `now` of the time left [MQTT-3.3.2-6].
    pub(super) fn patch(&self, now: u64) -> Patch {
        let left = || self.expires.saturating_sub(now).div_ceil(1000);
        Patch {
            expiry: (self.expires != Self::FOR_EVER)
                .then(|| u32::try_from(left()).unwrap_or(u32::MAX)),
            ..Patch::default()
        }
    }
}
