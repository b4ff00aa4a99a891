//! Decodes PUBACK, PUBREC, PUBREL and PUBCOMP.

use super::error::Fault;
use super::properties::{self, Properties};
use super::reader::Reader;
use super::reason::reason;
use crate::packet::kind::{PUBACK, PUBREC, PUBREL};
use crate::packet::{Ack, Packet, PacketId, ReasonCode, Version};

/// Reads an acknowledgement whose body is the packet id alone, which means success (5.0 3.4.2.1). Each message
/// has such an acknowledgement, so this fast path makes no other checks.
#[inline]
pub(super) fn success(kind: u8, id: &[u8]) -> Result<Packet, Fault> {
    let id = id.try_into().map_or(0, u16::from_be_bytes);
    Ok(ack(kind, packet_id(id)?, ReasonCode::Success))
}

/// Reads an acknowledgement of any other length. Only 5.0 allows more than a packet id, and no version less.
pub(super) fn with_reason(
    version: Version,
    kind: u8,
    reader: &mut Reader,
) -> Result<Packet, Fault> {
    let id = packet_id(reader.two_bytes()?)?;
    if version == Version::V3 {
        return Err(Fault::malformed(
            "an acknowledgement has more than a packet id",
            "3.1.1 3.4, 3.5, 3.6, 3.7",
        ));
    }
    let reason = reason(kind, reader)?;
    if !reader.is_empty() {
        Properties::of(properties::ACK, reader)?.check()?;
    }
    Ok(ack(kind, id, reason))
}

fn ack(kind: u8, packet_id: PacketId, reason: ReasonCode) -> Packet {
    let ack = Ack { packet_id, reason };
    match kind {
        PUBACK => Packet::PubAck(ack),
        PUBREC => Packet::PubRec(ack),
        PUBREL => Packet::PubRel(ack),
        _ => Packet::PubComp(ack),
    }
}

/// The packet id; an error for 0 [3.1.1 MQTT-2.3.1-1, 5.0 MQTT-2.2.1-3].
#[inline]
pub(super) fn packet_id(id: u16) -> Result<PacketId, Fault> {
    PacketId::new(id).ok_or(Fault::malformed(
        "packet id 0",
        "3.1.1 MQTT-2.3.1-1, 5.0 MQTT-2.2.1-3",
    ))
}
