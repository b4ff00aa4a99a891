//! Decodes SUBSCRIBE and UNSUBSCRIBE.

use super::ack::packet_id;
use super::error::Fault;
use super::properties::{self, Properties, Property};
use super::reader::Reader;
use crate::packet::{
    NameError, QoS, RetainHandling, Subscribe, SubscribeOptions, TopicFilter, Unsubscribe,
    UserProperties, Version,
};
use bytestring::ByteString;

/// Reads a SUBSCRIBE of `version`.
pub(super) fn subscribe(version: Version, reader: &mut Reader) -> Result<Subscribe, Fault> {
    let packet_id = packet_id(reader.two_bytes()?)?;
    let (mut identifier, mut user_properties) = (None, UserProperties::new());
    if version == Version::V5 {
        let mut properties = Properties::of(properties::SUBSCRIBE, reader)?;
        while let Some(property) = properties.next()? {
            match property {
                Property::SubscriptionIdentifier(number) => identifier = Some(number),
                Property::User(name, value) => user_properties.push((name, value)),
                _ => {}
            }
        }
    }
    if reader.is_empty() {
        return Err(no_filter("3.1.1 MQTT-3.8.3-3, 5.0 MQTT-3.8.3-2"));
    }
    let mut filters = Vec::new();
    while !reader.is_empty() {
        let text = reader.utf8_by("MQTT-3.8.3-1")?;
        let options = match (version, reader.byte()?) {
            (Version::V3, byte) => SubscribeOptions::of(requested_qos(byte)?),
            (Version::V5, byte) => options(byte)?,
        };
        if options.no_local && text.starts_with("$share/") {
            return Err(Fault::protocol(
                "no local on a shared subscription",
                "5.0 MQTT-3.8.3-4",
            ));
        }
        filters.push((filter(text)?, options));
    }
    Ok(Subscribe {
        packet_id,
        identifier,
        user_properties,
        filters,
    })
}

/// Reads an UNSUBSCRIBE of `version`.
pub(super) fn unsubscribe(version: Version, reader: &mut Reader) -> Result<Unsubscribe, Fault> {
    let packet_id = packet_id(reader.two_bytes()?)?;
    if version == Version::V5 {
        Properties::of(properties::UNSUBSCRIBE, reader)?.check()?;
    }
    if reader.is_empty() {
        return Err(no_filter("MQTT-3.10.3-2"));
    }
    let mut filters = Vec::new();
    while !reader.is_empty() {
        filters.push(filter(reader.utf8_by("MQTT-3.10.3-1")?)?);
    }
    Ok(Unsubscribe { packet_id, filters })
}

/// The filter, or the error for its place in the SUBACK. An empty filter [MQTT-4.7.3-1] or a control character
/// [3.1.1 MQTT-1.5.3-2, 5.0 MQTT-1.5.4-2] makes the whole packet malformed.
fn filter(text: ByteString) -> Result<Result<TopicFilter, NameError>, Fault> {
    match TopicFilter::new(text) {
        Err(spoilt @ (NameError::Empty | NameError::Null(_) | NameError::Control(_))) => {
            Err(spoilt.into())
        }
        other => Ok(other),
    }
}

fn no_filter(clause: &'static str) -> Fault {
    Fault::protocol("there is no topic filter", clause)
}

fn requested_qos(byte: u8) -> Result<QoS, Fault> {
    QoS::from_u8(byte).ok_or(Fault::malformed(
        "a requested QoS is not 0, 1 or 2",
        "3.1.1 MQTT-3.8.3-4",
    ))
}

fn options(byte: u8) -> Result<SubscribeOptions, Fault> {
    if byte & 0b1100_0000 != 0 {
        return Err(Fault::malformed(
            "reserved bits in the subscription options",
            "5.0 MQTT-3.8.3-5",
        ));
    }
    let retain_handling = match byte >> 4 {
        0 => Some(RetainHandling::Send),
        1 => Some(RetainHandling::SendIfNew),
        2 => Some(RetainHandling::DoNotSend),
        _ => None,
    };
    let (Some(qos), Some(retain_handling)) = (QoS::from_u8(byte & 0b11), retain_handling) else {
        return Err(Fault::protocol(
            "maximum QoS or retain handling 3",
            "5.0 3.8.3.1",
        ));
    };
    Ok(SubscribeOptions {
        qos,
        no_local: byte & 0b100 != 0,
        retain_as_published: byte & 0b1000 != 0,
        retain_handling,
    })
}
