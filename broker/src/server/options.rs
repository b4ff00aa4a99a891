//! The settings of a server, and the errors of its start.

use crate::lane::LogError;
use crate::listener::BindError;
use roommq_config::{Lanes, Limits, Listener};
use std::io;
use std::time::Duration;

/// The settings of a server.
#[derive(Debug, Clone)]
pub struct Options {
    /// The addresses to listen on, with their transports.
    pub listeners: Vec<Listener>,
    /// Limits on clients.
    pub limits: Limits,
    /// The number of lanes and of threads.
    pub lanes: Lanes,
    /// The time between two updates of `$SYS`; 0 turns `$SYS` off.
    pub sys_interval: Duration,
}

impl Options {
    /// The number of lanes, at least 1.
    pub(super) fn lane_count(&self) -> u16 {
        self.lanes.count.max(1)
    }
}

/// The reason that a server did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A listener cannot be opened.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// The system refuses a thread or its event queue.
    #[error("cannot start a thread: {0}")]
    Thread(#[from] io::Error),
    /// The engine that keeps the lanes' logs did not start.
    #[error("{0}")]
    Log(String),
}

impl From<LogError> for StartError {
    fn from(error: LogError) -> Self {
        StartError::Log(error.to_string())
    }
}
