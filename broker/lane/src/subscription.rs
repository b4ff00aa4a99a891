//! One subscription, as the index, the tree and the shared groups hold it.

use super::entry::FilterEntry;
use crate::Mount;
use roommq_mqtt::packet::{QoS, SubscribeOptions};
use std::num::NonZeroU32;
use std::sync::Arc;

/// The number of a session, or of a shared group, within one lane.
///
/// A slot is used again once its session has been removed from the lane, so it never leaves the
/// lane.
pub type Slot = u32;

/// A filter's subscriber, with the options that it asked for. The filter itself is the key in the
/// index.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subscription {
    /// The session, or the shared group.
    pub slot: Slot,
    /// As the client asked for them.
    pub options: SubscribeOptions,
    /// Goes out with each message that this subscription matches.
    pub identifier: Option<NonZeroU32>,
    /// The hook is asked before each message whether the subscriber may see its topic.
    pub guarded: bool,
    /// The session may outlive its connection, so the lane keeps QoS 1 and 2 messages for it.
    pub keeps: bool,
    /// How topics are renamed for the subscriber.
    pub mount: Option<Arc<Mount>>,
}

impl Subscription {
    /// The subscription that one filter of a SUBSCRIBE creates; `identifier` 0: it has none.
    pub(super) fn of(slot: Slot, filter: &FilterEntry<'_>, identifier: u32, keeps: bool) -> Self {
        Subscription {
            slot,
            options: filter.options,
            identifier: NonZeroU32::new(identifier),
            guarded: filter.guarded,
            keeps,
            mount: filter.mount.clone().map(Arc::new),
        }
    }

    /// A subscription whose options are never read.
    #[must_use]
    pub fn placeholder(slot: Slot) -> Self {
        Subscription {
            slot,
            options: SubscribeOptions::of(QoS::AtMostOnce),
            identifier: None,
            guarded: false,
            keeps: false,
            mount: None,
        }
    }
}

/// Removes a slot's subscription from a filter's list, whose order is lost. True if there was one.
pub(super) fn take_slot(list: &mut Vec<Subscription>, slot: Slot) -> bool {
    let Some(at) = list.iter().position(|s| s.slot == slot) else {
        return false;
    };
    list.swap_remove(at);
    // A filter that was popular once must not keep the memory for it.
    if list.capacity() > 32 && list.len() * 4 < list.capacity() {
        list.shrink_to_fit();
    }
    true
}
