//! The tools of the end-to-end tests: a server as a child process, and a client that encodes MQTT
//! byte by byte.
//!
//! Architecture invariant: nothing here uses the codec, the topics or the types of the server. The
//! expectations are written a second time, by hand, from the standard and from `docs/reference`.

// All of this crate is test code, which reports by a panic.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::missing_panics_doc)]
// Many functions are called for their checks, and their results are not needed.
#![allow(clippy::must_use_candidate)]

pub mod broker;
pub mod everywhere;
pub mod program;
pub mod room;
pub mod tls;
pub mod token;
pub mod wire;
pub mod workspace;

use std::time::Duration;

/// The time that a test waits for an expected event. Generous, since test machines are slow and
/// shared. A test that passes never waits so long.
pub const PATIENCE: Duration = Duration::from_secs(20);
