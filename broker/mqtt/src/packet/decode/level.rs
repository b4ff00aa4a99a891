//! The protocol levels that a CONNECT may name.

use crate::packet::Version;

/// What a CONNECT says it speaks, by name and level. 3.1 differs from 3.1.1 in what a client may send, and in a
/// CONNACK without the flag of a session that goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Level {
    V31,
    V311,
    V5,
}

impl Level {
    /// The level as it stands in the packet.
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
