//! What runs the lanes of this process: the ways into them, the log between, and what their effects reach.

mod applier;
mod apply;
mod barriers;
mod context;
mod counts;
mod embedded;
mod entrance;
mod flusher;
mod log;
mod mailbox;
mod table;
mod timers;

pub use embedded::QUIET_TARGETS;

pub(crate) use applier::Applier;
pub(crate) use barriers::Barriers;
pub(crate) use context::NodeContext;
pub(crate) use embedded::Embedded;
pub(crate) use entrance::Entrance;
pub(crate) use log::{LaneLog, LogError};
pub(crate) use mailbox::Mailboxes;
pub(crate) use table::LaneTable;
pub(crate) use timers::Timers;
