//! What the end-to-end tests stand on: a server as a child process, and a client that speaks MQTT
//! byte by byte.
//!
//! Architecture invariant: nothing here uses the codec, the topics or the types of the server. What
//! the tests expect is written down a second time, by hand, from the standard and from
//! `docs/protocol.md`.

// This crate is test code from its first line to its last: a panic is how it reports.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::missing_panics_doc)]
// Much is called for what it checks on the way, and its answer is an extra.
#![allow(clippy::must_use_candidate)]

pub mod broker;
pub mod everywhere;
pub mod program;
pub mod room;
pub mod tls;
pub mod wire;
pub mod workspace;

use std::time::Duration;

/// How long a test waits for what must come. Generous, since test machines are slow and shared; a
/// test that passes never waits for it.
pub const PATIENCE: Duration = Duration::from_secs(20);
