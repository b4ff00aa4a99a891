//! The server: it starts its threads in the right order, and ends them without losing a message.
//!
//! ```text
//! start.rs     listeners are bound, lanes and nodes are made, background tasks run, sockets are accepted
//! threads.rs   the threads: `io-0` … serve sockets, `applier-0` … apply the logs of busy lanes
//! running.rs   the running server: reload and shutdown
//! lane_rules.rs  the rules that lanes follow, at the start and after a reload
//! ```

mod lane_rules;
mod options;
mod running;
mod start;
mod threads;

pub use options::{Options, StartError};
pub use running::{NewTls, Server};

#[cfg(test)]
mod lane_table_tests;
