//! The receiving half of a session.

use crate::packet::{
    Ack, Auth, NameError, Packet, PacketId, Publish, PublishProperties, QoS, ReasonCode, Subscribe,
    SubscribeOptions, TopicFilter, TopicName, Unsubscribe, Version, Will,
};
use bytes::Bytes;
use std::collections::{HashMap, HashSet};
use std::num::NonZeroU16;

/// What the connection has to do for a packet; [`Session::step`] returns it.
#[derive(Debug, PartialEq, Eq)]
pub enum Step {
    /// PUBLISH: check whether the client may, append the message, acknowledge it by its QoS.
    Publish(Inbound),
    /// PUBLISH with QoS 2, sent again after the server took it: answer PUBREC only [MQTT-4.3.3-10].
    Duplicate(PacketId),
    /// SUBSCRIBE: answer SUBACK.
    Subscribe(Subscribe),
    /// UNSUBSCRIBE: answer UNSUBACK.
    Unsubscribe(Unsubscribe),
    /// PUBACK: hand it to [`Outbound::acked`](super::Outbound::acked).
    Acked(PacketId),
    /// PUBREC: hand it to [`Outbound::received`](super::Outbound::received).
    Received(PacketId),
    /// PUBREC with an error: hand it to [`Outbound::refused`](super::Outbound::refused).
    Refused(PacketId),
    /// PUBREL: answer PUBCOMP with this code.
    Released(PacketId, ReasonCode),
    /// PUBCOMP: hand it to [`Outbound::completed`](super::Outbound::completed).
    Completed(PacketId),
    /// PINGREQ: answer PINGRESP.
    Ping,
    /// AUTH: a step of an authentication exchange.
    Auth(Auth),
    /// DISCONNECT: end the connection. Whether there is a will to send, [`Session::take_will`] says.
    Disconnect,
}

/// A message that a client publishes.
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
    /// Properties of the message (5.0); none if the sender set none.
    pub properties: Option<Box<PublishProperties>>,
}

/// The connection has to end; a 5.0 client is told this code and text by DISCONNECT [MQTT-4.13.1-1].
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
///
/// ```text
/// packet                        step                              the caller's part
/// PUBLISH QoS 2, id 5           Publish; 5 waits for PUBREL       append it, then PUBREC
/// PUBLISH QoS 2, id 5, DUP      Duplicate(5)                      PUBREC
/// PUBREL 5                      Released(5, Success); 5 is free   PUBCOMP
/// PUBREL 5                      Released(5, 0x92)                 PUBCOMP 0x92
/// PUBLISH alias 3, no topic     Publish with the topic of 3, or   append it, or
///                               Err(Close 0x94)                   DISCONNECT 0x94
/// ```
///
/// The [crate] has an example, and the order of calls.
#[derive(Debug)]
pub struct Session {
    version: Version,
    alias_maximum: u16,
    receive_maximum: u16,
    /// Boxed and made when it is needed first: most clients never need it.
    stored: Option<Box<Stored>>,
    /// Kept from CONNECT on [5.0 MQTT-3.1.2-7]; none without the flag [3.1.1 MQTT-3.1.2-12].
    will: Option<Box<Will>>,
    /// Seconds that the session outlives its connection.
    expiry: u32,
    expiry_requested: bool,
    disconnected: bool,
}

/// What the server stores for a client that sets topic aliases or publishes with QoS 2.
#[derive(Debug, Default)]
struct Stored {
    /// Aliases that the client has set (3.3.2.3.4). They end with the connection [5.0 MQTT-3.3.2-7].
    aliases: HashMap<NonZeroU16, TopicName>,
    /// QoS 2 ids received on this connection and not yet released [3.1.1 MQTT-4.3.3-2], even if the message has been dropped or
    /// has expired since [5.0 MQTT-4.3.3-13].
    unreleased: HashSet<PacketId>,
    /// QoS 2 ids of earlier connections that the client has not sent again on this one.
    earlier: HashSet<PacketId>,
}

/// What CONNECT said, and the state that an existing session had.
#[derive(Debug)]
pub struct Start {
    /// The version of the connection.
    pub version: Version,
    /// The will of its CONNECT.
    pub will: Option<Will>,
    /// Seconds that the session outlives its connection.
    pub expiry: u32,
    /// Whether CONNECT asked for an expiry above 0, even if the server has cut it to 0.
    pub expiry_requested: bool,
    /// Topic aliases that the client may set; 0: none.
    pub alias_maximum: u16,
    /// QoS 1 and 2 messages that the client may have unacknowledged, as the CONNACK told a 5.0 client. For 3.1.1, which has no
    /// such limit, 65,535.
    pub receive_maximum: u16,
    /// QoS 2 ids that an earlier connection received and did not release [MQTT-4.4.0-1].
    pub unreleased: HashSet<PacketId>,
}

impl Session {
    /// The receiving half for a connection whose CONNECT has been accepted.
    pub fn new(start: Start) -> Self {
        let earlier = start.unreleased;
        let stored = (!earlier.is_empty()).then(|| {
            Box::new(Stored {
                earlier,
                ..Stored::default()
            })
        });
        Session {
            version: start.version,
            alias_maximum: start.alias_maximum,
            receive_maximum: start.receive_maximum,
            stored,
            will: start.will.map(Box::new),
            expiry: start.expiry,
            expiry_requested: start.expiry_requested,
            disconnected: false,
        }
    }

    /// Seconds that the session outlives its connection; `u32::MAX`: for ever (3.1.2.11.2).
    #[must_use]
    pub fn expiry(&self) -> u32 {
        self.expiry
    }

    /// Takes the QoS 2 ids that wait for their PUBREL, for the next connection.
    pub fn take_unreleased(&mut self) -> HashSet<PacketId> {
        let Some(stored) = &mut self.stored else {
            return HashSet::new();
        };
        let mut all = std::mem::take(&mut stored.unreleased);
        all.extend(stored.earlier.drain());
        all
    }

    /// The version of the connection.
    #[must_use]
    pub fn version(&self) -> Version {
        self.version
    }

    /// Whether the client has sent DISCONNECT.
    #[must_use]
    pub fn has_disconnected(&self) -> bool {
        self.disconnected
    }

    /// Takes the will; none if there is none to send: CONNECT had none, or DISCONNECT has deleted it.
    pub fn take_will(&mut self) -> Option<Will> {
        self.will.take().map(|will| *will)
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
                let code = if self.release(packet_id) {
                    ReasonCode::Success
                } else {
                    ReasonCode::PacketIdentifierNotFound
                };
                Step::Released(packet_id, code)
            }
            Packet::PubComp(Ack { packet_id, .. }) => Step::Completed(packet_id),
            Packet::Subscribe(subscribe) => {
                if self.version == Version::V3 {
                    check_filters(subscribe.filters.iter().map(|(filter, _)| filter))?;
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
                    check_filters(&unsubscribe.filters)?;
                }
                Step::Unsubscribe(unsubscribe)
            }
            Packet::PingReq => Step::Ping,
            Packet::Disconnect(disconnect) => {
                if let Some(expiry) = disconnect.session_expiry {
                    if !self.expiry_requested && expiry > 0 {
                        let text = "a session that was to end with its connection cannot be kept (3.14.2.2.2)";
                        return Err(close(ReasonCode::ProtocolError, text));
                    }
                    self.expiry = expiry;
                }
                // Any other code, 0x04 above all, leaves the will in force [MQTT-3.1.2-10, MQTT-3.14.4-3].
                if disconnect.reason == ReasonCode::Success {
                    self.will = None;
                }
                self.disconnected = true;
                Step::Disconnect
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

    /// A QoS 1 message is always new, whatever its id meant before [5.0 MQTT-4.3.2-5].
    fn publish(&mut self, publish: Publish) -> Result<Step, Close> {
        let topic = self.topic_of(publish.topic, publish.topic_alias)?;
        if let (QoS::ExactlyOnce, Some(id)) = (publish.qos, publish.packet_id) {
            let stored = self.stored.get_or_insert_default();
            if stored.unreleased.contains(&id) {
                return Ok(Step::Duplicate(id));
            }
            check_receive_maximum(stored.unreleased.len(), self.receive_maximum)?;
            stored.unreleased.insert(id);
            if stored.earlier.remove(&id) {
                return Ok(Step::Duplicate(id));
            }
        } else if publish.qos == QoS::AtLeastOnce {
            let unreleased = self.stored.as_ref().map_or(0, |s| s.unreleased.len());
            check_receive_maximum(unreleased, self.receive_maximum)?;
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

    /// Frees the id of a QoS 2 message that was released or refused [MQTT-4.3.3-9, MQTT-4.3.3-12]. False if it was not in use.
    pub fn release(&mut self, id: PacketId) -> bool {
        let Some(stored) = &mut self.stored else {
            return false;
        };
        stored.unreleased.remove(&id) | stored.earlier.remove(&id)
    }

    /// Every alias up to the server's maximum is accepted [5.0 MQTT-3.3.2-12].
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
        if let Some(topic) = topic {
            let aliases = &mut self.stored.get_or_insert_default().aliases;
            // A copy: the topic is a slice of the whole read.
            aliases.insert(alias, topic.detached());
            return Ok(topic);
        }
        let set = self.stored.as_ref().and_then(|s| s.aliases.get(&alias));
        set.cloned().ok_or_else(|| {
            let text = format!("topic alias {alias} has not been set (3.3.2.3.4)");
            close(ReasonCode::ProtocolError, &text)
        })
    }
}

/// Whether one more QoS 1 or 2 message is within the server's receive maximum, `most` [5.0 MQTT-3.3.4-7]. A QoS 2 message counts
/// until PUBREL, one of an earlier connection only once it is sent again [MQTT-4.9.0-2]. QoS 1 messages do not count: the server
/// acknowledges each in its turn, and several in one read are no fault of the client.
fn check_receive_maximum(unreleased: usize, most: u16) -> Result<(), Close> {
    if unreleased < usize::from(most) {
        return Ok(());
    }
    let text = format!(
        "more than {most} QoS 1 and 2 messages on the way: so many of QoS 2 wait for PUBREL [MQTT-3.3.4-7]"
    );
    Err(close(ReasonCode::ReceiveMaximumExceeded, &text))
}

/// 3.1.1 has no code for a malformed filter, so the filter ends the connection [3.1.1 MQTT-4.8.0-1]. One that is malformed only as
/// a shared filter, which 3.1.1 does not know, is refused like any other.
fn check_filters<'a>(
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
