//! One subscription, as the index and the tree hold it.

use super::entry::FilterEntry;
use crate::packet::SubscribeOptions;
use crate::policy::Mount;
use std::num::NonZeroU32;
use std::sync::Arc;

/// A place in the lane's table of subscribers.
pub(crate) type Slot = u32;

/// One subscription.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Subscription {
    pub slot: Slot,
    pub options: SubscribeOptions,
    pub identifier: Option<NonZeroU32>,
    /// Each match is asked of the hook.
    pub guarded: bool,
    pub mount: Option<Arc<Mount>>,
}

impl Subscription {
    /// What a filter of a SUBSCRIBE asks for.
    pub(super) fn of(slot: Slot, filter: &FilterEntry<'_>, identifier: u32) -> Self {
        Subscription {
            slot,
            options: filter.options,
            identifier: NonZeroU32::new(identifier),
            guarded: filter.guarded,
            mount: filter.mount.clone().map(Arc::new),
        }
    }
}

/// Takes a slot's subscription out of a list; true where there was one.
pub(super) fn take_slot(list: &mut Vec<Subscription>, slot: Slot) -> bool {
    let Some(at) = list.iter().position(|s| s.slot == slot) else {
        return false;
    };
    list.swap_remove(at);
    if list.capacity() > 32 && list.len() * 4 < list.capacity() {
        list.shrink_to_fit();
    }
    true
}
