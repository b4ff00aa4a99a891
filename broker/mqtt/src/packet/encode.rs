//! Encodes the server's packets, except PUBLISH, which has its own file.

use super::kind::{
    AUTH, CONNACK, DISCONNECT, PINGRESP, PUBACK, PUBCOMP, PUBREC, PUBREL, RESERVED, SUBACK,
    UNSUBACK,
};
use super::wire::{LONGEST, binary, put_binary, put_variable, text, variable_len};
use super::{Authentication, ConnAck, PacketId, QoS, ReasonCode, Reply, Version};
use bytestring::ByteString;

/// Appends `reply`, encoded for `version`, to `out`. For 3.1.1 it writes no DISCONNECT and no AUTH.
///
/// It leaves out the reason string if
/// - `problem_information` is false, except in CONNACK and DISCONNECT [5.0 MQTT-3.1.2-29],
/// - the string has more than 65,535 bytes, or
/// - the packet would exceed `max_packet` bytes with it
///   [5.0 MQTT-3.2.2-19, MQTT-3.4.2-2, MQTT-3.5.2-2, MQTT-3.6.2-2, MQTT-3.7.2-2, MQTT-3.9.2-1, MQTT-3.11.2-1,
///   MQTT-3.14.2-3, MQTT-3.15.2-2].
///
/// It writes nothing if the packet exceeds `max_packet` without a reason string [5.0 MQTT-3.1.2-24, MQTT-3.1.2-25].
/// It writes no user properties, so they make no packet too large [5.0 MQTT-3.2.2-20, MQTT-3.4.2-3, MQTT-3.5.2-3,
/// MQTT-3.6.2-3, MQTT-3.7.2-3, MQTT-3.9.2-2, MQTT-3.11.2-2, MQTT-3.14.2-4, MQTT-3.15.2-3].
///
/// A reason that the packet must not carry becomes `UnspecifiedError` (0x80), in PUBREL and PUBCOMP 0x92. Other strings
/// and data are cut at 65,535 bytes.
pub fn encode(
    version: Version,
    reply: &Reply,
    problem_information: bool,
    max_packet: Option<u32>,
    out: &mut Vec<u8>,
) {
    match version {
        Version::V3 => encode_v3(reply, out),
        Version::V5 => V5 {
            problem_information,
            most: max_packet.map_or(usize::MAX, |bytes| bytes as usize),
            out,
        }
        .encode(reply),
    }
}

fn encode_v3(reply: &Reply, out: &mut Vec<u8>) {
    match reply {
        Reply::ConnAck(ack) => {
            // [3.1.1 MQTT-3.2.2-4]
            let present = ack.session_present && ack.reason == ReasonCode::Success;
            let code = return_code(ack.reason);
            out.extend_from_slice(&[CONNACK << 4, 2, u8::from(present), code]);
        }
        Reply::PubAck(id, ..) => put_ack(out, PUBACK, *id, 0),
        Reply::PubRec(id, ..) => put_ack(out, PUBREC, *id, 0),
        Reply::PubRel(id, ..) => put_ack(out, PUBREL, *id, 0),
        Reply::PubComp(id, ..) => put_ack(out, PUBCOMP, *id, 0),
        Reply::SubAck(id, reasons, _) => {
            out.push(SUBACK << 4);
            put_variable(out, 2 + reasons.len());
            out.extend_from_slice(&id.get().to_be_bytes());
            out.extend(reasons.iter().map(|reason| suback_v3(*reason)));
        }
        Reply::UnsubAck(id, ..) => put_ack(out, UNSUBACK, *id, 0),
        Reply::PingResp => out.extend_from_slice(&[PINGRESP << 4, 0]),
        Reply::Disconnect(..) | Reply::Auth(..) => {}
    }
}

/// The return code of 3.1.1, which has six (3.2.2.3).
fn return_code(reason: ReasonCode) -> u8 {
    match reason {
        ReasonCode::Success => 0,
        ReasonCode::UnsupportedProtocolVersion => 1,
        ReasonCode::ClientIdentifierNotValid => 2,
        ReasonCode::BadUserNameOrPassword | ReasonCode::BadAuthenticationMethod => 4,
        ReasonCode::NotAuthorized | ReasonCode::Banned => 5,
        _ => 3, // server unavailable
    }
}

/// The granted QoS, or 0x80 for every error [3.1.1 MQTT-3.8.4-5, MQTT-3.9.3-2, 5.0 MQTT-3.9.3-2].
fn suback_v3(reason: ReasonCode) -> u8 {
    match reason {
        ReasonCode::Success | ReasonCode::GrantedQoS1 | ReasonCode::GrantedQoS2 => reason as u8,
        _ => 0x80,
    }
}

/// Writes an acknowledgement: `id`, and `code` unless it is success, which may be left out (5.0 3.4.2.1). `id` is the
/// one of the packet that is answered [3.1.1 MQTT-2.3.1-6, 5.0 MQTT-2.2.1-5].
fn put_ack(out: &mut Vec<u8>, kind: u8, id: PacketId, code: u8) {
    let [high, low] = id.get().to_be_bytes();
    match code {
        0 => out.extend_from_slice(&[first_byte(kind), 2, high, low]),
        code => out.extend_from_slice(&[first_byte(kind), 3, high, low, code]),
    }
}

fn first_byte(kind: u8) -> u8 {
    (kind << 4) | if kind == PUBREL { RESERVED } else { 0 }
}

struct V5<'a> {
    problem_information: bool,
    most: usize,
    out: &'a mut Vec<u8>,
}

impl V5<'_> {
    fn encode(&mut self, reply: &Reply) {
        match reply {
            Reply::ConnAck(ack) => self.put_connack(ack),
            Reply::PubAck(id, reason, text) => self.put_ack(PUBACK, *id, *reason, text.as_ref()),
            Reply::PubRec(id, reason, text) => self.put_ack(PUBREC, *id, *reason, text.as_ref()),
            Reply::PubRel(id, reason, text) => self.put_ack(PUBREL, *id, *reason, text.as_ref()),
            Reply::PubComp(id, reason, text) => self.put_ack(PUBCOMP, *id, *reason, text.as_ref()),
            Reply::SubAck(id, reasons, text) => self.put_codes(SUBACK, *id, reasons, text.as_ref()),
            Reply::UnsubAck(id, reasons, text) => {
                self.put_codes(UNSUBACK, *id, reasons, text.as_ref());
            }
            Reply::PingResp if self.most < 2 => {}
            Reply::PingResp => self.out.extend_from_slice(&[PINGRESP << 4, 0]),
            // It has no session expiry interval [5.0 MQTT-3.14.2-2].
            Reply::Disconnect(reason, text) => {
                self.put(
                    DISCONNECT,
                    &[reason.code_in(DISCONNECT)],
                    &[],
                    text.as_ref(),
                    &[],
                );
            }
            Reply::Auth(reason, authentication, text) => {
                // A server sends success or continue only [5.0 MQTT-3.15.2-1].
                let code = match reason {
                    ReasonCode::Success => ReasonCode::Success,
                    _ => ReasonCode::ContinueAuthentication,
                };
                let mut properties = Vec::new();
                put_authentication(&mut properties, authentication);
                let text = self.wanted(text.as_ref());
                self.put(AUTH, &[code as u8], &properties, text, &[]);
            }
        }
    }

    /// The reason string; none if the client does not take one in this packet.
    fn wanted<'t>(&self, text: Option<&'t ByteString>) -> Option<&'t ByteString> {
        text.filter(|_| self.problem_information)
    }

    /// Writes an acknowledgement: with its reason string if there is one and it fits, otherwise in the short form.
    fn put_ack(&mut self, kind: u8, id: PacketId, reason: ReasonCode, text: Option<&ByteString>) {
        let code = reason.code_in(kind);
        if let Some(text) = self.wanted(text) {
            let [high, low] = id.get().to_be_bytes();
            if self.put_with(kind, &[high, low, code], &[], Some(text), &[]) {
                return;
            }
        }
        let before = self.out.len();
        put_ack(self.out, kind, id, code);
        if self.out.len() - before > self.most {
            self.out.truncate(before);
        }
    }

    /// Writes a SUBACK or UNSUBACK.
    fn put_codes(
        &mut self,
        kind: u8,
        id: PacketId,
        reasons: &[ReasonCode],
        text: Option<&ByteString>,
    ) {
        let codes: Vec<u8> = reasons.iter().map(|reason| reason.code_in(kind)).collect();
        let text = self.wanted(text);
        self.put(kind, &id.get().to_be_bytes(), &[], text, &codes);
    }

    /// Writes a CONNACK. All flags except session present are 0 [5.0 MQTT-3.2.2-1, MQTT-3.2.2-6].
    fn put_connack(&mut self, ack: &ConnAck) {
        let present = ack.session_present && ack.reason == ReasonCode::Success;
        let mut properties = Vec::new();
        let out = &mut properties;
        if let Some(seconds) = ack.session_expiry {
            put_four(out, 0x11, seconds);
        }
        // 0 is not allowed, and 65,535 is the default (3.2.2.3.3).
        if let Some(maximum) = ack.receive_maximum.filter(|m| !matches!(m, 0 | &u16::MAX)) {
            put_two(out, 0x21, maximum);
        }
        if let Some(maximum @ (QoS::AtMostOnce | QoS::AtLeastOnce)) = ack.maximum_qos {
            out.extend_from_slice(&[0x24, maximum as u8]);
        }
        if let Some(maximum) = ack.maximum_packet_size {
            put_four(out, 0x27, maximum);
        }
        if let Some(id) = &ack.assigned_client_id {
            put_text(out, 0x12, id);
        }
        if ack.topic_alias_maximum > 0 {
            put_two(out, 0x22, ack.topic_alias_maximum);
        }
        if !ack.shared_subscriptions {
            out.extend_from_slice(&[0x2A, 0]);
        }
        if let Some(seconds) = ack.server_keep_alive {
            put_two(out, 0x13, seconds);
        }
        if let Some(topics) = &ack.response_information {
            put_text(out, 0x1A, topics);
        }
        if let Some(authentication) = &ack.authentication {
            put_authentication(out, authentication);
        }
        let head = [u8::from(present), ack.reason.code_in(CONNACK)];
        self.put(CONNACK, &head, &properties, ack.reason_string.as_ref(), &[]);
    }

    /// Writes the packet with its reason string. If that is too large, writes it without one, or not at all.
    fn put(
        &mut self,
        kind: u8,
        head: &[u8],
        properties: &[u8],
        text: Option<&ByteString>,
        tail: &[u8],
    ) {
        if text.is_none() || !self.put_with(kind, head, properties, text, tail) {
            self.put_with(kind, head, properties, None, tail);
        }
    }

    /// Writes the packet and returns true, if it does not exceed the client's maximum packet size.
    fn put_with(
        &mut self,
        kind: u8,
        head: &[u8],
        properties: &[u8],
        text: Option<&ByteString>,
        tail: &[u8],
    ) -> bool {
        let reason = text.map_or(0, |text| 3 + text.len());
        let properties_len = properties.len() + reason;
        let remaining = head.len() + variable_len(properties_len) + properties_len + tail.len();
        let len = 1 + variable_len(remaining) + remaining;
        if len > self.most || text.is_some_and(|text| text.len() > LONGEST) {
            return false;
        }
        let out = &mut *self.out;
        out.reserve(len);
        out.push(first_byte(kind));
        put_variable(out, remaining);
        out.extend_from_slice(head);
        put_variable(out, properties_len);
        out.extend_from_slice(properties);
        if let Some(reason) = text {
            put_text(out, 0x1F, reason);
        }
        out.extend_from_slice(tail);
        true
    }
}

fn put_authentication(out: &mut Vec<u8>, authentication: &Authentication) {
    put_text(out, 0x15, &authentication.method);
    if let Some(data) = &authentication.data {
        out.push(0x16);
        put_binary(out, binary(data));
    }
}

fn put_text(out: &mut Vec<u8>, property: u8, value: &str) {
    out.push(property);
    put_binary(out, text(value));
}

fn put_two(out: &mut Vec<u8>, property: u8, value: u16) {
    out.push(property);
    out.extend_from_slice(&value.to_be_bytes());
}

fn put_four(out: &mut Vec<u8>, property: u8, value: u32) {
    out.push(property);
    out.extend_from_slice(&value.to_be_bytes());
}
