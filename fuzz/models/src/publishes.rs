//! What must hold for a packet that was accepted, a PUBLISH above all: read and written by our own code.

use super::client::{Received, receive_one};
use super::decoder::decoder;
use super::{names, requests};
use rmqtt_codec::{types, v3, v5};
use roommq_mqtt::packet::{
    NameError, Packet, Patch, Publish, PublishFrame, PublishParts, PublishProperties, QoS,
    TopicAlias, TopicFilter, Version, encode_publish,
};
use std::borrow::Cow;
use std::num::NonZeroU16;

/// Checks an accepted packet by the bytes it came in.
pub(super) fn holds(version: Option<Version>, packet: &Packet, raw: &[u8]) {
    let Some(version) = version else {
        panic!("{packet:?} before a CONNECT");
    };
    if !matches!(packet, Packet::Publish(_)) {
        requests::same(version, packet, raw);
    }
    match packet {
        Packet::Connect(connect) => {
            assert_eq!(connect.version, version);
            is_text(&connect.client_id);
            assert!(version == Version::V5 || connect.clean || !connect.client_id.is_empty());
            assert!(connect.receive_maximum > 0 && connect.maximum_packet_size != Some(0));
            if let Some(will) = &connect.will {
                assert!(names::is_topic(will.topic.as_str()), "{:?}", will.topic);
                properties_hold(version, &will.properties);
            }
        }
        Packet::Publish(publish) => publish_holds(version, publish, raw),
        Packet::Subscribe(subscribe) => {
            assert!(!subscribe.filters.is_empty());
            subscribe
                .filters
                .iter()
                .for_each(|(filter, _)| filter_holds(filter));
        }
        Packet::Unsubscribe(unsubscribe) => {
            assert!(!unsubscribe.filters.is_empty());
            unsubscribe.filters.iter().for_each(filter_holds);
        }
        Packet::Auth(auth) => {
            assert_eq!(version, Version::V5);
            assert!(auth.method.is_some());
        }
        Packet::PubAck(_)
        | Packet::PubRec(_)
        | Packet::PubRel(_)
        | Packet::PubComp(_)
        | Packet::PingReq
        | Packet::Disconnect(_) => {}
    }
}

fn is_text(text: &str) {
    let control = text.contains(char::is_control);
    assert!(text.len() <= 65_535 && !control, "{text:?}");
}

fn filter_holds(filter: &Result<TopicFilter, NameError>) {
    match filter {
        Ok(filter) => assert!(names::filter(filter.as_str()).is_some(), "{filter:?}"),
        Err(error) => assert_ne!(*error, NameError::Empty),
    }
}

fn properties_hold(version: Version, properties: &PublishProperties) {
    if version == Version::V3 {
        assert_eq!(*properties, PublishProperties::default());
    }
    let user = properties.user_properties.iter();
    let user = user.flat_map(|(name, value)| [name, value]);
    user.chain(&properties.content_type)
        .chain(&properties.response_topic)
        .for_each(|text| is_text(text));
    let response = properties.response_topic.as_deref();
    assert!(response.is_none_or(names::is_topic), "{response:?}");
}

fn publish_holds(version: Version, publish: &Publish, raw: &[u8]) {
    let has_id = publish.qos != QoS::AtMostOnce;
    assert_eq!(publish.packet_id.is_some(), has_id);
    assert!(has_id || !publish.dup, "DUP with QoS 0");
    assert!(publish.topic.is_some() || publish.topic_alias.is_some());
    assert!(version == Version::V5 || publish.topic_alias.is_none());
    let topic = publish.topic.as_ref().map(AsRef::as_ref);
    assert!(topic.is_none_or(names::is_topic), "{topic:?}");
    let properties = publish.properties.clone().unwrap_or_default();
    properties_hold(version, &properties);

    match receive_one(version, raw) {
        Ok(read) => same(version, publish, topic.unwrap_or_default(), &read),
        // The library does not know that a message may expire at once.
        Err(error) => assert_eq!(properties.message_expiry, Some(0), "{error}"),
    }
    // What only has an alias goes out with the topic that the alias stands for.
    let topic = topic.unwrap_or("a");
    for version in [Version::V3, Version::V5] {
        goes_out(version, publish, topic);
    }
}

/// Our encoder's bytes say the same to a client, and to our own decoder.
fn goes_out(version: Version, publish: &Publish, topic: &str) {
    let properties = publish.properties.clone().unwrap_or_default();
    let user: Vec<(Cow<'_, str>, Cow<'_, str>)> = properties
        .user_properties
        .iter()
        .map(|(name, value)| (Cow::from(&**name), Cow::from(&**value)))
        .collect();
    let parts = PublishParts {
        topic,
        payload: &publish.payload,
        qos: publish.qos,
        retain: publish.retain,
        dup: publish.dup,
        payload_format_indicator: properties.payload_format_indicator,
        message_expiry: properties.message_expiry,
        content_type: properties.content_type.as_deref(),
        response_topic: properties.response_topic.as_deref(),
        correlation_data: properties.correlation_data.as_deref(),
        user_properties: &user,
        subscription_ids: &[],
    };
    let frame = encode_publish(version, &parts);
    let patch = Patch {
        id: publish.packet_id,
        dup: publish.dup,
        ..Patch::default()
    };
    let mut bytes = Vec::new();
    frame.write_to(&mut bytes, &patch);
    assert_eq!(frame.len(), bytes.len());
    assert_eq!(frame.patched(&patch), bytes);
    assert_eq!(
        (frame.version(), frame.topic()),
        (version, topic.as_bytes())
    );

    let ours = |version, frame: &PublishFrame, patch: &Patch| {
        let mut rest = frame.patched(patch);
        let read = decoder(Some(version), u32::MAX).decode(&mut rest);
        let Ok(Some(Packet::Publish(read))) = read else {
            panic!("our decoder makes {read:?} of {frame:x?}");
        };
        assert!(rest.is_empty());
        read
    };
    let read = ours(version, &frame, &patch);
    let expected = Publish {
        topic: topic.parse().ok(),
        topic_alias: None,
        properties: match version {
            Version::V3 => None,
            Version::V5 => publish.properties.clone(),
        },
        ..publish.clone()
    };
    assert_eq!(read, expected);
    match receive_one(version, &bytes) {
        Ok(received) => same(version, &read, topic, &received),
        Err(error) => assert_eq!(properties.message_expiry, Some(0), "{error}"),
    }

    for to in [Version::V3, Version::V5] {
        let translated = frame.translated(to);
        assert_eq!(frame.len_in(to), translated.len());
        let bare = Publish {
            properties: if to == version {
                expected.properties.clone()
            } else {
                None
            },
            ..expected.clone()
        };
        assert_eq!(ours(to, &translated, &patch), bare);
    }
    let number = NonZeroU16::MAX;
    for known in [false, true] {
        let alias = (version == Version::V5).then_some(TopicAlias { number, known });
        let mut expected = expected.clone();
        expected.topic_alias = alias.map(|a| a.number);
        expected.topic = expected.topic.filter(|_| alias.is_none() || !known);
        let properties = expected.properties.as_mut();
        if let Some(seconds) = properties.and_then(|p| p.message_expiry.as_mut()) {
            *seconds = 7;
        }
        let patch = Patch {
            alias,
            expiry: Some(7),
            ..patch
        };
        assert_eq!(ours(version, &frame, &patch), expected);
    }
}

/// A client reads the same PUBLISH as we.
fn same(version: Version, publish: &Publish, topic: &str, received: &Received) {
    let read: &types::Publish = match received {
        Received::V3(v3::Packet::Publish(read)) | Received::V5(v5::Packet::Publish(read)) => read,
        other => panic!("{other:?} is not {publish:?}"),
    };
    assert_eq!(&read.topic[..], topic);
    assert_eq!(read.payload, publish.payload);
    assert_eq!(read.qos.value(), publish.qos as u8);
    assert_eq!((read.dup, read.retain), (publish.dup, publish.retain));
    assert_eq!(read.packet_id, publish.packet_id);
    let (Version::V5, Some(read)) = (version, &read.properties) else {
        return assert!(version == Version::V3 && read.properties.is_none());
    };
    let ours = publish.properties.clone().unwrap_or_default();
    // The library does not tell 0 from nothing; our own decoder has.
    assert_eq!(
        read.is_utf8_payload,
        ours.payload_format_indicator == Some(true)
    );
    assert_eq!(
        read.message_expiry_interval.map(u32::from),
        ours.message_expiry
    );
    assert_eq!(read.content_type, ours.content_type);
    assert_eq!(read.response_topic, ours.response_topic);
    assert_eq!(read.correlation_data, ours.correlation_data);
    assert_eq!(read.user_properties, ours.user_properties);
    assert_eq!(read.topic_alias, publish.topic_alias);
    assert!(read.subscription_ids.is_empty());
}
