//! What is wrong with a client's bytes, and what the client may be told.

use crate::packet::{NameError, ReasonCode, Version};

/// Why a packet was refused. The text names what is wrong and the clause; it has nothing of the packet's
/// content in it and may be logged.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{fault}")]
pub struct DecodeError {
    fault: Fault,
    connack: Option<Version>,
}

impl DecodeError {
    /// The code for a CONNACK or a 5.0 DISCONNECT.
    pub fn reason(&self) -> ReasonCode {
        match &self.fault {
            Fault::Malformed { .. } | Fault::TopicName(_) => ReasonCode::MalformedPacket,
            Fault::Protocol { .. } => ReasonCode::ProtocolError,
            Fault::TopicAliasZero => ReasonCode::TopicAliasInvalid,
            Fault::TooLarge { .. } => ReasonCode::PacketTooLarge,
            Fault::UnknownLevel(_) | Fault::NotMqtt => ReasonCode::UnsupportedProtocolVersion,
            Fault::ClientIdMissing | Fault::ClientIdEmpty => ReasonCode::ClientIdentifierNotValid,
        }
    }

    /// For a CONNECT that may be answered before the connection is closed: in which version's CONNACK.
    /// None where the client is to be told nothing: it is no MQTT client, or speaks 3.1.1, which has no
    /// code for a malformed packet [3.1.1 MQTT-3.1.4-1, MQTT-3.2.2-6, 5.0 MQTT-3.1.4-1].
    pub fn connack_version(&self) -> Option<Version> {
        self.connack
    }

    /// The same, for a CONNECT of `version`.
    pub(super) fn in_connect(fault: Fault, version: Option<Version>) -> DecodeError {
        let connack = match &fault {
            // 3.1.1 has return code 1 for it; a level above 5 is told in the newest we know
            // [3.1.1 MQTT-3.1.2-2, 5.0 MQTT-3.1.2-2]. The high bit is how bridges mark themselves.
            Fault::UnknownLevel(level) if level & 0x7F < 5 => Some(Version::V3),
            Fault::UnknownLevel(_) => Some(Version::V5),
            // [3.1.1 MQTT-3.1.3-8], 3.1 3.1
            Fault::ClientIdMissing | Fault::ClientIdEmpty => Some(Version::V3),
            _ => version.filter(|version| *version == Version::V5), // 5.0 4.13.1
        };
        DecodeError { fault, connack }
    }
}

impl From<Fault> for DecodeError {
    fn from(fault: Fault) -> DecodeError {
        DecodeError {
            fault,
            connack: None,
        }
    }
}

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum Fault {
    #[error("malformed packet: {what} [{clause}]")]
    Malformed {
        what: &'static str,
        clause: &'static str,
    },
    #[error("protocol error: {what} [{clause}]")]
    Protocol {
        what: &'static str,
        clause: &'static str,
    },
    #[error("malformed topic name: {0}")]
    TopicName(#[from] NameError),
    #[error("topic alias 0; aliases start at 1 [5.0 MQTT-3.3.2-8]")]
    TopicAliasZero,
    #[error("a packet of {bytes} bytes; the limit is {most}")]
    TooLarge { bytes: usize, most: u32 },
    #[error("protocol level {0}; 3 (MQIsdp), 4 and 5 (MQTT) are spoken here [MQTT-3.1.2-2]")]
    UnknownLevel(u8),
    #[error("the CONNECT is not one of MQTT [MQTT-3.1.2-1]")]
    NotMqtt,
    #[error("an empty client id needs a clean session in 3.1.1 [3.1.1 MQTT-3.1.3-8]")]
    ClientIdMissing,
    #[error("an empty client id; in 3.1 it has 1 to 23 characters (3.1 3.1)")]
    ClientIdEmpty,
}

impl Fault {
    pub(super) fn malformed(what: &'static str, clause: &'static str) -> Fault {
        Fault::Malformed { what, clause }
    }

    pub(super) fn protocol(what: &'static str, clause: &'static str) -> Fault {
        Fault::Protocol { what, clause }
    }
}
