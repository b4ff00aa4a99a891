//! A listener as its connections know it.

use super::layers::TransportLayers;
use super::listen_address::ListenAddress;
use crate::gate::Gate;
use std::time::Duration;

/// What all connections of one listener share.
#[derive(Debug)]
pub(crate) struct ListenerContext {
    pub address: ListenAddress,
    pub layers: TransportLayers,
    /// From accept to a whole CONNECT.
    pub handshake_time: Duration,
    /// How many connections it may have.
    pub connections: usize,
    /// Those that it has.
    pub open: Gate,
}
