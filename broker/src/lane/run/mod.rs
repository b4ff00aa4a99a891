//! What runs the lanes of this process: the ways into them, the log between, and what their effects reach.

mod apply;
mod barriers;
mod context;
mod courier;
mod embedded;
mod entrance;
mod flusher;
mod keeper;
mod log;
mod places;
mod stock;
mod timers;

pub use embedded::QUIET_TARGETS;

pub(crate) use barriers::Barriers;
pub(crate) use context::Surroundings;
pub(crate) use courier::Courier;
pub(crate) use embedded::Embedded;
pub(crate) use entrance::Entrance;
pub(crate) use keeper::Keeper;
pub(crate) use log::{LaneLog, LogError};
pub(crate) use places::Places;
pub(crate) use timers::Timers;
