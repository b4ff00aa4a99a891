//! The state of a lane: what stands in its log, and what each entry does.

mod entry;
mod fanout;
mod handover;
mod index;
mod lane;
mod lane_of;
mod replay;
mod resume;
mod retained;
mod sharing;
mod stock;
mod subscribers;
mod subscriptions;
mod tree;
mod walk;

pub(crate) use entry::{
    Batch, Entry, FilterEntry, GoneEntry, Origin, PropertiesEntry, PublishEntry, SubscribeEntry,
    UnsubscribeEntry, read,
};
pub(crate) use index::{Index, Subscription};
pub(crate) use lane::{Lane, Reach};
pub(crate) use lane_of::{lane_of, lane_of_filter};
pub(crate) use retained::Portion;
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) use retained::{Kept, Retained};
pub(crate) use stock::{LaneStock, Stock};
pub(crate) use subscriptions::Count;
