//! The state of a lane: what stands in its log, and what each entry does.

mod entry;
mod fanout;
mod frames;
mod handover;
mod host;
mod index;
mod lane;
mod lane_of;
mod replay;
mod resume;
mod retained;
mod sharing;
mod stock;
mod subscribers;
mod subscription;
mod subscriptions;
mod tree;
mod walk;

pub(crate) use entry::{
    Batch, Entry, FilterEntry, GoneEntry, Origin, PropertiesEntry, PublishEntry, SubscribeEntry,
    UnsubscribeEntry, read,
};
pub(crate) use host::Reach;
pub(crate) use index::Index;
pub(crate) use lane::Lane;
pub(crate) use lane_of::{lane_of, lane_of_filter};
pub(crate) use retained::Portion;
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) use retained::{Kept, Retained};
pub(crate) use stock::{LaneStock, Stock};
pub(crate) use subscription::Subscription;
pub(crate) use subscriptions::Count;
