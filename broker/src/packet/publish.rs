//! The PUBLISH that goes out. Written once a protocol version and shared by all receivers, so it is the
//! hot path of the broker: one pass to measure, one allocation of that size, one pass to write.

use super::wire::{binary, put_binary, put_variable, text, variable_len};
use super::{PacketId, QoS, Version};
use bytes::Bytes;
use std::borrow::Cow;

const DUP: u8 = 0b1000;

/// What a PUBLISH says. 3.1.1 has only the first five fields; the rest is left out there.
///
/// Strings and correlation data have at most 65,535 bytes and are cut there; the whole packet has at most
/// 268,435,455 past its fixed header, which no packet limit that fits a machine lets through.
#[derive(Debug, Clone, Copy)]
pub struct PublishParts<'a> {
    /// Where to.
    pub topic: &'a str,
    /// The application message.
    pub payload: &'a [u8],
    /// The QoS of the delivery.
    pub qos: QoS,
    /// Retain flag as the receiver is to see it [MQTT-3.3.1-8, MQTT-3.3.1-9, MQTT-3.3.1-12, MQTT-3.3.1-13].
    pub retain: bool,
    /// Sent before; never with QoS 0 [MQTT-3.3.1-2].
    pub dup: bool,
    /// Payload format indicator [MQTT-3.3.2-4].
    pub payload_is_utf8: bool,
    /// Seconds left [MQTT-3.3.2-6].
    pub message_expiry: Option<u32>,
    /// [MQTT-3.3.2-20]
    pub content_type: Option<&'a str>,
    /// [MQTT-3.3.2-15]
    pub response_topic: Option<&'a str>,
    /// [MQTT-3.3.2-16]
    pub correlation_data: Option<&'a [u8]>,
    /// In their order [MQTT-3.3.2-17, MQTT-3.3.2-18].
    pub user_properties: &'a [(Cow<'a, str>, Cow<'a, str>)],
    /// Of each matching subscription that has one: 1 to 268,435,455 [MQTT-3.3.4-3].
    pub subscription_ids: &'a [u32],
}

/// One PUBLISH encoded for one protocol version; the packet id is patched per receiver.
#[derive(Debug, Clone)]
pub struct PublishFrame {
    bytes: Bytes,
    /// Where the packet id is to stand; 0: nowhere, QoS 0.
    id_at: usize,
}

impl PublishFrame {
    /// Bytes on the wire.
    #[must_use]
    #[allow(clippy::len_without_is_empty)] // a frame is never empty
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Whether a packet id is needed, that is QoS 1 or 2.
    #[must_use]
    pub fn needs_id(&self) -> bool {
        self.id_at > 0
    }

    /// The frame as encoded: complete for QoS 0, with packet id 0 for QoS 1 and 2.
    #[must_use]
    pub fn as_bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// Appends the frame to `out`. `id` and `dup` matter for QoS 1 and 2 only [MQTT-2.2.1-2, MQTT-3.3.1-2].
    pub fn write_to(&self, out: &mut Vec<u8>, id: Option<PacketId>, dup: bool) {
        let start = out.len();
        out.extend_from_slice(&self.bytes);
        if let Some(id) = id {
            self.patch(&mut out[start..], id, dup);
        }
    }

    /// A copy with `id` and `dup` in it; the frame itself where it is QoS 0.
    #[must_use]
    pub fn with_id(&self, id: PacketId, dup: bool) -> Bytes {
        if !self.needs_id() {
            return self.bytes.clone();
        }
        let mut copy = self.bytes.to_vec();
        self.patch(&mut copy, id, dup);
        copy.into()
    }

    fn patch(&self, frame: &mut [u8], id: PacketId, dup: bool) {
        if !self.needs_id() {
            return;
        }
        frame[self.id_at..self.id_at + 2].copy_from_slice(&id.get().to_be_bytes());
        frame[0] = if dup { frame[0] | DUP } else { frame[0] & !DUP };
    }
}

/// Encodes `parts` for receivers that speak `version`.
#[must_use]
pub fn encode_publish(version: Version, parts: &PublishParts<'_>) -> PublishFrame {
    let has_id = parts.qos != QoS::AtMostOnce;
    let properties = match version {
        Version::V3 => 0,
        Version::V5 => properties_len(parts),
    };
    let properties_field = match version {
        Version::V3 => 0,
        Version::V5 => variable_len(properties) + properties,
    };
    let remaining = 2
        + text(parts.topic).len()
        + if has_id { 2 } else { 0 }
        + properties_field
        + parts.payload.len();

    let mut out = Vec::with_capacity(1 + variable_len(remaining) + remaining);
    out.push(first_byte(parts));
    put_variable(&mut out, remaining);
    put_binary(&mut out, text(parts.topic));
    let id_at = if has_id { out.len() } else { 0 };
    if has_id {
        out.extend_from_slice(&[0, 0]);
    }
    if version == Version::V5 {
        put_variable(&mut out, properties);
        put_properties(&mut out, parts);
    }
    out.extend_from_slice(parts.payload);
    debug_assert_eq!(out.len(), out.capacity(), "measured and written differ");
    PublishFrame {
        bytes: out.into(),
        id_at,
    }
}

fn first_byte(parts: &PublishParts<'_>) -> u8 {
    let dup = parts.dup && parts.qos != QoS::AtMostOnce; // [MQTT-3.3.1-2]
    0x30 | (u8::from(dup) << 3) | ((parts.qos as u8) << 1) | u8::from(parts.retain)
}

fn properties_len(parts: &PublishParts<'_>) -> usize {
    let field = |bytes: &[u8]| 1 + 2 + bytes.len();
    let mut len = 0;
    len += if parts.payload_is_utf8 { 2 } else { 0 };
    len += parts.message_expiry.map_or(0, |_| 5);
    len += parts.content_type.map_or(0, |kind| field(text(kind)));
    len += parts.response_topic.map_or(0, |topic| field(text(topic)));
    len += parts.correlation_data.map_or(0, |data| field(binary(data)));
    for (name, value) in parts.user_properties {
        len += field(text(name)) + 2 + text(value).len();
    }
    for id in parts.subscription_ids {
        len += 1 + variable_len(*id as usize);
    }
    len
}

fn put_properties(out: &mut Vec<u8>, parts: &PublishParts<'_>) {
    if parts.payload_is_utf8 {
        out.extend_from_slice(&[0x01, 1]);
    }
    if let Some(seconds) = parts.message_expiry {
        out.push(0x02);
        out.extend_from_slice(&seconds.to_be_bytes());
    }
    if let Some(kind) = parts.content_type {
        out.push(0x03);
        put_binary(out, text(kind));
    }
    if let Some(topic) = parts.response_topic {
        out.push(0x08);
        put_binary(out, text(topic));
    }
    if let Some(data) = parts.correlation_data {
        out.push(0x09);
        put_binary(out, binary(data));
    }
    for id in parts.subscription_ids {
        out.push(0x0B);
        put_variable(out, *id as usize);
    }
    for (name, value) in parts.user_properties {
        out.push(0x26);
        put_binary(out, text(name));
        put_binary(out, text(value));
    }
}
