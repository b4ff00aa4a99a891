//! RoomMQ's MQTT broker: listeners, packets, sessions, subscriptions, and the ordered lanes that all traffic takes.
//!
//! Architecture invariant: this crate names no rule about any topic. It asks [`policy::Policy`] before an
//! entry is appended and shows entries to [`policy::LaneHook`] in their order.
//!
//! It connects to no other server, so it is never a client [3.1.1 MQTT-7.0.0-1], and needs no extension of MQTT in
//! its peers [3.1.1 MQTT-7.0.0-2].
//!
//! The way of a PUBLISH: `listener` accepts the socket; `transport` lies between it and MQTT; `connection` reads and checks packets and asks
//! the pure `session`; a permit from the policy lets the message into its lane's log (`lane::run::log`); an
//! applier applies the log's entries in order and fills outboxes; it writes them to the sockets.

mod clock;
mod connection;
mod fairness;
#[cfg(any(test, feature = "fuzzing"))]
pub mod fuzzing;
mod gate;
pub mod hash;
mod kept_bytes;
mod lane;
mod listener;
mod metrics;
mod node;
mod outbox;
pub mod policy;
pub mod rate_limiter;
mod server;
mod sessions;
mod sys;
mod transport;

pub use roommq_mqtt::packet;
use roommq_mqtt::session;

pub use lane::QUIET_TARGETS;
pub use listener::BindError;
pub use server::{Options, Server, StartError};
pub use transport::{ListenAddress, TlsError};
