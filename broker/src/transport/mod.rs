//! From an accepted socket to bytes of MQTT: PROXY header, TLS and WebSocket, in this order.
//!
//! Architecture invariant: all layers are established in the connection's own task and within the listener's
//! `handshake_time`. A peer that hangs in one of them delays no other connection.

mod frame_tracker;
mod layers;
mod link;
mod listen_address;
mod proxy;
mod spoken;
mod tls;
mod upgrade;
mod websocket;

pub(crate) use layers::{
    EstablishedTransport, ListenerContext, Socket, TransportError, TransportLayers,
};
pub(crate) use link::{CLOSE_TIME, Link};
pub use listen_address::ListenAddress;
pub(crate) use spoken::Spoken;
pub(crate) use tls::{CertificateUserError, Tls, log_failure, watch_tls_files};
pub use tls::{TlsError, key_fault};
