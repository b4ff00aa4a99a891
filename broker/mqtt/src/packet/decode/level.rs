//! The protocol levels that a CONNECT may name.

use crate::packet::Version;

/// The protocol name and level of a CONNECT. 3.1 differs from 3.1.1 in the packets that a client may send, and its
/// CONNACK has no session present flag.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Level {
    V31,
    V311,
    V5,
}

impl Level {
    /// The protocol level in the packet.
    pub(super) fn number(self) -> u8 {
        match self {
            Level::V31 => 3,
            Level::V311 => 4,
            Level::V5 => 5,
        }
    }

    pub(super) fn version(self) -> Version {
        match self {
            Level::V31 | Level::V311 => Version::V3,
            Level::V5 => Version::V5,
        }
    }
}
