//! From an accepted socket to bytes of MQTT: PROXY header, TLS, WebSocket, in this order.
//!
//! Architecture invariant: all of it happens in the connection's own task and under the listener's one deadline,
//! so a peer that hangs in any of them delays nobody.

mod arrival;
mod framing;
mod layers;
mod link;
mod place;
mod port;
mod proxy;
mod tls;
mod upgrade;
mod websocket;

pub(crate) use arrival::{Arrival, Nameless, Socket};
pub(crate) use layers::Layers;
pub(crate) use link::{LAST_WORDS, Link};
pub use place::Place;
pub(crate) use port::Port;
pub(crate) use tls::Tls;
pub use tls::TlsError;
