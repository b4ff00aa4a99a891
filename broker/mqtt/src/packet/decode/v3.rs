//! The other packets of 3.1 and 3.1.1.

use super::error::Fault;
use super::kind::{DISCONNECT, DUP, SUBSCRIBE, UNSUBSCRIBE};
use super::reader::Reader;
use crate::packet::{
    Disconnect, NameError, Packet, QoS, ReasonCode, Subscribe, SubscribeOptions, TopicFilter,
    Unsubscribe, UserProperties, library,
};
use bytes::Bytes;
use bytestring::ByteString;
use rmqtt_codec::types;
use rmqtt_codec::v3::Packet as Read;

/// Reads a packet other than CONNECT, PUBLISH and PINGREQ. An ack that comes here is of the wrong length, which
/// the library says.
pub(super) fn packet(first: u8, body: &Bytes) -> Result<Packet, Fault> {
    match first >> 4 {
        SUBSCRIBE => {
            check_requested_qos(Reader::new(body.clone()))?;
        }
        UNSUBSCRIBE if body.len() == 2 => return Err(no_filter("3.1.1 MQTT-3.10.3-2")),
        DISCONNECT if !body.is_empty() => {
            return Err(Fault::malformed("DISCONNECT has a body", "3.1.1 3.14"));
        }
        _ => {}
    }
    // Nothing comes of DUP, which 3.1 has on some of these; the library does not know 3.1.
    Ok(match library::read_v3(first & !DUP, &[body])? {
        Read::Subscribe {
            packet_id,
            topic_filters,
        } => Packet::Subscribe(Subscribe {
            packet_id,
            identifier: None,
            user_properties: UserProperties::new(),
            filters: topic_filters
                .into_iter()
                .map(|(text, qos)| Ok((filter(text)?, SubscribeOptions::of(self::qos(qos)))))
                .collect::<Result<_, Fault>>()?,
        }),
        Read::Unsubscribe {
            packet_id,
            topic_filters,
        } => Packet::Unsubscribe(Unsubscribe {
            packet_id,
            filters: filters(topic_filters)?,
        }),
        Read::Disconnect => Packet::Disconnect(Disconnect {
            reason: ReasonCode::Success,
            session_expiry: None,
        }),
        _ => return Err(Fault::protocol("a packet out of place", "3.1.1 2.2.1")),
    })
}

/// A filter, or what is wrong with it as a filter; no characters at all [MQTT-4.7.3-1], or a control character
/// [3.1.1 MQTT-1.5.3-2, 5.0 MQTT-1.5.4-2], spoil the whole packet.
pub(super) fn filter(text: ByteString) -> Result<Result<TopicFilter, NameError>, Fault> {
    match TopicFilter::new(text) {
        Err(spoilt @ (NameError::Empty | NameError::Null(_) | NameError::Control(_))) => {
            Err(spoilt.into())
        }
        other => Ok(other),
    }
}

pub(super) fn filters(
    texts: Vec<ByteString>,
) -> Result<Vec<Result<TopicFilter, NameError>>, Fault> {
    texts.into_iter().map(filter).collect()
}

pub(super) fn no_filter(clause: &'static str) -> Fault {
    Fault::protocol("there is no topic filter", clause)
}

pub(super) fn qos(read: types::QoS) -> QoS {
    match read {
        types::QoS::AtMostOnce => QoS::AtMostOnce,
        types::QoS::AtLeastOnce => QoS::AtLeastOnce,
        types::QoS::ExactlyOnce => QoS::ExactlyOnce,
    }
}

/// The library looks at the low two bits of a requested QoS only [3.1.1 MQTT-3.8.3-4].
fn check_requested_qos(mut reader: Reader) -> Result<(), Fault> {
    reader.two_bytes()?;
    if reader.is_empty() {
        return Err(no_filter("3.1.1 MQTT-3.8.3-3"));
    }
    while !reader.is_empty() {
        reader.binary()?;
        if reader.byte()? > 2 {
            return Err(Fault::malformed(
                "a requested QoS is not 0, 1 or 2",
                "3.1.1 MQTT-3.8.3-4",
            ));
        }
    }
    Ok(())
}
