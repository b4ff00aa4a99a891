//! Encodes the server's PUBLISH, once for each protocol version; all receivers share the bytes. This is the
//! hot path of the broker: one pass to measure, one allocation of that size, one pass to write.

use super::kind::DUP;
use super::wire::{binary, put_binary, put_variable, text, variable_len};
use super::{PacketId, QoS, Version};
use bytes::Bytes;
use std::borrow::Cow;
use std::num::NonZeroU16;

/// The fields of a PUBLISH. 3.1.1 has only the first five; its encoding leaves out the others.
///
/// The encoder cuts strings and correlation data at 65,535 bytes. The caller ensures that the packet has at most
/// 268,435,455 bytes after its fixed header; every sensible packet limit is lower.
#[derive(Debug, Clone, Copy)]
pub struct PublishParts<'a> {
    /// The topic.
    pub topic: &'a str,
    /// The application message.
    pub payload: &'a [u8],
    /// The QoS of the delivery.
    pub qos: QoS,
    /// The RETAIN flag that the receiver gets [MQTT-3.3.1-8, MQTT-3.3.1-9, MQTT-3.3.1-12, MQTT-3.3.1-13].
    pub retain: bool,
    /// The DUP flag: the packet may have been sent before; ignored with QoS 0 [MQTT-3.3.1-2].
    pub dup: bool,
    /// True: the payload is UTF-8; false: bytes of any kind. The publisher's own value [MQTT-3.3.2-4].
    pub payload_format_indicator: Option<bool>,
    /// Seconds until the message expires [MQTT-3.3.2-6].
    pub message_expiry: Option<u32>,
    /// The publisher's content type [MQTT-3.3.2-20].
    pub content_type: Option<&'a str>,
    /// The publisher's response topic [MQTT-3.3.2-15].
    pub response_topic: Option<&'a str>,
    /// The publisher's correlation data [MQTT-3.3.2-16].
    pub correlation_data: Option<&'a [u8]>,
    /// The publisher's user properties, in their order [MQTT-3.3.2-17, MQTT-3.3.2-18].
    pub user_properties: &'a [(Cow<'a, str>, Cow<'a, str>)],
    /// The identifiers of all matching subscriptions that have one: 1 to 268,435,455 [MQTT-3.3.4-3].
    pub subscription_ids: &'a [u32],
}

impl<'a> PublishParts<'a> {
    /// A live message without properties: RETAIN and DUP are 0.
    #[must_use]
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

/// One PUBLISH encoded for one protocol version. A [`Patch`] sets the fields that differ between receivers.
#[derive(Debug, Clone)]
pub struct PublishFrame {
    bytes: Bytes,
    /// Offset of the packet id; 0: none, since the QoS is 0.
    id_at: u32,
    /// Offset of the property length; 0: none, since the frame is for 3.1.1.
    properties_at: u32,
    /// Offset of the message expiry's four bytes; 0: none.
    expiry_at: u32,
    /// Bytes of the application message, which ends the packet.
    payload: u32,
    /// Whether RETAIN, if set, was set by the publisher (Retain As Published).
    as_published: bool,
}

/// The fields of a frame that differ between its receivers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Patch {
    /// The packet identifier; required with QoS 1 and 2, ignored with QoS 0 [MQTT-2.2.1-2].
    pub id: Option<PacketId>,
    /// The DUP flag: the packet may have been sent before; ignored with QoS 0 [MQTT-3.3.1-2].
    pub dup: bool,
    /// Seconds until the message expires; ignored if the frame has no expiry [MQTT-3.3.2-6].
    pub expiry: Option<u32>,
    /// The topic alias (3.3.2.3.4); ignored in 3.1.1.
    pub alias: Option<TopicAlias>,
}

/// A topic alias: a number that replaces a topic on one connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TopicAlias {
    /// The alias.
    pub number: NonZeroU16,
    /// Whether the receiver knows the topic of this alias; if not, the packet has the topic, too.
    pub known: bool,
}

impl PublishFrame {
    /// Bytes of the packet with its topic and without an alias.
    #[allow(clippy::len_without_is_empty)] // a frame is never empty
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Bytes of the packet [`translated`](Self::translated) to `version`; 5.0 adds the length of its empty properties.
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

    /// Whether the packet needs a packet id, that is, has QoS 1 or 2.
    pub fn needs_id(&self) -> bool {
        self.id_at > 0
    }

    /// The version that the frame is encoded for.
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

    /// Appends the frame to `out` with the fields of `patch`.
    pub fn write_to(&self, out: &mut Vec<u8>, patch: &Patch) {
        if let (Some(alias), Version::V5) = (patch.alias, self.version()) {
            self.write_with_alias(out, patch, alias);
            return;
        }
        let start = out.len();
        out.extend_from_slice(&self.bytes);
        self.patch(&mut out[start..], patch);
    }

    /// A copy with the fields of `patch`, or the shared bytes if `patch` changes nothing.
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

    /// Marks a frame for an existing subscription: if RETAIN is set, the publisher set it [5.0 MQTT-3.3.1-13]. 3.1.1
    /// has no Retain As Published, so a translation to it clears RETAIN [3.1.1 MQTT-3.3.1-9].
    #[must_use]
    pub fn forwarded(self) -> PublishFrame {
        PublishFrame {
            as_published: true,
            ..self
        }
    }

    /// The same message for receivers of version `to`. A frame for another version has no properties.
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

    /// The offset of the topic length.
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
        // The alias follows the other properties, so that the offsets of all fields before it stay valid.
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

/// Reads a Variable Byte Integer that this module wrote. Returns its value and its length in bytes.
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

/// The offset of the next byte that is written. Every valid packet has fewer bytes than 32 bits count.
fn place(out: &[u8]) -> u32 {
    u32::try_from(out.len()).unwrap_or(0)
}

/// Encodes `parts` for receivers that use `version`.
#[must_use]
pub fn encode_publish(version: Version, parts: &PublishParts<'_>) -> PublishFrame {
    let lengths = PublishLengths::of(version, parts);
    let mut out = Vec::with_capacity(lengths.packet());
    let [id_at, properties_at, expiry_at] = lengths.write(version, parts, &mut out);
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

/// The lengths of a PUBLISH that is to be encoded.
pub(crate) struct PublishLengths {
    /// Of the properties.
    properties: usize,
    /// The remaining length.
    remaining: usize,
}

impl PublishLengths {
    pub(crate) fn of(version: Version, parts: &PublishParts<'_>) -> Self {
        let id = if parts.qos == QoS::AtMostOnce { 0 } else { 2 };
        let (properties, field) = match version {
            Version::V3 => (0, 0),
            Version::V5 => {
                let properties = properties_len(parts);
                (properties, variable_len(properties) + properties)
            }
        };
        PublishLengths {
            properties,
            remaining: 2 + text(parts.topic).len() + id + field + parts.payload.len(),
        }
    }

    /// The length of the whole packet.
    pub(crate) fn packet(&self) -> usize {
        1 + variable_len(self.remaining) + self.remaining
    }

    /// Adds the packet to `out`. Returns the places of the packet id, the properties and the expiry
    /// in `out`; 0: it has none.
    pub(crate) fn write(
        &self,
        version: Version,
        parts: &PublishParts<'_>,
        out: &mut Vec<u8>,
    ) -> [u32; 3] {
        out.push(first_byte(parts));
        put_variable(out, self.remaining);
        put_binary(out, text(parts.topic));
        let mut places = [0; 3];
        if parts.qos != QoS::AtMostOnce {
            places[0] = place(out);
            out.extend_from_slice(&[0, 0]);
        }
        if version == Version::V5 {
            places[1] = place(out);
            put_variable(out, self.properties);
            if let Some(seconds) = parts.message_expiry {
                out.push(0x02);
                places[2] = place(out);
                out.extend_from_slice(&seconds.to_be_bytes());
            }
            put_properties(out, parts);
        }
        out.extend_from_slice(parts.payload);
        places
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

/// Writes all properties except the message expiry, which the caller has written first.
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
