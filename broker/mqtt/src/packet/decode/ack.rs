//! PUBACK, PUBREC, PUBREL and PUBCOMP that say nothing but the packet id: one a message, so read by ourselves.

use super::error::Fault;
use super::kind::{PUBACK, PUBREC, PUBREL};
use crate::packet::{Ack, Packet, PacketId, ReasonCode};

/// Reads the ack of `kind` whose body is the packet id alone, which means success (5.0 3.4.2.1).
#[inline]
pub(super) fn success(kind: u8, id: &[u8]) -> Result<Packet, Fault> {
    let id = id.try_into().map_or(0, u16::from_be_bytes);
    let ack = Ack {
        packet_id: packet_id(id)?,
        reason: ReasonCode::Success,
    };
    Ok(match kind {
        PUBACK => Packet::PubAck(ack),
        PUBREC => Packet::PubRec(ack),
        PUBREL => Packet::PubRel(ack),
        _ => Packet::PubComp(ack),
    })
}

/// A packet id as read; never 0 [3.1.1 MQTT-2.3.1-1, 5.0 MQTT-2.2.1-3].
#[inline]
pub(super) fn packet_id(id: u16) -> Result<PacketId, Fault> {
    PacketId::new(id).ok_or(Fault::malformed(
        "packet id 0",
        "3.1.1 MQTT-2.3.1-1, 5.0 MQTT-2.2.1-3",
    ))
}
