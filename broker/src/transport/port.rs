//! A listener as its connections know it.

use super::layers::Layers;
use super::place::Place;
use crate::gate::Gate;
use std::time::Duration;

/// What all connections of one listener share.
#[derive(Debug)]
pub(crate) struct Port {
    pub place: Place,
    pub layers: Layers,
    /// From accept to a whole CONNECT.
    pub handshake_time: Duration,
    /// How many connections it may have.
    pub connections: usize,
    /// Those that it has.
    pub open: Gate,
}
