//! Decodes PUBLISH, the most frequent packet.

use super::ack::packet_id;
use super::error::Fault;
use super::properties::{self, Properties, Property};
use super::reader::Reader;
use crate::packet::kind::DUP;
use crate::packet::{Publish, PublishProperties, QoS, TopicName, Version};
use std::num::NonZeroU16;

/// Reads a PUBLISH of `version`; `first` is the first byte of the fixed header.
#[inline] // a PUBLISH is large to move
pub(super) fn publish(version: Version, first: u8, mut reader: Reader) -> Result<Publish, Fault> {
    let dup = first & DUP != 0;
    let qos = QoS::from_u8((first >> 1) & 0b11)
        .ok_or(Fault::malformed("PUBLISH with QoS 3", "MQTT-3.3.1-4"))?;
    if dup && qos == QoS::AtMostOnce {
        return Err(Fault::malformed("DUP with QoS 0", "MQTT-3.3.1-2"));
    }

    let topic = reader.utf8()?; // [MQTT-3.3.2-1]
    let packet_id = match qos {
        QoS::AtMostOnce => None, // [3.1.1 MQTT-2.3.1-5, 5.0 MQTT-2.2.1-2]
        QoS::AtLeastOnce | QoS::ExactlyOnce => Some(packet_id(reader.two_bytes()?)?),
    };
    let mut topic_alias = None;
    let mut properties = None;
    if version == Version::V5 {
        topic_alias = read_properties(&mut reader, &mut properties)?;
    }
    let topic = if topic.is_empty() && version == Version::V5 {
        if topic_alias.is_none() {
            return Err(Fault::protocol(
                "neither a topic nor an alias",
                "5.0 3.3.2.1",
            ));
        }
        None
    } else {
        Some(TopicName::new(topic)?) // [MQTT-3.3.2-2]
    };
    Ok(Publish {
        dup,
        qos,
        retain: first & 1 != 0,
        topic,
        packet_id,
        topic_alias,
        properties,
        payload: reader.rest(),
    })
}

/// Reads the properties into `into`, except the topic alias, which it returns.
fn read_properties(
    reader: &mut Reader,
    into: &mut Option<Box<PublishProperties>>,
) -> Result<Option<NonZeroU16>, Fault> {
    let mut alias = None;
    let mut properties = Properties::of(properties::PUBLISH, reader)?;
    while let Some(property) = properties.next()? {
        match property {
            Property::TopicAlias(number) => alias = Some(number),
            other => drop(into.get_or_insert_default().keep(other)),
        }
    }
    Ok(alias)
}
