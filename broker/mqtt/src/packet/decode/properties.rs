//! Decodes properties (5.0, 2.2.2), and checks their packet, their number and their values.

use super::error::Fault;
use super::reader::Reader;
use crate::packet::PublishProperties;
use bytes::Bytes;
use bytestring::ByteString;
use std::num::{NonZeroU16, NonZeroU32};

/// A set of carriers of properties: packets, and the will in CONNECT.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Carriers(u8);

pub(super) const CONNECT: Carriers = Carriers(1);
pub(super) const WILL: Carriers = Carriers(1 << 1);
pub(super) const PUBLISH: Carriers = Carriers(1 << 2);
pub(super) const ACK: Carriers = Carriers(1 << 3);
pub(super) const SUBSCRIBE: Carriers = Carriers(1 << 4);
pub(super) const UNSUBSCRIBE: Carriers = Carriers(1 << 5);
pub(super) const DISCONNECT: Carriers = Carriers(1 << 6);
pub(super) const AUTH: Carriers = Carriers(1 << 7);

const MESSAGE: Carriers = Carriers(PUBLISH.0 | WILL.0);

/// A property whose value is in range; `Other` is one that the server ignores.
pub(super) enum Property {
    PayloadFormat(bool),
    MessageExpiry(u32),
    ContentType(ByteString),
    ResponseTopic(ByteString),
    CorrelationData(Bytes),
    TopicAlias(NonZeroU16),
    WillDelay(u32),
    SubscriptionIdentifier(NonZeroU32),
    SessionExpiry(u32),
    ReceiveMaximum(u16),
    MaximumPacketSize(u32),
    TopicAliasMaximum(u16),
    RequestResponseInformation(bool),
    RequestProblemInformation(bool),
    AuthenticationMethod(ByteString),
    AuthenticationData(Bytes),
    User(ByteString, ByteString),
    Other,
}

/// The properties of one packet. [`next`](Properties::next) reads and checks one after the other.
pub(super) struct Properties {
    reader: Reader,
    carrier: Carriers,
    /// Bit n is set if property n has been read.
    seen: u64,
    /// User properties that may still come.
    user_left: u16,
}

impl Properties {
    /// Takes the property length and the properties off `reader`.
    pub(super) fn of(carrier: Carriers, reader: &mut Reader) -> Result<Properties, Fault> {
        let len = reader.variable()?; // [5.0 MQTT-2.2.2-1]
        Ok(Properties {
            reader: Reader::new(reader.take(len as usize)?, reader.user_properties),
            carrier,
            seen: 0,
            user_left: reader.user_properties,
        })
    }

    /// Checks all properties and ignores their values.
    pub(super) fn check(mut self) -> Result<(), Fault> {
        while self.next()?.is_some() {}
        Ok(())
    }

    pub(super) fn next(&mut self) -> Result<Option<Property>, Fault> {
        if self.reader.is_empty() {
            return Ok(None);
        }
        let id = self.reader.byte()?;
        self.check_place(id)?;
        self.value(id).map(Some)
    }

    /// Refuses a property that the packet must not carry, or that it has already.
    fn check_place(&mut self, id: u8) -> Result<(), Fault> {
        let carriers = match id {
            0x01 | 0x02 | 0x03 | 0x08 | 0x09 => MESSAGE,
            0x0B => Carriers(PUBLISH.0 | SUBSCRIBE.0),
            0x11 => Carriers(CONNECT.0 | DISCONNECT.0),
            0x15 | 0x16 => Carriers(CONNECT.0 | AUTH.0),
            0x17 | 0x19 | 0x21 | 0x22 | 0x27 => CONNECT,
            0x18 => WILL,
            0x1C => DISCONNECT,
            0x1F => Carriers(ACK.0 | DISCONNECT.0 | AUTH.0),
            0x23 => PUBLISH,
            // User property: in every packet, several times.
            0x26 => {
                let most = self.reader.user_properties;
                let left = self.user_left.checked_sub(1);
                self.user_left = left.ok_or(Fault::TooManyUserProperties(most))?;
                return Ok(());
            }
            _ => Carriers(0),
        };
        if carriers.0 & self.carrier.0 == 0 {
            return Err(Fault::malformed(
                "a property that this packet does not have",
                "5.0 2.2.2.2",
            ));
        }
        if id == 0x0B && self.carrier == PUBLISH {
            return Err(Fault::protocol(
                "a client's PUBLISH has a subscription identifier",
                "5.0 MQTT-3.3.4-6",
            ));
        }
        if self.seen & (1 << id) != 0 {
            return Err(Fault::protocol(
                "a property is there twice",
                "5.0 3.1.2.11 and the like",
            ));
        }
        self.seen |= 1 << id;
        Ok(())
    }

    fn value(&mut self, id: u8) -> Result<Property, Fault> {
        let reader = &mut self.reader;
        Ok(match id {
            0x01 => Property::PayloadFormat(flag(
                reader.byte()?,
                "payload format indicator",
                "5.0 3.3.2.3.2",
            )?),
            0x02 => Property::MessageExpiry(reader.four_bytes()?),
            0x03 => Property::ContentType(reader.string()?), // [5.0 MQTT-3.3.2-19]
            0x08 => Property::ResponseTopic(response_topic(reader.string()?)?),
            0x09 => Property::CorrelationData(reader.binary()?),
            0x0B => Property::SubscriptionIdentifier(NonZeroU32::new(reader.variable()?).ok_or(
                Fault::protocol("subscription identifier 0", "5.0 3.8.2.1.2"),
            )?),
            0x15 => Property::AuthenticationMethod(reader.string()?),
            0x16 => Property::AuthenticationData(reader.binary()?),
            0x17 => Property::RequestProblemInformation(flag(
                reader.byte()?,
                "request problem information",
                "5.0 3.1.2.11.7",
            )?),
            0x18 => Property::WillDelay(reader.four_bytes()?),
            0x19 => Property::RequestResponseInformation(flag(
                reader.byte()?,
                "request response information",
                "5.0 3.1.2.11.6",
            )?),
            0x1C | 0x1F => {
                reader.string()?;
                Property::Other
            }
            0x21 => match reader.two_bytes()? {
                0 => return Err(Fault::protocol("receive maximum 0", "5.0 3.1.2.11.3")),
                maximum => Property::ReceiveMaximum(maximum),
            },
            0x22 => Property::TopicAliasMaximum(reader.two_bytes()?),
            0x23 => Property::TopicAlias(
                NonZeroU16::new(reader.two_bytes()?).ok_or(Fault::TopicAliasZero)?,
            ),
            0x26 => Property::User(reader.string()?, reader.string()?), // [5.0 MQTT-1.5.7-1]
            0x27 => match reader.four_bytes()? {
                0 => return Err(Fault::protocol("maximum packet size 0", "5.0 3.1.2.11.4")),
                maximum => Property::MaximumPacketSize(maximum),
            },
            // 0x11: `check_place` has refused all others
            _ => Property::SessionExpiry(reader.four_bytes()?),
        })
    }
}

impl PublishProperties {
    /// Stores `property` if it belongs to an application message; returns it otherwise.
    pub(super) fn keep(&mut self, property: Property) -> Option<Property> {
        match property {
            Property::PayloadFormat(is_text) => self.payload_format_indicator = Some(is_text),
            Property::MessageExpiry(seconds) => self.message_expiry = Some(seconds),
            Property::ContentType(text) => self.content_type = Some(text),
            Property::ResponseTopic(topic) => self.response_topic = Some(topic),
            Property::CorrelationData(data) => self.correlation_data = Some(data),
            Property::User(name, value) => self.user_properties.push((name, value)),
            other => return Some(other),
        }
        None
    }
}

fn flag(byte: u8, what: &'static str, clause: &'static str) -> Result<bool, Fault> {
    match byte {
        0 => Ok(false),
        1 => Ok(true),
        _ => Err(Fault::protocol(what, clause)),
    }
}

/// Checks that the response topic is a topic name [5.0 MQTT-3.3.2-13].
fn response_topic(topic: ByteString) -> Result<ByteString, Fault> {
    if topic.is_empty() {
        return Err(Fault::malformed(
            "the response topic has no characters",
            "5.0 MQTT-4.7.3-1",
        ));
    }
    if topic.contains(['+', '#']) {
        return Err(Fault::protocol(
            "the response topic has a wildcard",
            "5.0 MQTT-3.3.2-14",
        ));
    }
    Ok(topic)
}
