//! The client that causes an entry.

use serde::{Deserialize, Serialize};

/// A session, from the clean start that began it to its end. No other session has this id, not even one of an earlier or a
/// later start of the server: a lane's log may outlive the process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct SessionId {
    /// The life of the server in which the session began. Each start of a server has another.
    pub term: u64,
    /// Counts the sessions of that life.
    pub n: u64,
}

/// The client that caused an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Actor<'a> {
    /// The client's session.
    pub session: SessionId,
    /// The number of the session's connection, from 1. Lanes ignore entries of an earlier connection.
    pub connection: u32,
    /// The client's user, in the form that the name has as a topic level.
    pub user: &'a str,
}
