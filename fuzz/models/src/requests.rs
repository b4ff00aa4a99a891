//! The packets that a client sends, PUBLISH apart: the codec library reads the same in them as our decoder.

use super::client::{Received, receive_one};
use rmqtt_codec::{types, v3, v5};
use roommq_mqtt::packet::{
    Ack, Auth, Connect, Disconnect, NameError, Packet, QoS, RetainHandling, Subscribe, TopicFilter,
    Version, Will,
};

/// The flag of the first byte that says that a packet was sent before.
const DUP: u8 = 0b1000;

/// Checks an accepted packet by the bytes it came in.
pub(super) fn same(version: Version, packet: &Packet, raw: &[u8]) {
    // 3.1 has DUP on what is sent again. The library does not know 3.1.
    let raw = [&[raw[0] & !DUP], &raw[1..]].concat();
    let same = match receive_one(version, &raw) {
        Ok(Received::V3(read)) => same_v3(packet, &read),
        Ok(Received::V5(read)) => same_v5(packet, &read),
        Err(error) => {
            assert!(is_unknown_to_the_library(packet), "{error}: {packet:?}");
            true
        }
    };
    assert!(same, "the library reads {packet:?} otherwise: {raw:x?}");
}

/// What the library refuses wrongly: flags that 3.1 leaves free, in 5.0 an empty client id without clean start
/// [5.0 MQTT-3.1.3-6], and a will whose message expires at once.
fn is_unknown_to_the_library(packet: &Packet) -> bool {
    let Packet::Connect(connect) = packet else {
        return false;
    };
    let will = connect.will.as_ref();
    let at_once = will.is_some_and(|will| will.properties.message_expiry == Some(0));
    connect.level == 3 || connect.client_id.is_empty() || at_once
}

fn same_v3(packet: &Packet, read: &v3::Packet) -> bool {
    match (packet, read) {
        (Packet::Connect(ours), v3::Packet::Connect(read)) => {
            let will = ours.will.as_ref().zip(read.last_will.as_ref());
            ours.client_id == read.client_id
                && (ours.clean, ours.keep_alive) == (read.clean_session, read.keep_alive)
                && ours.user_name == read.username
                && ours.password == read.password
                && ours.will.is_some() == read.last_will.is_some()
                && will.is_none_or(|(ours, read)| {
                    same_will(ours, &read.topic, &read.message, read.qos, read.retain)
                })
        }
        (Packet::PubAck(ours), v3::Packet::PublishAck { packet_id })
        | (Packet::PubRec(ours), v3::Packet::PublishReceived { packet_id })
        | (Packet::PubRel(ours), v3::Packet::PublishRelease { packet_id })
        | (Packet::PubComp(ours), v3::Packet::PublishComplete { packet_id }) => {
            ours.packet_id == *packet_id
        }
        (
            Packet::Subscribe(ours),
            v3::Packet::Subscribe {
                packet_id,
                topic_filters,
            },
        ) => {
            let read = topic_filters.iter().map(|(filter, qos)| (filter, *qos));
            ours.packet_id == *packet_id
                && ours.filters.len() == topic_filters.len()
                && ours.filters.iter().zip(read).all(|(ours, (filter, qos))| {
                    is_text_of(filter, &ours.0) && same_qos(ours.1.qos, qos)
                })
        }
        (
            Packet::Unsubscribe(ours),
            v3::Packet::Unsubscribe {
                packet_id,
                topic_filters,
            },
        ) => ours.packet_id == *packet_id && are_texts_of(topic_filters, &ours.filters),
        (Packet::PingReq, v3::Packet::PingRequest)
        | (Packet::Disconnect(_), v3::Packet::Disconnect) => true,
        _ => false,
    }
}

fn same_v5(packet: &Packet, read: &v5::Packet) -> bool {
    match (packet, read) {
        (Packet::Connect(ours), v5::Packet::Connect(read)) => same_connect(ours, read),
        (Packet::PubAck(ours), v5::Packet::PublishAck(read))
        | (Packet::PubRec(ours), v5::Packet::PublishReceived(read)) => {
            same_ack(ours, read.packet_id, read.reason_code.into())
        }
        (Packet::PubRel(ours), v5::Packet::PublishRelease(read))
        | (Packet::PubComp(ours), v5::Packet::PublishComplete(read)) => {
            same_ack(ours, read.packet_id, read.reason_code.into())
        }
        (Packet::Subscribe(ours), v5::Packet::Subscribe(read)) => same_subscribe(ours, read),
        (Packet::Unsubscribe(ours), v5::Packet::Unsubscribe(read)) => {
            ours.packet_id == read.packet_id && are_texts_of(&read.topic_filters, &ours.filters)
        }
        (Packet::PingReq, v5::Packet::PingRequest) => true,
        (
            Packet::Disconnect(Disconnect {
                reason,
                session_expiry,
            }),
            v5::Packet::Disconnect(read),
        ) => {
            *reason as u8 == u8::from(read.reason_code)
                && *session_expiry == read.session_expiry_interval_secs
        }
        (
            Packet::Auth(Auth {
                reason,
                method,
                data,
            }),
            v5::Packet::Auth(read),
        ) => {
            *reason as u8 == u8::from(read.reason_code)
                && *method == read.auth_method
                && *data == read.auth_data
        }
        _ => false,
    }
}

fn same_connect(ours: &Connect, read: &v5::Connect) -> bool {
    let will = ours.will.as_ref().zip(read.last_will.as_ref());
    ours.client_id == read.client_id
        && (ours.clean, ours.keep_alive) == (read.clean_start, read.keep_alive)
        && ours.user_name == read.username
        && ours.password == read.password
        && ours.session_expiry == read.session_expiry_interval_secs
        && ours.receive_maximum == read.receive_max.map_or(u16::MAX, u16::from)
        && ours.maximum_packet_size == read.max_packet_size.map(u32::from)
        && ours.topic_alias_maximum == read.topic_alias_max
        && ours.request_response_information == read.request_response_info
        && ours.request_problem_information == read.request_problem_info
        && ours.authentication_method == read.auth_method
        && ours.authentication_data == read.auth_data
        && ours.user_properties == read.user_properties
        && ours.will.is_some() == read.last_will.is_some()
        && will.is_none_or(|(ours, read)| {
            let properties = &ours.properties;
            same_will(ours, &read.topic, &read.message, read.qos, read.retain)
                && ours.delay == read.will_delay_interval_sec.unwrap_or(0)
                && properties.payload_format_indicator == read.is_utf8_payload
                && properties.message_expiry == read.message_expiry_interval.map(u32::from)
                && properties.content_type == read.content_type
                && properties.response_topic == read.response_topic
                && properties.correlation_data == read.correlation_data
                && properties.user_properties == read.user_properties
        })
}

fn same_will(ours: &Will, topic: &str, payload: &[u8], qos: types::QoS, retain: bool) -> bool {
    ours.topic.as_str() == topic
        && ours.payload == payload
        && same_qos(ours.qos, qos)
        && ours.retain == retain
}

fn same_ack(ours: &Ack, packet_id: std::num::NonZeroU16, code: u8) -> bool {
    (ours.packet_id, ours.reason as u8) == (packet_id, code)
}

fn same_subscribe(ours: &Subscribe, read: &v5::Subscribe) -> bool {
    let filters = ours.filters.iter().zip(&read.topic_filters);
    (ours.packet_id, ours.identifier) == (read.packet_id, read.id)
        && ours.user_properties == read.user_properties
        && ours.filters.len() == read.topic_filters.len()
        && filters.into_iter().all(|((filter, ours), (text, read))| {
            let handling = match ours.retain_handling {
                RetainHandling::Send => v5::RetainHandling::AtSubscribe,
                RetainHandling::SendIfNew => v5::RetainHandling::AtSubscribeNew,
                RetainHandling::DoNotSend => v5::RetainHandling::NoAtSubscribe,
            };
            is_text_of(text, filter)
                && same_qos(ours.qos, read.qos)
                && ours.no_local == read.no_local
                && ours.retain_as_published == read.retain_as_published
                && handling == read.retain_handling
        })
}

fn same_qos(ours: QoS, read: types::QoS) -> bool {
    ours as u8 == read.value()
}

/// A filter that is none has no text.
fn is_text_of(text: &str, filter: &Result<TopicFilter, NameError>) -> bool {
    filter.as_ref().is_ok_and(|filter| filter.as_str() == text)
        || filter.is_err() && TopicFilter::new(text.into()) == *filter
}

fn are_texts_of<T: std::ops::Deref<Target = str>>(
    texts: &[T],
    filters: &[Result<TopicFilter, NameError>],
) -> bool {
    let mut pairs = texts.iter().zip(filters);
    texts.len() == filters.len() && pairs.all(|(text, filter)| is_text_of(text, filter))
}
