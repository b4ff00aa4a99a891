//! The lanes of a node: the ways into them, the engine that keeps their logs, the threads that apply
//! entries, and everything that outcomes reach.
//!
//! Every topic belongs to one lane, by a hash of its first two levels
//! ([`lane_of`](roommq_lane::lane_of)). All that happens under `chat/berlin`, for example, is in one
//! log and has one order: a message, a subscription to it and the end of a subscriber's session are
//! never seen in two different orders. Topics under `$SYS` belong to the lane of the node, which has
//! no log. The crate `roommq_lane` says what each entry does.
//!
//! ```text
//!   connections' threads                        applier threads
//!
//!   Entrance::append(lane, batch)
//!     |
//!     +-- lane idle: lock it ----------------------------------+
//!     |                                                        v
//!     +-- lane busy: LaneLog --> Follower --> Applier --> apply_batch
//!                                                              |  each entry: Lane::apply
//!   Timers     <-- Wake -----------+                           v
//!   Mailboxes  <-- Tell, Refuse ---+----------------------- Performer
//!   Links      <-- Linked, Unlinked                            |
//!   Outboxes   <-- Deliver, Answer ----------------------------+
//!                  flushed by the Flusher, or by the Applier
//! ```
//!
//! | a lane on this node | file |
//! |---|---|
//! | the lock, and what is behind it | `table`, `perform` (`Running`) |
//! | performing an outcome | `perform`; messages as packets: `frames` |
//! | retained messages for a SUBSCRIBE, in turns | `replaying` |
//! | outboxes by slot | `links` |
//! | members of shared groups | `groups`, `turns` |
//!
//! Timers and mailboxes append entries in turn, by an entrance.

mod applier;
mod apply;
mod context;
mod embedded;
mod entrance;
mod flusher;
mod frames;
mod groups;
#[cfg(test)]
mod kept;
mod links;
mod log;
mod mailbox;
mod perform;
mod replaying;
#[cfg(test)]
mod scene;
mod sequence;
mod table;
mod timers;
mod turns;

pub use embedded::QUIET_TARGETS;

pub(crate) use applier::{Applier, ApplierStop};
pub(crate) use context::{NodeContext, UNTOLD};
pub(crate) use embedded::Embedded;
pub(crate) use entrance::{Entrance, WaitingFrame};
pub(crate) use log::{LaneLog, LogError, Position, Promise};
pub(crate) use mailbox::Mailboxes;
pub(crate) use replaying::ReplayBudget;
pub(crate) use table::LaneTable;
pub(crate) use timers::Timers;
