//! Errors in a client's bytes, and the answer that the client gets.

use crate::packet::{NameError, ReasonCode, Version};

/// The reason for refusing a packet. The text names the fault and the clause. It has nothing of the packet's
/// content and may be logged.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{fault}")]
pub struct DecodeError {
    fault: Fault,
    connack: Option<Version>,
}

impl DecodeError {
    /// The reason code for CONNACK, or for DISCONNECT in 5.0.
    #[must_use]
    pub fn reason(&self) -> ReasonCode {
        match &self.fault {
            Fault::Malformed { .. } | Fault::TopicName(_) => ReasonCode::MalformedPacket,
            Fault::Protocol { .. } => ReasonCode::ProtocolError,
            Fault::TopicAliasZero => ReasonCode::TopicAliasInvalid,
            Fault::TooLarge { .. } => ReasonCode::PacketTooLarge,
            Fault::TooManyUserProperties(_) => ReasonCode::QuotaExceeded,
            Fault::UnknownLevel(_) | Fault::NotMqtt => ReasonCode::UnsupportedProtocolVersion,
            Fault::ClientIdMissing | Fault::ClientIdEmpty => ReasonCode::ClientIdentifierNotValid,
        }
    }

    /// Whether the packet is well formed, but has more user properties than the decoder's limit.
    #[must_use]
    pub fn has_too_many_user_properties(&self) -> bool {
        matches!(self.fault, Fault::TooManyUserProperties(_))
    }

    /// The version of the CONNACK that the server sends before it closes the connection. None if it sends
    /// nothing: the packet is not a CONNECT of MQTT, or the client uses 3.1.1, which has no return
    /// code for a malformed packet [3.1.1 MQTT-3.1.4-1, MQTT-3.2.2-6, 5.0 MQTT-3.1.4-1].
    #[must_use]
    pub fn connack_version(&self) -> Option<Version> {
        self.connack
    }

    /// The error for a CONNECT of `version`; none: the protocol name or level is wrong.
    pub(super) fn in_connect(fault: Fault, version: Option<Version>) -> DecodeError {
        let connack = match &fault {
            // 3.1.1 has return code 1 for this. A level above 5 gets the CONNACK of 5.0, the newest known version
            // [3.1.1 MQTT-3.1.2-2, 5.0 MQTT-3.1.2-2]. Bridges set the high bit, which is ignored here.
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

/// One fault in a packet.
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
    #[error("more than {0} user properties in one packet or will")]
    TooManyUserProperties(u16),
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
