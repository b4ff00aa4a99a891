//! From an accepted socket to bytes of MQTT: PROXY header, TLS, WebSocket, in this order.
//!
//! Architecture invariant: all of it happens in the connection's own task and under the listener's one deadline,
//! so a peer that hangs in any of them delays nobody.

mod established;
mod frame_tracker;
mod layers;
mod link;
mod listen_address;
mod listener_context;
mod proxy;
mod tls;
mod upgrade;
mod websocket;

pub(crate) use established::{CertificateUserError, EstablishedTransport, Socket};
pub(crate) use layers::TransportLayers;
pub(crate) use link::{CLOSE_TIME, Link};
pub use listen_address::ListenAddress;
pub(crate) use listener_context::ListenerContext;
pub(crate) use tls::Tls;
pub use tls::TlsError;
