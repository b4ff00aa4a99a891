//! The receiving half of a session.

use crate::packet::{
    Ack, Auth, NameError, Packet, PacketId, Publish, PublishProperties, QoS, ReasonCode, Subscribe,
    SubscribeOptions, TopicFilter, TopicName, Unsubscribe, Version, Will,
};
use bytes::Bytes;
use std::collections::{HashMap, HashSet};
use std::num::NonZeroU16;

/// What a packet asks of the connection. [`Session::step`] says it.
#[derive(Debug, PartialEq, Eq)]
pub enum Step {
    /// Judge and append, then acknowledge as `ack` says.
    Publish(Inbound),
    /// A QoS 2 message that was taken already: acknowledge only [MQTT-4.3.3-10].
    Repeated(PacketId),
    /// SUBSCRIBE: answer SUBACK.
    Subscribe(Subscribe),
    /// UNSUBSCRIBE: answer UNSUBACK.
    Unsubscribe(Unsubscribe),
    /// PUBACK.
    Acked(PacketId),
    /// PUBREC.
    Received(PacketId),
    /// PUBREC with an error.
    Refused(PacketId),
    /// PUBREL: answer PUBCOMP with this code.
    Released(PacketId, ReasonCode),
    /// PUBCOMP.
    Completed(PacketId),
    /// PINGREQ.
    Ping,
    /// AUTH: part of a conversation that a policy leads.
    Auth(Auth),
    /// DISCONNECT: the end, in order; the will has been dropped or stays by what the client said.
    Leave,
}

/// A message to judge.
#[derive(Debug, PartialEq, Eq)]
pub struct Inbound {
    /// The topic, an alias resolved.
    pub topic: TopicName,
    /// The application message.
    pub payload: Bytes,
    /// As the client sent it.
    pub qos: QoS,
    /// Whether it is to be retained.
    pub retain: bool,
    /// Present with QoS 1 and 2.
    pub packet_id: Option<PacketId>,
    /// Properties of the message (5.0).
    pub properties: PublishProperties,
}

/// The connection must end; a 5.0 client is told this code and text [MQTT-4.13.1-1].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text}")]
pub struct Close {
    /// The 5.0 code.
    pub reason: ReasonCode,
    /// For people.
    pub text: String,
}

/// The receiving half of a session: what a packet means after all that came before it on this connection and, for
/// QoS 2, on earlier ones.
#[derive(Debug)]
pub struct Session {
    version: Version,
    /// Aliases that the client has set (3.3.2.3.4). They end with the connection [5.0 MQTT-3.3.2-7].
    aliases: HashMap<NonZeroU16, TopicName>,
    alias_maximum: u16,
    /// QoS 2 ids taken on this connection and not yet released [3.1.1 MQTT-4.3.3-2], whatever became of the message
    /// [5.0 MQTT-4.3.3-13].
    unreleased: HashSet<PacketId>,
    /// Those of earlier connections, which have not come again on this one.
    earlier: HashSet<PacketId>,
    receive_maximum: u16,
    /// Kept from CONNECT on [5.0 MQTT-3.1.2-7]; none without the flag [3.1.1 MQTT-3.1.2-12].
    will: Option<Will>,
    /// Seconds that the session outlives its connection.
    expiry: u32,
    may_stay: bool,
    orderly: bool,
}

/// What a connection brings, and what its session had before.
#[derive(Debug)]
pub struct Start {
    /// The version of the connection.
    pub version: Version,
    /// The will of its CONNECT.
    pub will: Option<Will>,
    /// Seconds that the session outlives its connection.
    pub expiry: u32,
    /// Whether CONNECT asked for any such time, of which the server may have left nothing.
    pub may_stay: bool,
    /// Topic aliases that the client may set; 0: none.
    pub alias_maximum: u16,
    /// QoS 1 and 2 messages that the client may have on the way: what 5.0 was told in CONNACK. 3.1.1 knows no such limit.
    pub receive_maximum: u16,
    /// QoS 2 ids that an earlier connection took and did not release [MQTT-4.4.0-1].
    pub unreleased: HashSet<PacketId>,
}

impl Session {
    /// The receiving half for a connection whose CONNECT has been accepted.
    pub fn new(start: Start) -> Self {
        Session {
            version: start.version,
            aliases: HashMap::new(),
            alias_maximum: start.alias_maximum,
            unreleased: HashSet::new(),
            earlier: start.unreleased,
            receive_maximum: start.receive_maximum,
            will: start.will,
            expiry: start.expiry,
            may_stay: start.may_stay,
            orderly: false,
        }
    }

    /// Seconds that the session outlives its connection; `u32::MAX`: for ever (3.1.2.11.2).
    pub fn expiry(&self) -> u32 {
        self.expiry
    }

    /// QoS 2 ids that wait for their PUBREL, for the next connection.
    pub fn take_unreleased(&mut self) -> HashSet<PacketId> {
        let mut all = std::mem::take(&mut self.unreleased);
        all.extend(self.earlier.drain());
        all
    }

    /// The version of the connection.
    pub fn version(&self) -> Version {
        self.version
    }

    /// Whether the client said goodbye.
    pub fn left_in_order(&self) -> bool {
        self.orderly
    }

    /// The will, where the end calls for it. Taken once.
    pub fn take_will(&mut self) -> Option<Will> {
        self.will.take()
    }

    /// What `packet` asks for. The caller carries it out and answers.
    ///
    /// # Errors
    /// The packet is a protocol error at this point, and the connection has to end: see [`Close`].
    pub fn step(&mut self, packet: Packet) -> Result<Step, Close> {
        Ok(match packet {
            Packet::Publish(publish) => self.publish(publish)?,
            Packet::PubAck(Ack { packet_id, .. }) => Step::Acked(packet_id),
            Packet::PubRec(Ack { packet_id, reason }) if reason.is_error() => {
                Step::Refused(packet_id)
            }
            Packet::PubRec(Ack { packet_id, .. }) => Step::Received(packet_id),
            Packet::PubRel(Ack { packet_id, .. }) => {
                // An id that is not known is answered, never a close [MQTT-4.3.3-11]; then any id is new
                // [5.0 MQTT-4.3.3-12].
                let code = if self.forget(packet_id) {
                    ReasonCode::Success
                } else {
                    ReasonCode::PacketIdentifierNotFound
                };
                Step::Released(packet_id, code)
            }
            Packet::PubComp(Ack { packet_id, .. }) => Step::Completed(packet_id),
            Packet::Subscribe(subscribe) => {
                if self.version == Version::V3 {
                    filters_hold(subscribe.filters.iter().map(|(filter, _)| filter))?;
                }
                let shared_no_local =
                    |(filter, options): &(Result<TopicFilter, _>, SubscribeOptions)| {
                        let shared = filter.as_ref().is_ok_and(|f| f.share_group().is_some());
                        shared && options.no_local
                    };
                if subscribe.filters.iter().any(shared_no_local) {
                    let text = "no-local on a shared subscription [MQTT-3.8.3-4]";
                    return Err(close(ReasonCode::ProtocolError, text));
                }
                Step::Subscribe(subscribe)
            }
            Packet::Unsubscribe(unsubscribe) => {
                if self.version == Version::V3 {
                    filters_hold(&unsubscribe.filters)?;
                }
                Step::Unsubscribe(unsubscribe)
            }
            Packet::PingReq => Step::Ping,
            Packet::Disconnect(disconnect) => {
                if let Some(expiry) = disconnect.session_expiry {
                    if !self.may_stay && expiry > 0 {
                        let text = "a session that was to end with its connection cannot be kept (3.14.2.2.2)";
                        return Err(close(ReasonCode::ProtocolError, text));
                    }
                    self.expiry = expiry;
                }
                // Any other code, 0x04 above all, leaves the will in force [MQTT-3.1.2-10, MQTT-3.14.4-3].
                if disconnect.reason == ReasonCode::Success {
                    self.will = None;
                }
                self.orderly = true;
                Step::Leave
            }
            Packet::Connect(_) => {
                return Err(close(
                    ReasonCode::ProtocolError,
                    "a second CONNECT [MQTT-3.1.0-2]",
                ));
            }
            Packet::Auth(auth) => Step::Auth(auth),
        })
    }

    /// QoS 1 is new whenever it comes: what its id meant before is over [5.0 MQTT-4.3.2-5].
    fn publish(&mut self, publish: Publish) -> Result<Step, Close> {
        let topic = self.topic_of(publish.topic, publish.topic_alias)?;
        if let (QoS::ExactlyOnce, Some(id)) = (publish.qos, publish.packet_id) {
            if self.unreleased.contains(&id) {
                return Ok(Step::Repeated(id));
            }
            self.has_place()?;
            self.unreleased.insert(id);
            if self.earlier.remove(&id) {
                return Ok(Step::Repeated(id));
            }
        } else if publish.qos == QoS::AtLeastOnce {
            self.has_place()?;
        }
        Ok(Step::Publish(Inbound {
            topic,
            payload: publish.payload,
            qos: publish.qos,
            retain: publish.retain,
            packet_id: publish.packet_id,
            properties: publish.properties,
        }))
    }

    /// Whether one more QoS 1 or 2 message is within our receive maximum [5.0 MQTT-3.3.4-7]. QoS 2 has its place until
    /// PUBREL; what an earlier connection sent has none, until it comes again [MQTT-4.9.0-2]. QoS 1 needs one and
    /// takes none, since each is acknowledged in its turn: how many came in one read says nothing about the client.
    fn has_place(&self) -> Result<(), Close> {
        let most = self.receive_maximum;
        if self.unreleased.len() < usize::from(most) {
            return Ok(());
        }
        let text = format!(
            "more than {most} QoS 1 and 2 messages on the way: so many of QoS 2 wait for PUBREL [MQTT-3.3.4-7]"
        );
        Err(close(ReasonCode::ReceiveMaximumExceeded, &text))
    }

    /// A QoS 2 message was released, or refused: its id is free again [MQTT-4.3.3-9, MQTT-4.3.3-12]. False where it
    /// was not in use.
    pub fn forget(&mut self, id: PacketId) -> bool {
        self.unreleased.remove(&id) | self.earlier.remove(&id)
    }

    /// Every alias up to our own maximum is taken [5.0 MQTT-3.3.2-12].
    fn topic_of(
        &mut self,
        topic: Option<TopicName>,
        alias: Option<NonZeroU16>,
    ) -> Result<TopicName, Close> {
        let Some(alias) = alias else {
            return topic.ok_or_else(|| {
                close(
                    ReasonCode::ProtocolError,
                    "neither a topic nor an alias (3.3.2.1)",
                )
            });
        };
        if alias.get() > self.alias_maximum {
            let text = format!(
                "topic alias {alias} is above {} [MQTT-3.3.2-9]",
                self.alias_maximum
            );
            return Err(close(ReasonCode::TopicAliasInvalid, &text));
        }
        match topic {
            Some(topic) => {
                // A copy: the topic is a slice of the whole read.
                self.aliases.insert(alias, topic.detached());
                Ok(topic)
            }
            None => self.aliases.get(&alias).cloned().ok_or_else(|| {
                let text = format!("topic alias {alias} has not been set (3.3.2.3.4)");
                close(ReasonCode::ProtocolError, &text)
            }),
        }
    }
}

/// 3.1.1 has no code for a malformed filter, so it ends the connection [3.1.1 MQTT-4.8.0-1]. It knows no shared
/// ones either: what is wrong as such is refused, and no more.
fn filters_hold<'a>(
    filters: impl IntoIterator<Item = &'a Result<TopicFilter, NameError>>,
) -> Result<(), Close> {
    let mut wrong = filters.into_iter().filter_map(|f| f.as_ref().err());
    match wrong.find(|error| !error.is_of_sharing()) {
        Some(error) => Err(close(ReasonCode::MalformedPacket, &error.to_string())),
        None => Ok(()),
    }
}

fn close(reason: ReasonCode, text: &str) -> Close {
    Close {
        reason,
        text: text.to_owned(),
    }
}

#[cfg(test)]
#[path = "inbound_tests.rs"]
mod tests;
