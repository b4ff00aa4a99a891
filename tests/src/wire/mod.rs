//! An MQTT client for tests: blocking, over one stream, with deadlines; 3.1, 3.1.1 and 5.0.
//!
//! It hides nothing: a packet is sent when the test says so, and packets come in the order of the
//! wire.

mod bytes;
mod client;
mod connect;
mod message;
mod packet;
mod properties;
mod scram;
mod stream;
mod websocket;

pub use bytes::{frame, put_string, put_varint};
pub use client::{Client, Missing};
pub use connect::Connect;
pub use message::{Message, Subscribe};
pub use packet::Packet;
pub use properties::{Properties, Value, property};
pub use scram::{SCRAM, Scram, auth};
pub use stream::{Stream, tcp_from};
pub use websocket::{Frame, WebSocket, upgrade};

/// The protocol version of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Version {
    /// 3.1: another protocol name, and otherwise as 3.1.1.
    V31,
    /// 3.1.1
    V311,
    /// 5.0
    V5,
}

/// The two versions for which most tests are run.
pub const BOTH: [Version; 2] = [Version::V311, Version::V5];
