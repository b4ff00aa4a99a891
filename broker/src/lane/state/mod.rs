//! The state of a lane: the entries of its log, and what each of them does.
//!
//! | what | files |
//! |---|---|
//! | the log's batches and entries, and a topic's lane | `batch`, `entry`, `lane_of` |
//! | the order of batches | `writers` |
//! | the state, and applying an entry | `lane`, `publish`, `subscribe`, `resume` |
//! | subscriptions: by filter, by session, by shared group | `index`, `tree`, `levels`, `subscribers`, `subscriptions` |
//! | retained messages | `retained`, `walk`; read for a subscriber by `replay` |
//! | the configuration that decides outcomes | `rules`, `judge` |
//! | what follows from an entry | `outcome`; the receivers of a message: `fanout` |
//!
//! [`Lane::apply`] changes the state and fills an [`Outcome`], which a runner performs. Both follow
//! from the state and the entry alone. Nothing here names anything in `run/`.
//!
//! # What this folder still reaches that it must not
//!
//! It becomes a crate without locks, sockets and settings. Until then it uses:
//!
//! - `policy::LaneHook` and the types of its methods (`Actor`, `SessionId`, `EndReason`, `Mount`,
//!   `Request`, `Message`, `Verdict`, `Mark`, `Limit`, `Stamps`, `Refusal`, `Effect`,
//!   `HookContext`), also `Notice`. They belong to this folder, and `policy` should re-export them.
//! - `tracing` (`entry`): one line, for a bug.

mod batch;
mod entry;
mod fanout;
mod index;
mod judge;
mod lane;
mod lane_of;
mod levels;
mod outcome;
mod publish;
mod replay;
mod resume;
mod retained;
mod rules;
mod subscribe;
mod subscribers;
mod subscription;
mod subscriptions;
mod totals;
mod tree;
mod walk;
mod writers;

pub(crate) use batch::{BATCH_BYTES, BATCH_ENTRIES, Batch, BatchError, BatchHeader, Entries, read};
pub(crate) use entry::{
    DisconnectEntry, Entry, FilterEntry, PropertiesEntry, PublishEntry, SubscribeEntry,
    UnsubscribeEntry,
};
pub(crate) use index::Index;
#[cfg(test)]
pub(crate) use judge::tests::lane_with;
pub(crate) use lane::Lane;
pub(crate) use lane_of::{lane_of, lane_of_filter, spans_lanes, spread};
pub(crate) use outcome::{Act, Forms, NEVER, Outcome, Outgoing, Source, Target};
pub(crate) use publish::{UserProperty, stamped_properties};
#[cfg(any(test, feature = "fuzzing"))]
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) use retained::RetainedStore;
pub(crate) use retained::{RetainedLimits, RetainedMessage};
pub(crate) use rules::LaneRules;
pub(crate) use subscription::{Slot, Subscription};
pub(crate) use subscriptions::{Group, Subscriptions};
pub(crate) use totals::{LANE_COUNTS, LaneTotals};
pub(crate) use writers::BatchTurn;
