//! The state of a lane: the entries of its log, and what each of them does.
//!
//! | what | files |
//! |---|---|
//! | the log's entries, and a topic's lane | `entry`, `lane_of` |
//! | the state, and applying an entry | `lane`, `publish`, `subscribe`, `resume` |
//! | subscriptions: by filter, by session, by shared group | `index`, `tree`, `levels`, `subscribers`, `subscriptions` |
//! | retained messages | `retained`, `walk`; read for a subscriber by `replay` |
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
//! - `roommq_config::Limits` (`retained`): the share of one lane should be an argument.
//! - `hash::fnv1a` (`lane_of`), which is pure.
//! - `tracing` (`entry`): one line, for a bug.

mod entry;
mod fanout;
mod index;
mod lane;
mod lane_of;
mod levels;
mod outcome;
mod publish;
mod replay;
mod resume;
mod retained;
mod subscribe;
mod subscribers;
mod subscription;
mod subscriptions;
mod totals;
mod tree;
mod walk;

pub(crate) use entry::{
    BATCH_BYTES, BATCH_ENTRIES, Batch, BatchError, DisconnectEntry, Entry, FilterEntry,
    PropertiesEntry, PublishEntry, SubscribeEntry, UnsubscribeEntry, read_batch,
};
pub(crate) use index::Index;
pub(crate) use lane::Lane;
pub(crate) use lane_of::{lane_of, lane_of_filter, spans_lanes, spread};
pub(crate) use outcome::{Act, Forms, NEVER, Outcome, Outgoing, Source, Target};
pub(crate) use publish::{UserProperty, stamped_properties};
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) use retained::RetainedStore;
pub(crate) use retained::{RetainedLimits, RetainedMessage};
pub(crate) use subscription::{Slot, Subscription};
pub(crate) use subscriptions::{Group, Subscriptions};
pub(crate) use totals::{LANE_COUNTS, LaneTotals};
