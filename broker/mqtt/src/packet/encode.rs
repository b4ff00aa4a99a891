//! From the server's packets to bytes; PUBLISH has its own file.

use super::library::{write_v3, write_v5};
use super::{ConnAck, PacketId, QoS, ReasonCode, Reply, Version};
use bytes::BytesMut;
use bytestring::ByteString;
use rmqtt_codec::v3::{self, SubscribeReturnCode};
use rmqtt_codec::v5::{self, PublishAck2Reason, PublishAckReason};
use rmqtt_codec::{types, v5::DisconnectReasonCode};
use std::num::NonZeroU16;

const PUBACK: u8 = 0x40;
const PUBREC: u8 = 0x50;
const PUBREL: u8 = 0x62;
const PUBCOMP: u8 = 0x70;

/// Appends `reply` to `out` in `version`; nothing where that version has no such packet (DISCONNECT and AUTH
/// in 3.1.1).
///
/// A reason string is left out where `problem_information` is false, CONNACK and DISCONNECT apart
/// [5.0 MQTT-3.1.2-29], and where the packet would be over `max_packet` bytes with it
/// [5.0 MQTT-3.2.2-19, MQTT-3.4.2-2, MQTT-3.5.2-2, MQTT-3.6.2-2, MQTT-3.7.2-2, MQTT-3.9.2-1, MQTT-3.11.2-1,
/// MQTT-3.14.2-3, MQTT-3.15.2-2]. A packet that is over `max_packet` even so is not written at all
/// [5.0 MQTT-3.1.2-24, MQTT-3.1.2-25].
///
/// User properties are never written: they make no packet too large [5.0 MQTT-3.2.2-20, MQTT-3.4.2-3, MQTT-3.5.2-3,
/// MQTT-3.6.2-3, MQTT-3.7.2-3, MQTT-3.9.2-2, MQTT-3.11.2-2, MQTT-3.14.2-4, MQTT-3.15.2-3].
///
/// A reason that the packet does not have is written as `UnspecifiedError` (0x80).
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
    let written = match reply {
        Reply::ConnAck(ack) => write_v3(v3::Packet::ConnectAck(v3::ConnectAck {
            return_code: return_code(ack.reason),
            // [3.1.1 MQTT-3.2.2-4]
            session_present: ack.session_present && ack.reason == ReasonCode::Success,
        })),
        Reply::PubAck(id, ..) => return put_ack(out, PUBACK, *id, None),
        Reply::PubRec(id, ..) => return put_ack(out, PUBREC, *id, None),
        Reply::PubRel(id, ..) => return put_ack(out, PUBREL, *id, None),
        Reply::PubComp(id, ..) => return put_ack(out, PUBCOMP, *id, None),
        Reply::SubAck(packet_id, reasons, _) => write_v3(v3::Packet::SubscribeAck {
            packet_id: *packet_id,
            status: reasons.iter().map(|reason| suback_v3(*reason)).collect(),
        }),
        Reply::UnsubAck(packet_id, ..) => write_v3(v3::Packet::UnsubscribeAck {
            packet_id: *packet_id,
        }),
        Reply::PingResp => write_v3(v3::Packet::PingResponse),
        Reply::Disconnect(..) | Reply::Auth(..) => None,
    };
    out.extend_from_slice(&written.unwrap_or_default());
}

/// The six codes of 3.1.1 (3.2.2.3).
fn return_code(reason: ReasonCode) -> v3::ConnectAckReason {
    use v3::ConnectAckReason as Code;
    match reason {
        ReasonCode::Success => Code::ConnectionAccepted,
        ReasonCode::UnsupportedProtocolVersion => Code::UnacceptableProtocolVersion,
        ReasonCode::ClientIdentifierNotValid => Code::IdentifierRejected,
        ReasonCode::BadUserNameOrPassword | ReasonCode::BadAuthenticationMethod => {
            Code::BadUserNameOrPassword
        }
        ReasonCode::NotAuthorized | ReasonCode::Banned => Code::NotAuthorized,
        _ => Code::ServiceUnavailable,
    }
}

/// Granted, or 0x80 [3.1.1 MQTT-3.8.4-5, MQTT-3.9.3-2, 5.0 MQTT-3.9.3-2].
fn suback_v3(reason: ReasonCode) -> SubscribeReturnCode {
    match reason {
        ReasonCode::Success => SubscribeReturnCode::Success(types::QoS::AtMostOnce),
        ReasonCode::GrantedQoS1 => SubscribeReturnCode::Success(types::QoS::AtLeastOnce),
        ReasonCode::GrantedQoS2 => SubscribeReturnCode::Success(types::QoS::ExactlyOnce),
        _ => SubscribeReturnCode::Failure,
    }
}

/// PUBACK and its kind without properties: there is one a message, so it is written by hand. `id` is that of the
/// PUBLISH [3.1.1 MQTT-2.3.1-6, 5.0 MQTT-2.2.1-5].
fn put_ack(out: &mut Vec<u8>, first: u8, id: PacketId, code: Option<u8>) {
    let [high, low] = id.get().to_be_bytes();
    match code.filter(|code| *code != 0) {
        None => out.extend_from_slice(&[first, 2, high, low]), // success may be left out (5.0 3.4.2.1)
        Some(code) => out.extend_from_slice(&[first, 3, high, low, code]),
    }
}

struct V5<'a> {
    problem_information: bool,
    most: usize,
    out: &'a mut Vec<u8>,
}

impl V5<'_> {
    fn encode(&mut self, reply: &Reply) {
        match reply {
            Reply::ConnAck(ack) => self.put(ack.reason_string.as_ref(), |text| connack(ack, text)),
            Reply::PubAck(id, reason, text) => {
                self.put_message_ack(PUBACK, *id, *reason, text.as_ref());
            }
            Reply::PubRec(id, reason, text) => {
                self.put_message_ack(PUBREC, *id, *reason, text.as_ref());
            }
            Reply::PubRel(id, reason, text) => {
                self.put_release(PUBREL, *id, *reason, text.as_ref());
            }
            Reply::PubComp(id, reason, text) => {
                self.put_release(PUBCOMP, *id, *reason, text.as_ref());
            }
            Reply::SubAck(packet_id, reasons, text) => {
                let text = text.as_ref().filter(|_| self.problem_information);
                self.put(text, |text| {
                    v5::Packet::SubscribeAck(v5::SubscribeAck {
                        packet_id: *packet_id,
                        properties: Vec::new(),
                        reason_string: text.cloned(),
                        status: codes(reasons, v5::SubscribeAckReason::UnspecifiedError),
                    })
                });
            }
            Reply::UnsubAck(packet_id, reasons, text) => {
                let text = text.as_ref().filter(|_| self.problem_information);
                self.put(text, |text| {
                    v5::Packet::UnsubscribeAck(v5::UnsubscribeAck {
                        packet_id: *packet_id,
                        properties: Vec::new(),
                        reason_string: text.cloned(),
                        status: codes(reasons, v5::UnsubscribeAckReason::UnspecifiedError),
                    })
                });
            }
            Reply::PingResp => self.put(None, |_| v5::Packet::PingResponse),
            Reply::Disconnect(reason, text) => self.put(text.as_ref(), |text| {
                // Without a session expiry interval [5.0 MQTT-3.14.2-2].
                v5::Packet::Disconnect(v5::Disconnect {
                    reason_string: text.cloned(),
                    ..v5::Disconnect::new(code(*reason, DisconnectReasonCode::UnspecifiedError))
                })
            }),
            Reply::Auth(reason, authentication, text) => {
                let text = text.as_ref().filter(|_| self.problem_information);
                self.put(text, |text| {
                    v5::Packet::Auth(v5::Auth {
                        // A server says success or continue, nothing else [5.0 MQTT-3.15.2-1].
                        reason_code: match reason {
                            ReasonCode::Success => v5::AuthReasonCode::Success,
                            _ => v5::AuthReasonCode::ContinueAuth,
                        },
                        auth_method: Some(authentication.method.clone()),
                        auth_data: authentication.data.clone(),
                        reason_string: text.cloned(),
                        user_properties: Vec::new(),
                    })
                });
            }
        }
    }

    /// PUBACK or PUBREC.
    fn put_message_ack(
        &mut self,
        first: u8,
        packet_id: PacketId,
        reason: ReasonCode,
        text: Option<&ByteString>,
    ) {
        let reason_code = code(reason, PublishAckReason::UnspecifiedError);
        let with_text = |text: &ByteString| {
            let ack = v5::PublishAck {
                packet_id,
                reason_code,
                properties: Vec::new(),
                reason_string: Some(text.clone()),
            };
            if first == PUBACK {
                v5::Packet::PublishAck(ack)
            } else {
                v5::Packet::PublishReceived(ack)
            }
        };
        self.put_ack(first, packet_id, reason_code.into(), text.map(with_text));
    }

    /// PUBREL or PUBCOMP.
    fn put_release(
        &mut self,
        first: u8,
        packet_id: PacketId,
        reason: ReasonCode,
        text: Option<&ByteString>,
    ) {
        // The only other code that they have.
        let reason_code = code(reason, PublishAck2Reason::PacketIdNotFound);
        let with_text = |text: &ByteString| {
            let ack = v5::PublishAck2 {
                packet_id,
                reason_code,
                properties: Vec::new(),
                reason_string: Some(text.clone()),
            };
            if first == PUBREL {
                v5::Packet::PublishRelease(ack)
            } else {
                v5::Packet::PublishComplete(ack)
            }
        };
        self.put_ack(first, packet_id, reason_code.into(), text.map(with_text));
    }

    /// The packet with its reason string, where there is one and the client wants it, or else the short form.
    fn put_ack(&mut self, first: u8, packet_id: PacketId, code: u8, with_text: Option<v5::Packet>) {
        let with_text = with_text.filter(|_| self.problem_information);
        if let Some(bytes) = with_text.and_then(|packet| self.within_limit(packet)) {
            return self.out.extend_from_slice(&bytes);
        }
        let before = self.out.len();
        put_ack(self.out, first, packet_id, Some(code));
        if self.out.len() - before > self.most {
            self.out.truncate(before);
        }
    }

    /// The bytes of `packet`, where the client takes as many.
    fn within_limit(&self, packet: v5::Packet) -> Option<BytesMut> {
        write_v5(packet).filter(|bytes| bytes.len() <= self.most)
    }

    /// Writes what `packet` makes with the reason string, or else without it.
    fn put<'t>(
        &mut self,
        text: Option<&'t ByteString>,
        packet: impl Fn(Option<&'t ByteString>) -> v5::Packet,
    ) {
        let with_text = text.and_then(|_| self.within_limit(packet(text)));
        let bytes = with_text.or_else(|| self.within_limit(packet(None)));
        self.out.extend_from_slice(&bytes.unwrap_or_default());
    }
}

/// `reason` among the codes that a packet has [5.0 MQTT-3.2.2-8, MQTT-3.11.3-2].
fn code<C: TryFrom<u8>>(reason: ReasonCode, otherwise: C) -> C {
    C::try_from(reason as u8).unwrap_or(otherwise)
}

fn codes<C: TryFrom<u8> + Copy>(reasons: &[ReasonCode], otherwise: C) -> Vec<C> {
    reasons
        .iter()
        .map(|reason| code(*reason, otherwise))
        .collect()
}

fn connack(ack: &ConnAck, text: Option<&ByteString>) -> v5::Packet {
    let receive_max = ack.receive_maximum.and_then(NonZeroU16::new);
    let authentication = ack.authentication.as_ref();
    v5::Packet::from(v5::ConnectAck {
        // The library writes all other flags as 0 [5.0 MQTT-3.2.2-1, MQTT-3.2.2-6].
        session_present: ack.session_present && ack.reason == ReasonCode::Success,
        reason_code: code(ack.reason, v5::ConnectAckReason::UnspecifiedError),
        session_expiry_interval_secs: ack.session_expiry,
        receive_max: receive_max.unwrap_or(NonZeroU16::MAX),
        max_qos: match ack.maximum_qos {
            Some(QoS::AtMostOnce) => types::QoS::AtMostOnce,
            Some(QoS::AtLeastOnce) => types::QoS::AtLeastOnce,
            Some(QoS::ExactlyOnce) | None => types::QoS::ExactlyOnce,
        },
        max_packet_size: ack.maximum_packet_size,
        assigned_client_id: ack.assigned_client_id.clone(),
        topic_alias_max: ack.topic_alias_maximum,
        shared_subscription_available: ack.shared_subscriptions,
        server_keepalive_sec: ack.server_keep_alive,
        response_info: ack.response_information.clone(),
        auth_method: authentication.map(|a| a.method.clone()),
        auth_data: authentication.and_then(|a| a.data.clone()),
        reason_string: text.cloned(),
        ..v5::ConnectAck::default()
    })
}
