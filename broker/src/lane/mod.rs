//! Lanes: ordered logs of entries, and the state that applying them in order makes.
//!
//! A topic's lane is a hash of its first two levels, so all that can concern one place has one order.
//! Architecture invariant: [`Lane::apply`] is synchronous, knows no clock, socket or task, and does not
//! care who calls it.

mod run;
mod state;

pub use run::QUIET_TARGETS;

pub(crate) use run::{
    Barriers, Courier, Embedded, Entrance, Keeper, LaneLog, LogError, Places, Surroundings, Timers,
};
pub(crate) use state::{
    Batch, Entry, FilterEntry, GoneEntry, Index, Lane, Origin, Portion, PropertiesEntry,
    PublishEntry, Stock, SubscribeEntry, Subscription, UnsubscribeEntry, lane_of, lane_of_filter,
};
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) use state::{Kept, Retained};
