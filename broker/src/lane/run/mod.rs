//! What runs the lanes of this process: the ways into them, the log between, and what their effects reach.

mod courier;
mod embedded;
mod entrance;
mod keeper;
mod log;
mod stock;
mod timers;

pub use embedded::QUIET_TARGETS;

pub(crate) use courier::Courier;
pub(crate) use embedded::Embedded;
pub(crate) use entrance::{Entrance, Places};
pub(crate) use keeper::{Barriers, Keeper, Surroundings};
pub(crate) use log::{LaneLog, LogError};
pub(crate) use timers::Timers;
