//! A listener as its connections see it.

use super::layers::TransportLayers;
use super::listen_address::ListenAddress;
use crate::gate::Gate;
use std::time::Duration;

/// The values that all connections of one listener share.
#[derive(Debug)]
pub(crate) struct ListenerContext {
    /// The address that log lines show.
    pub address: ListenAddress,
    pub layers: TransportLayers,
    /// The time from accept to a complete CONNECT.
    pub handshake_time: Duration,
    /// The limit on open connections.
    pub connections: usize,
    /// The open connections.
    pub open: Gate,
}
