//! What the client sends, and what the broker must make of it (3.3.2.3.4, 4.3).

use super::terms::Setup;
use roommq_mqtt::packet::{Packet, PacketId, Publish, QoS, ReasonCode, TopicName, Version};
use roommq_mqtt::session::{Close, Step};
use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::num::NonZeroU16;

/// The client as a sender.
#[derive(Default)]
pub(super) struct Sending {
    aliases: BTreeMap<u16, u8>,
    /// QoS 2 messages taken and not released.
    unreleased: BTreeSet<PacketId>,
    /// Of these, what has come on this connection.
    here: BTreeSet<PacketId>,
    count: u32,
}

/// What has to come of a PUBLISH.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Due {
    /// It is a message, to this topic.
    Message(u8),
    /// It was one before.
    Repeated,
    Close(ReasonCode),
}

impl Sending {
    /// The next PUBLISH, and what must come of it.
    pub(super) fn publish(
        &mut self,
        setup: &Setup,
        version: Version,
        (qos, id, dup): (QoS, PacketId, bool),
        topic: Option<u8>,
        alias: Option<u16>,
    ) -> (Publish, Due) {
        let alias = alias.filter(|_| version == Version::V5);
        // The packet reader refuses one with neither.
        let topic = if alias.is_none() {
            topic.or(Some(0))
        } else {
            topic
        };
        self.count += 1;
        let has_id = qos != QoS::AtMostOnce;
        let publish = Publish {
            dup: dup && has_id,
            qos,
            retain: false,
            topic: topic.and_then(name),
            packet_id: has_id.then_some(id),
            topic_alias: alias.and_then(NonZeroU16::new),
            properties: None,
            payload: self.count.to_be_bytes().to_vec().into(),
        };
        let due = self.due(setup, &publish, topic, alias);
        (publish, due)
    }

    fn due(
        &mut self,
        setup: &Setup,
        publish: &Publish,
        topic: Option<u8>,
        alias: Option<u16>,
    ) -> Due {
        let topic = match (topic, alias) {
            (_, Some(alias)) if alias > setup.alias_maximum => {
                return Due::Close(ReasonCode::TopicAliasInvalid); // [MQTT-3.3.2-9]
            }
            (Some(topic), alias) => {
                if let Some(alias) = alias {
                    self.aliases.insert(alias, topic);
                }
                topic
            }
            (None, alias) => match alias.and_then(|alias| self.aliases.get(&alias)) {
                Some(topic) => *topic,
                None => return Due::Close(ReasonCode::ProtocolError),
            },
        };
        let exactly_once = publish.qos == QoS::ExactlyOnce;
        let has_place = |id| exactly_once && self.here.contains(&id);
        if let Some(id) = publish.packet_id
            && !has_place(id)
            && self.here.len() >= usize::from(setup.receive_maximum)
        {
            return Due::Close(ReasonCode::ReceiveMaximumExceeded); // [MQTT-3.3.4-7]
        }
        if let (true, Some(id)) = (exactly_once, publish.packet_id) {
            self.here.insert(id);
            if !self.unreleased.insert(id) {
                return Due::Repeated; // [MQTT-4.3.3-10]
            }
        }
        Due::Message(topic)
    }

    /// The connection is over: its aliases with it, and not the ids [MQTT-3.3.2-7].
    pub(super) fn lose(&mut self, unreleased: &HashSet<PacketId>) {
        self.aliases.clear();
        self.here.clear();
        assert!(
            self.unreleased
                .iter()
                .eq(unreleased.iter().collect::<BTreeSet<_>>())
        );
    }

    /// PUBREL: whether the id was one.
    pub(super) fn release(&mut self, id: PacketId) -> bool {
        self.here.remove(&id);
        self.unreleased.remove(&id)
    }
}

/// Topic number `n`.
fn name(n: u8) -> Option<TopicName> {
    format!("t/{n}").parse().ok()
}

/// Compares what came of a PUBLISH.
pub(super) fn check(publish: &Publish, due: &Due, step: &Result<Step, Close>) {
    let right = match (due, step) {
        (Due::Message(topic), Ok(Step::Publish(inbound))) => {
            Some(&inbound.topic) == name(*topic).as_ref()
                && inbound.payload == publish.payload
                && inbound.qos == publish.qos
                && inbound.packet_id == publish.packet_id
                && inbound.retain == publish.retain
        }
        (Due::Repeated, Ok(Step::Duplicate(id))) => Some(*id) == publish.packet_id,
        (Due::Close(reason), Err(close)) => *reason == close.reason,
        _ => false,
    };
    assert!(right, "{publish:?}: {step:?}, not {due:?}");
}

/// An acknowledgement's packet.
pub(super) fn ack(ack: super::actions::Ack, packet_id: PacketId, refuse: bool) -> Packet {
    let reason = if refuse {
        ReasonCode::NotAuthorized
    } else {
        ReasonCode::Success
    };
    let fields = roommq_mqtt::packet::Ack { packet_id, reason };
    match ack {
        super::actions::Ack::Taken => Packet::PubAck(fields),
        super::actions::Ack::Received => Packet::PubRec(fields),
        super::actions::Ack::Complete => Packet::PubComp(fields),
    }
}
