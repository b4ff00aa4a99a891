//! Lanes: the ordered logs that all traffic takes, and the state that each log produces.
//!
//! Every topic belongs to one lane, by a hash of its first two levels ([`lane_of`]). All that
//! happens under `chat/berlin`, for example, is in one log and has one order: a message, a
//! subscription to it and the end of a subscriber's session are never seen in two different orders.
//! Topics under `$SYS` belong to the lane of the node, which has no log.
//!
//! ```text
//!   connection            run/                              state/
//!  ------------     ---------------------------      ----------------------
//!   PUBLISH   --+
//!   SUBSCRIBE --+--> Entrance --- idle lane --------> Lane::apply(entry, outcome)
//!   ...       --+        |                                 ^       |
//!                        +------ LaneLog --> Applier ------+       | Outcome
//!                                                                  v
//!   socket  <------------------- Outbox  <---------------- Performer (run/)
//! ```
//!
//! - `state/` holds what the log does: entries, subscriptions, retained messages, fan-out. It is
//!   synchronous and deterministic, and knows no clock, socket or task. Applying an entry changes
//!   the state and returns an outcome: all that follows outside of it, as data.
//! - `run/` holds what applies entries on this node and performs their outcomes: the ways into a
//!   lane, the engine that keeps the log, the threads, the outboxes, the choice of a shared group's
//!   member, the timers, and the mailboxes between lanes.
//!
//! Architecture invariant: nothing in `state/` names anything in `run/`. [`Lane::apply`] does not
//! know who calls it.

mod run;
mod state;

pub use run::QUIET_TARGETS;

pub(crate) use run::{
    Applier, ApplierStop, Embedded, Entrance, LaneLog, LaneTable, LogError, Mailboxes, NodeContext,
    Position, Promise, Timers,
};
pub(crate) use state::{
    BATCH_BYTES, BATCH_ENTRIES, Batch, DisconnectEntry, Entry, FilterEntry, Index, Lane, LaneRules,
    LaneTotals, PropertiesEntry, PublishEntry, RetainedLimits, SubscribeEntry, Subscription,
    UnsubscribeEntry, lane_of, lane_of_filter, spans_lanes,
};
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) use state::{RetainedMessage, RetainedStore};
