//! RoomMQ's MQTT broker: listeners, sessions, subscriptions, and the ordered lanes that all messages pass.
//!
//! Architecture invariant: this crate knows no rule about any topic. It asks [`policy::Policy`] before it appends an
//! entry, and shows each entry to [`policy::LaneHook`] in the lane's order.
//!
//! The broker connects to no other server, so it is never a client [3.1.1 MQTT-7.0.0-1], and it needs no extension of
//! MQTT in its peers [3.1.1 MQTT-7.0.0-2].
//!
//! # Layers
//!
//! A module uses modules of its own layer and of layers further down in this table. Sessions and lanes also use each
//! other: a lane looks up outboxes in the session registry, and the end of a session is an entry of its lanes. No file
//! imports itself through others.
//!
//! | layer | modules | job |
//! |---|---|---|
//! | server | `server`, `sys` | starts and ends the threads; publishes `$SYS` |
//! | connection | `connection` | one task for each client, from CONNECT to the end |
//! | lanes | `lane` | the ordered logs, and performing what follows from their entries |
//! | sessions | `sessions`, `node` | takeover, offline sessions, expiry, eviction; the parts that connections share |
//! | transport | `listener`, `transport`, `outbox` | sockets, PROXY header, TLS, WebSocket, and writing to them |
//! | ground floor | `policy`, `metrics`, `kept_bytes`, `rate_limiter`, `token_bucket`, `fairness`, `gate`, `clock` | used by all |
//!
//! Below them are two crates without sockets, locks or clock: `roommq_lane`, the state of a lane as a function of its log,
//! and `roommq_mqtt`, packets, topic filters and the session state machine.
//!
//! # The way of a PUBLISH
//!
//! 1. **Accept**: `listener/accept.rs` accepts the socket and hands it to a thread. `transport/layers.rs` establishes the
//!    PROXY header, TLS and WebSocket.
//! 2. **Read**: `connection/intake.rs` reads bytes and cuts packets out of them. The session, `session/inbound.rs` of
//!    `roommq_mqtt`, resolves the alias, the quota and duplicates.
//! 3. **Permit**: `connection/publishing.rs` asks `Policy::publish`, defined in `policy/access.rs`.
//! 4. **Append**: `connection/pending.rs` collects batches in the order of the packets, and `lane/entrance.rs` appends it. An idle
//!    lane applies the batch at once, on this thread. The log of a busy lane (`lane/log.rs`) takes it to the lane's
//!    applier (`lane/applier.rs`).
//! 5. **Apply**: `broker/lane/src/lane.rs` shows the entry to the hook, and `broker/lane/src/fanout.rs` finds all subscribers.
//!    `lane/perform.rs` fills their outboxes.
//! 6. **Write**: `outbox/mod.rs` writes to the sockets, many messages in one call and without blocking.

mod clock;
mod connect_limits;
mod connection;
mod fairness;
mod gate;
mod kept_bytes;
mod lane;
mod limit_counts;
mod listener;
mod metrics;
mod node;
mod outbox;
pub mod policy;
pub mod rate_limiter;
mod server;
mod sessions;
mod sys;
pub mod token_bucket;
mod transport;

pub use roommq_mqtt::packet;
use roommq_mqtt::session;

pub use lane::QUIET_TARGETS;
pub use listener::{BindError, check_listeners};
pub use server::{NewTls, Options, Server, StartError};
pub use transport::{ListenAddress, TlsError, key_fault};
