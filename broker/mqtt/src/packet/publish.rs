//! The PUBLISH that goes out. Written once a protocol version and shared by all receivers, so it is the
//! hot path of the broker: one pass to measure, one allocation of that size, one pass to write.

use super::kind::DUP;
use super::wire::{binary, put_binary, put_variable, text, variable_len};
use super::{PacketId, QoS, Version};
use bytes::Bytes;
use std::borrow::Cow;
use std::num::NonZeroU16;

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
    /// True: the payload is UTF-8; false: bytes of any kind. As the sender said, or did not [MQTT-3.3.2-4].
    pub payload_format_indicator: Option<bool>,
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

impl<'a> PublishParts<'a> {
    /// A live message that was sent without properties.
    pub fn new(topic: &'a str, payload: &'a [u8], qos: QoS) -> PublishParts<'a> {
        PublishParts {
            topic,
            payload,
            qos,
            retain: false,
            dup: false,
            payload_format_indicator: None,
            message_expiry: None,
            content_type: None,
            response_topic: None,
            correlation_data: None,
            user_properties: &[],
            subscription_ids: &[],
        }
    }
}

/// One PUBLISH encoded for one protocol version; what differs between receivers is patched in.
#[derive(Debug, Clone)]
pub struct PublishFrame {
    bytes: Bytes,
    /// Where the packet id is to stand; 0: nowhere, QoS 0.
    id_at: u32,
    /// Where the properties begin, their length included; 0: nowhere, 3.1.1.
    properties_at: u32,
    /// Where the seconds left to live stand; 0: nowhere.
    expiry_at: u32,
    /// Bytes of the application message, which is the end of the packet.
    payload: u32,
    /// Whether RETAIN is the publisher's own.
    as_published: bool,
}

/// What a frame is sent with, beyond what all of its receivers get.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Patch {
    /// Needed with QoS 1 and 2 [MQTT-2.2.1-2].
    pub id: Option<PacketId>,
    /// Sent before; nothing with QoS 0 [MQTT-3.3.1-2].
    pub dup: bool,
    /// Seconds left, where the frame has an expiry at all [MQTT-3.3.2-6].
    pub expiry: Option<u32>,
    /// For 5.0 (3.3.2.3.4).
    pub alias: Option<TopicAlias>,
}

/// A number in place of a topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TopicAlias {
    /// Which.
    pub number: NonZeroU16,
    /// Whether the receiver has been told its topic on this connection; else it goes along.
    pub known: bool,
}

impl PublishFrame {
    /// Bytes on the wire, with the topic and without an alias.
    #[allow(clippy::len_without_is_empty)] // a frame is never empty
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// The same when it is [`translated`](Self::translated): an empty list of properties has a length too.
    pub fn len_in(&self, version: Version) -> usize {
        match (self.version(), version) {
            (Version::V3, Version::V5) => {
                let remaining = variable_at(&self.bytes[1..]).0 + 1;
                1 + variable_len(remaining) + remaining
            }
            (Version::V5, Version::V3) => self.translated(version).len(),
            _ => self.len(),
        }
    }

    /// Bytes of the application message.
    pub fn payload_len(&self) -> usize {
        self.payload as usize
    }

    /// Whether a packet id is needed, that is QoS 1 or 2.
    pub fn needs_id(&self) -> bool {
        self.id_at > 0
    }

    /// What it is encoded for.
    pub fn version(&self) -> Version {
        if self.properties_at > 0 {
            Version::V5
        } else {
            Version::V3
        }
    }

    /// The frame as encoded: complete for QoS 0, with packet id 0 for QoS 1 and 2.
    pub fn as_bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// The topic name.
    pub fn topic(&self) -> &[u8] {
        let from = self.topic_at();
        let length = usize::from(u16::from_be_bytes([self.bytes[from], self.bytes[from + 1]]));
        &self.bytes[from + 2..from + 2 + length]
    }

    /// Appends the frame to `out`, patched.
    pub fn write_to(&self, out: &mut Vec<u8>, patch: &Patch) {
        if let (Some(alias), Version::V5) = (patch.alias, self.version()) {
            self.write_with_alias(out, patch, alias);
            return;
        }
        let start = out.len();
        out.extend_from_slice(&self.bytes);
        self.patch(&mut out[start..], patch);
    }

    /// A patched copy; the frame itself where there is nothing to patch.
    pub fn patched(&self, patch: &Patch) -> Bytes {
        let at = self.expiry_at as usize;
        let stands = |e: u32| at == 0 || self.bytes[at..at + 4] == e.to_be_bytes();
        if patch.id.is_none() && patch.alias.is_none() && patch.expiry.is_none_or(stands) {
            return self.bytes.clone();
        }
        let mut copy = Vec::with_capacity(self.bytes.len() + ALIAS_LEN + 1);
        self.write_to(&mut copy, patch);
        copy.into()
    }

    /// Of a standing subscription: where RETAIN is set, then by the publisher [5.0 MQTT-3.3.1-13]. In 3.1.1, which
    /// cannot ask for that, it is 0 [3.1.1 MQTT-3.3.1-9].
    #[must_use]
    pub fn forwarded(self) -> PublishFrame {
        PublishFrame {
            as_published: true,
            ..self
        }
    }

    /// The same message for receivers of another version: 3.1.1 has no properties.
    #[must_use]
    pub fn translated(&self, to: Version) -> PublishFrame {
        if to == self.version() {
            return self.clone();
        }
        let variable = self.topic_at();
        let (head, rest) = match self.version() {
            Version::V5 => {
                let at = self.properties_at as usize;
                let (length, width) = variable_at(&self.bytes[at..]);
                (
                    &self.bytes[variable..at],
                    &self.bytes[at + width + length..],
                )
            }
            Version::V3 => {
                let id = if self.needs_id() { 2 } else { 0 };
                let at = variable + 2 + self.topic().len() + id;
                (&self.bytes[variable..at], &self.bytes[at..])
            }
        };
        let none: &[u8] = match to {
            Version::V5 => &[0],
            Version::V3 => &[],
        };
        let remaining = head.len() + none.len() + rest.len();
        let mut out = Vec::with_capacity(5 + remaining);
        let retain = !(self.as_published && to == Version::V3);
        out.push(self.bytes[0] & (0xFE | u8::from(retain)));
        put_variable(&mut out, remaining);
        let moved = out.len();
        out.extend_from_slice(head);
        let properties_at = if none.is_empty() { 0 } else { place(&out) };
        out.extend_from_slice(none);
        out.extend_from_slice(rest);
        let id_at = if self.needs_id() {
            u32::try_from(self.id_at as usize - variable + moved).unwrap_or(0)
        } else {
            0
        };
        PublishFrame {
            bytes: out.into(),
            id_at,
            properties_at,
            expiry_at: 0,
            payload: self.payload,
            as_published: self.as_published,
        }
    }

    /// Where the length of the topic stands.
    fn topic_at(&self) -> usize {
        1 + variable_at(&self.bytes[1..]).1
    }

    fn patch(&self, frame: &mut [u8], patch: &Patch) {
        if let (Some(id), true) = (patch.id, self.needs_id()) {
            let at = self.id_at as usize;
            frame[at..at + 2].copy_from_slice(&id.get().to_be_bytes());
            frame[0] = if patch.dup {
                frame[0] | DUP
            } else {
                frame[0] & !DUP
            };
        }
        if let (Some(seconds), true) = (patch.expiry, self.expiry_at > 0) {
            let at = self.expiry_at as usize;
            frame[at..at + 4].copy_from_slice(&seconds.to_be_bytes());
        }
    }

    fn write_with_alias(&self, out: &mut Vec<u8>, patch: &Patch, alias: TopicAlias) {
        let (variable, properties) = (self.topic_at(), self.properties_at as usize);
        let topic = self.topic().len();
        let (length, width) = variable_at(&self.bytes[properties..]);
        // Behind the properties, so that what stands before keeps its distances.
        let end = properties + width + length;
        let skipped = if alias.known { topic } else { 0 };
        let new_length = length + ALIAS_LEN;
        let remaining = self.bytes.len() - variable - skipped - width - length
            + variable_len(new_length)
            + new_length;
        let mut head = Vec::with_capacity(end + ALIAS_LEN + 1);
        head.extend_from_slice(&self.bytes[..end]);
        self.patch(&mut head, patch);
        out.push(head[0]);
        put_variable(out, remaining);
        if alias.known {
            out.extend_from_slice(&[0, 0]);
        } else {
            out.extend_from_slice(&head[variable..variable + 2 + topic]);
        }
        out.extend_from_slice(&head[variable + 2 + topic..properties]);
        put_variable(out, new_length);
        out.extend_from_slice(&head[properties + width..end]);
        out.push(0x23);
        out.extend_from_slice(&alias.number.get().to_be_bytes());
        out.extend_from_slice(&self.bytes[end..]);
    }
}

/// Bytes of the property Topic Alias.
const ALIAS_LEN: usize = 3;

/// A Variable Byte Integer of our own writing: its value and how many bytes it takes.
fn variable_at(bytes: &[u8]) -> (usize, usize) {
    let (mut value, mut width) = (0, 0);
    for byte in bytes.iter().take(4) {
        value |= usize::from(byte & 0x7F) << (7 * width);
        width += 1;
        if byte & 0x80 == 0 {
            break;
        }
    }
    (value, width)
}

/// The place of what is written next; a packet has fewer bytes than 32 bits count.
fn place(out: &[u8]) -> u32 {
    u32::try_from(out.len()).unwrap_or(0)
}

/// Encodes `parts` for receivers that speak `version`.
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
    let id_at = if has_id { place(&out) } else { 0 };
    if has_id {
        out.extend_from_slice(&[0, 0]);
    }
    let (mut properties_at, mut expiry_at) = (0, 0);
    if version == Version::V5 {
        properties_at = place(&out);
        put_variable(&mut out, properties);
        if let Some(seconds) = parts.message_expiry {
            out.push(0x02);
            expiry_at = place(&out);
            out.extend_from_slice(&seconds.to_be_bytes());
        }
        put_properties(&mut out, parts);
    }
    out.extend_from_slice(parts.payload);
    debug_assert_eq!(out.len(), out.capacity(), "measured and written differ");
    PublishFrame {
        bytes: out.into(),
        id_at,
        properties_at,
        expiry_at,
        payload: u32::try_from(parts.payload.len()).unwrap_or(0),
        as_published: false,
    }
}

fn first_byte(parts: &PublishParts<'_>) -> u8 {
    let dup = parts.dup && parts.qos != QoS::AtMostOnce; // [MQTT-3.3.1-2, MQTT-4.3.1-1]
    0x30 | (u8::from(dup) << 3) | ((parts.qos as u8) << 1) | u8::from(parts.retain)
}

fn properties_len(parts: &PublishParts<'_>) -> usize {
    let field = |bytes: &[u8]| 1 + 2 + bytes.len();
    let mut len = 0;
    len += parts.payload_format_indicator.map_or(0, |_| 2);
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

/// All but the expiry, which stands first.
fn put_properties(out: &mut Vec<u8>, parts: &PublishParts<'_>) {
    if let Some(is_text) = parts.payload_format_indicator {
        out.extend_from_slice(&[0x01, u8::from(is_text)]);
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
