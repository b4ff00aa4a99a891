//! The state of a lane: what stands in its log, and what each entry does.

mod entry;
mod fanout;
mod frames;
mod host;
mod index;
mod lane;
mod lane_of;
mod reassign;
mod replay;
mod resume;
mod retained;
mod sharing;
mod subscribers;
mod subscription;
mod subscriptions;
mod totals;
mod tree;
mod walk;

pub(crate) use entry::{
    Batch, DisconnectEntry, Entry, FilterEntry, Origin, PropertiesEntry, PublishEntry,
    SubscribeEntry, UnsubscribeEntry, read_batch,
};
pub(crate) use host::LaneHost;
pub(crate) use index::Index;
pub(crate) use lane::Lane;
pub(crate) use lane_of::{lane_of, lane_of_filter};
pub(crate) use retained::RetainedLimits;
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) use retained::{RetainedMessage, RetainedStore};
pub(crate) use subscription::Subscription;
pub(crate) use subscriptions::SubscriptionCounts;
pub(crate) use totals::{LaneCounts, LaneTotals};
