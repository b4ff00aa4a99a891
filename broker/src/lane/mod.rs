//! Lanes: ordered logs of entries, and the state that applying them in order makes.
//!
//! A topic's lane is a hash of its first two levels, so all that can concern one place has one order.
//! Architecture invariant: [`Lane::apply`] is synchronous, knows no clock, socket or task, and does not
//! care who calls it.

mod run;
mod state;

pub use run::QUIET_TARGETS;

pub(crate) use run::{
    Applier, Barriers, Embedded, Entrance, LaneLog, LaneTable, LogError, Mailboxes, NodeContext,
    Timers,
};
pub(crate) use state::{
    Batch, DisconnectEntry, Entry, FilterEntry, Index, Lane, LaneTotals, Origin, PropertiesEntry,
    PublishEntry, RetainedLimits, SubscribeEntry, Subscription, UnsubscribeEntry, lane_of,
    lane_of_filter,
};
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) use state::{RetainedMessage, RetainedStore};
