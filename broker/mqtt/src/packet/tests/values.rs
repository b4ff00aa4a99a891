//! The packets of the tables, short to write.

pub use crate::packet::QoS::{AtLeastOnce, AtMostOnce, ExactlyOnce};
pub use crate::packet::ReasonCode::*;
pub use crate::packet::Version::{V3, V5};
pub use crate::packet::*;
pub use std::num::{NonZeroU16, NonZeroU32};

pub fn connect_fields(version: Version) -> Connect {
    Connect {
        version,
        client_id: "a".into(),
        clean: true,
        keep_alive: 60,
        will: None,
        user_name: None,
        password: None,
        session_expiry: 0,
        receive_maximum: 65_535,
        maximum_packet_size: None,
        topic_alias_maximum: 0,
        request_response_information: false,
        request_problem_information: true,
        level: if version == V3 { 4 } else { 5 },
        authentication_method: None,
        authentication_data: None,
        user_properties: vec![],
    }
}

pub fn connect(version: Version) -> Packet {
    connect_fields(version).into()
}

pub fn last_will(qos: QoS, retain: bool) -> Will {
    Will {
        topic: "w".parse().unwrap(),
        payload: "bye".into(),
        qos,
        retain,
        delay: 0,
        properties: none(),
    }
}

pub fn publish_fields(topic: &str, payload: &'static [u8]) -> Publish {
    Publish {
        dup: false,
        qos: AtMostOnce,
        retain: false,
        topic: Some(topic.parse().unwrap()),
        packet_id: None,
        topic_alias: None,
        properties: None,
        payload: Bytes::from_static(payload),
    }
}

pub fn publish(topic: &str, payload: &'static [u8]) -> Packet {
    publish_fields(topic, payload).into()
}

pub fn none() -> PublishProperties {
    PublishProperties::default()
}

pub fn all_properties(message_expiry: u32) -> PublishProperties {
    PublishProperties {
        payload_format_indicator: Some(true),
        message_expiry: Some(message_expiry),
        content_type: Some("t".into()),
        response_topic: Some("r".into()),
        correlation_data: Some("c".into()),
        user_properties: vec![key_value()],
    }
}

pub fn key_value() -> (ByteString, ByteString) {
    ("k".into(), "v".into())
}

pub fn id(id: u16) -> Option<NonZeroU16> {
    NonZeroU16::new(id)
}

pub fn ack(id: u16, reason: ReasonCode) -> Ack {
    Ack {
        packet_id: PacketId::new(id).unwrap(),
        reason,
    }
}

pub fn subscribe(id: u16, filters: &[(&str, QoS)]) -> Packet {
    let options = |qos| SubscribeOptions {
        qos,
        no_local: false,
        retain_as_published: false,
        retain_handling: RetainHandling::Send,
    };
    Packet::Subscribe(Subscribe {
        packet_id: PacketId::new(id).unwrap(),
        identifier: None,
        user_properties: vec![],
        filters: filters
            .iter()
            .map(|(filter, qos)| (TopicFilter::new((*filter).into()), options(*qos)))
            .collect(),
    })
}

pub fn unsubscribe(id: u16, filters: &[&str]) -> Packet {
    Packet::Unsubscribe(Unsubscribe {
        packet_id: PacketId::new(id).unwrap(),
        filters: filters
            .iter()
            .map(|filter| TopicFilter::new((*filter).into()))
            .collect(),
    })
}

pub fn disconnect(reason: ReasonCode, session_expiry: Option<u32>) -> Packet {
    Packet::Disconnect(Disconnect {
        reason,
        session_expiry,
    })
}

impl From<Connect> for Packet {
    fn from(connect: Connect) -> Packet {
        Packet::Connect(Box::new(connect))
    }
}

impl From<Publish> for Packet {
    fn from(publish: Publish) -> Packet {
        Packet::Publish(publish)
    }
}
