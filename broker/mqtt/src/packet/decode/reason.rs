//! Decodes DISCONNECT and AUTH, and the reason code of any packet.

use super::error::Fault;
use super::properties::{self, Properties, Property};
use super::reader::Reader;
use crate::packet::kind::{AUTH, DISCONNECT};
use crate::packet::{Auth, Disconnect, ReasonCode, Version};

/// Reads the reason code of a packet of this `kind`; success if it is absent.
pub(super) fn reason(kind: u8, reader: &mut Reader) -> Result<ReasonCode, Fault> {
    if reader.is_empty() {
        return Ok(ReasonCode::Success);
    }
    ReasonCode::from_client(kind, reader.byte()?).ok_or(Fault::malformed(
        "a reason code that this packet does not have",
        "5.0 2.4",
    ))
}

/// Reads a DISCONNECT of `version`.
pub(super) fn disconnect(version: Version, reader: &mut Reader) -> Result<Disconnect, Fault> {
    let mut disconnect = Disconnect {
        reason: ReasonCode::Success,
        session_expiry: None,
    };
    if version == Version::V3 {
        return Ok(disconnect);
    }
    if matches!(
        reader.first(),
        Some(0x87 | 0x89 | 0x8B | 0x8D..=0x8F | 0x9A..=0xA2)
    ) {
        return Err(Fault::protocol(
            "DISCONNECT with a reason that only servers have",
            "5.0 MQTT-3.14.2-1",
        ));
    }
    disconnect.reason = reason(DISCONNECT, reader)?;
    if !reader.is_empty() {
        let mut properties = Properties::of(properties::DISCONNECT, reader)?;
        while let Some(property) = properties.next()? {
            if let Property::SessionExpiry(seconds) = property {
                disconnect.session_expiry = Some(seconds);
            }
        }
    }
    Ok(disconnect)
}

/// Reads an AUTH. A client sends continue or re-authenticate, and the method; only a server sends success
/// (3.15.2.1, 3.15.2.2.2).
pub(super) fn auth(reader: &mut Reader) -> Result<Auth, Fault> {
    let reason = reason(AUTH, reader)?;
    if reason == ReasonCode::Success {
        return Err(Fault::protocol(
            "AUTH with success from a client",
            "5.0 3.15.2.1",
        ));
    }
    let (mut method, mut data) = (None, None);
    if !reader.is_empty() {
        let mut properties = Properties::of(properties::AUTH, reader)?;
        while let Some(property) = properties.next()? {
            match property {
                Property::AuthenticationMethod(name) => method = Some(name),
                Property::AuthenticationData(bytes) => data = Some(bytes),
                _ => {}
            }
        }
    }
    if method.is_none() {
        return Err(Fault::protocol("AUTH without a method", "5.0 3.15.2.2.2"));
    }
    Ok(Auth {
        reason,
        method,
        data,
    })
}
