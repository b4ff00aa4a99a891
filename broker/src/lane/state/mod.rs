//! The state of a lane: the entries of its log, and what each of them does.
//!
//! | what | files |
//! |---|---|
//! | the log's batches and entries, and a topic's lane | `batch`, `entry`, `lane_of` |
//! | the order of batches | `writers` |
//! | the state, and applying an entry | `lane`, `publish`, `subscribe`, `resume` |
//! | subscriptions: by filter, by session, by shared group | `index`, `tree`, `levels`, `subscribers`, `subscriptions` |
//! | retained messages | `retained`, `walk`; sent by `replay` |
//! | the configuration that decides outcomes | `rules`, `judge` |
//! | delivery | `fanout`, `frames` |
//! | shared groups | `sharing`, `reassign` |
//! | what a lane asks of its runner | `host` |
//!
//! Nothing here names anything in `run/`.
//!
//! # What this folder still reaches that it must not
//!
//! It becomes a crate without locks, sockets and settings. Until then it uses:
//!
//! - `outbox::Outbox`, behind whose lock a socket may be (`host`, `fanout`, `replay`,
//!   `sharing`, `reassign`, `resume`, `subscribe`). The state fills outboxes itself. It
//!   also reads them: the version (`fanout`, `sharing`, `subscribe`, `replay`), whether a member is
//!   connected and has capacity (`sharing`, `reassign`), and whether messages of shared groups are
//!   left in one (`reassign`). By these answers the turn of a shared group and the removal of a
//!   subscriber depend on more than the log.
//! - `session::{Outbound, Frame, Need, Share, Taken}` (`fanout`, `frames`, `sharing`, `reassign`):
//!   the queue of a session, and messages on their way out of one queue into another.
//! - `packet::encode_publish` (`frames`): encoding for the socket, which is the runner's work.
//! - `policy::LaneHook` and the types of its methods (`Actor`, `SessionId`, `EndReason`, `Mount`,
//!   `Request`, `Message`, `Verdict`, `Mark`, `Limit`, `Stamps`, `Refusal`, `Effect`,
//!   `HookContext`), also `Attempt` and `Notice`. They belong to this folder, and `policy` should
//!   re-export them.
//! - `tracing` (`entry`): one line, for a bug.

mod batch;
mod entry;
mod fanout;
mod frames;
mod host;
mod index;
mod judge;
mod lane;
mod lane_of;
mod levels;
mod publish;
mod reassign;
mod replay;
mod resume;
mod retained;
mod rules;
mod sharing;
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
pub(crate) use host::LaneHost;
pub(crate) use index::Index;
#[cfg(test)]
pub(crate) use judge::tests::lane_with;
pub(crate) use lane::Lane;
pub(crate) use lane_of::{lane_of, lane_of_filter, spans_lanes};
pub(crate) use retained::RetainedLimits;
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) use retained::{RetainedMessage, RetainedStore};
pub(crate) use rules::LaneRules;
pub(crate) use subscription::{Slot, Subscription};
pub(crate) use totals::{LANE_COUNTS, LaneTotals};
pub(crate) use writers::BatchTurn;
