//! The runner of a node's lanes: the entrances, the logs, the threads that apply entries, and
//! everything that a lane's effects reach.
//!
//! ```text
//!   connections' threads                        applier threads
//!
//!   Entrance::append(lane, batch)
//!     |
//!     +-- lane idle: lock it ----------------------------------+
//!     |                                                        v
//!     +-- lane busy: LaneLog --> Follower --> Applier --> apply_batch
//!                                                              |
//!   Timers     <-- set_timer --+                               |
//!   Mailboxes  <-- notices ----+-------- NodeHost <------------+
//!   Outboxes   <-- messages ---+   flushed by the Flusher, or by the Applier
//! ```
//!
//! Timers and mailboxes append entries in turn, by an entrance.

mod applier;
mod apply;
mod context;
mod embedded;
mod entrance;
mod flusher;
#[cfg(test)]
mod kept;
mod log;
mod mailbox;
#[cfg(test)]
mod scene;
mod sequence;
mod table;
mod timers;

pub use embedded::QUIET_TARGETS;

pub(crate) use applier::{Applier, ApplierStop};
pub(crate) use context::NodeContext;
pub(crate) use embedded::Embedded;
pub(crate) use entrance::Entrance;
pub(crate) use log::{LaneLog, LogError, Position, Promise};
pub(crate) use mailbox::Mailboxes;
pub(crate) use table::LaneTable;
pub(crate) use timers::Timers;
