//! MQTT control packets as values, and the way from and to bytes.
//!
//! Architecture invariant: nothing in here knows a session, a socket or a clock. What is rejected here is rejected by the clause named
//! beside the check; what depends on earlier packets is the session's business.

mod decode;
mod encode;
mod kind;
mod publish;
mod reason;
#[cfg(test)]
mod tests;
mod text;
mod topic;
mod will;
mod wire;

pub use crate::cost::string_cost;
pub use decode::{DecodeError, Decoder};
pub use encode::encode;
pub use publish::{Patch, PublishFrame, PublishParts, TopicAlias, encode_publish};
pub use reason::ReasonCode;
pub use topic::{NameError, TopicFilter, TopicName, levels};

use bytes::Bytes;
use bytestring::ByteString;

/// The protocol version of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Version {
    /// 3.1 and 3.1.1, the same on the wire after CONNECT.
    V3,
    /// 5.0
    V5,
}

/// Quality of service.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize,
)]
#[repr(u8)]
pub enum QoS {
    /// At most once.
    AtMostOnce = 0,
    /// At least once.
    AtLeastOnce = 1,
    /// Exactly once.
    ExactlyOnce = 2,
}

/// Bytes of the greatest packet that there is: five of fixed header, and a remaining length of 268,435,455 (3.1.1 2.2.3, 5.0
/// 2.1.4).
pub const LARGEST_PACKET: u32 = 5 + 268_435_455;

/// A packet identifier; never 0 [MQTT-2.3.1-1, MQTT-2.2.1-3].
pub type PacketId = std::num::NonZeroU16;

/// User properties in the order of the wire.
pub type UserProperties = Vec<(ByteString, ByteString)>;

/// A packet that a client sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Packet {
    /// CONNECT
    Connect(Box<Connect>),
    /// PUBLISH
    Publish(Publish),
    /// PUBACK
    PubAck(Ack),
    /// PUBREC
    PubRec(Ack),
    /// PUBREL
    PubRel(Ack),
    /// PUBCOMP
    PubComp(Ack),
    /// SUBSCRIBE
    Subscribe(Subscribe),
    /// UNSUBSCRIBE
    Unsubscribe(Unsubscribe),
    /// PINGREQ
    PingReq,
    /// DISCONNECT
    Disconnect(Disconnect),
    /// AUTH (5.0)
    Auth(Auth),
}

/// CONNECT
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Connect {
    /// Version that the rest of the connection speaks.
    pub version: Version,
    /// As the client sent it; may be empty.
    pub client_id: ByteString,
    /// Clean Session (3.1.1) or Clean Start (5.0).
    pub clean: bool,
    /// Seconds; 0: never.
    pub keep_alive: u16,
    /// The client's last will.
    pub will: Option<Will>,
    /// User name.
    pub user_name: Option<ByteString>,
    /// Password.
    pub password: Option<Bytes>,
    /// Seconds a session outlives its connection (5.0; 0 where absent).
    pub session_expiry: u32,
    /// In-flight window of the client (5.0; 65,535 where absent).
    pub receive_maximum: u16,
    /// Largest packet the client takes (5.0).
    pub maximum_packet_size: Option<u32>,
    /// Aliases the client takes (5.0).
    pub topic_alias_maximum: u16,
    /// Whether the client wants response information (5.0).
    pub request_response_information: bool,
    /// Whether reason strings and user properties may be sent (5.0; true where absent).
    pub request_problem_information: bool,
    /// 3 for 3.1, which is served as 3.1.1 (4) but for a CONNACK without a session present flag; 5 for 5.0 (3.1.2.2).
    pub level: u8,
    /// Enhanced authentication (5.0).
    pub authentication_method: Option<ByteString>,
    /// Enhanced authentication (5.0).
    pub authentication_data: Option<Bytes>,
    /// User properties (5.0).
    pub user_properties: UserProperties,
}

/// The will in a CONNECT.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Will {
    /// Where it goes; checked as a topic name.
    pub topic: TopicName,
    /// What it says.
    pub payload: Bytes,
    /// With which QoS.
    pub qos: QoS,
    /// Whether it is kept.
    pub retain: bool,
    /// Seconds from the loss to the will (5.0).
    pub delay: u32,
    /// The same as a PUBLISH has (5.0).
    pub properties: PublishProperties,
}

/// PUBLISH as received.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Publish {
    /// Sent before.
    pub dup: bool,
    /// Quality of service.
    pub qos: QoS,
    /// Whether the message is kept.
    pub retain: bool,
    /// None where a 5.0 client sent only an alias.
    pub topic: Option<TopicName>,
    /// Present with QoS 1 and 2.
    pub packet_id: Option<PacketId>,
    /// Alias (5.0).
    pub topic_alias: Option<std::num::NonZeroU16>,
    /// The rest of the properties (5.0).
    pub properties: PublishProperties,
    /// The application message.
    pub payload: Bytes,
}

/// Properties that travel with an application message (5.0, 3.3.2.3).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PublishProperties {
    /// Whether the payload is declared to be UTF-8, or bytes of any kind; none where nothing is said.
    pub payload_format_indicator: Option<bool>,
    /// Seconds that the message may wait.
    pub message_expiry: Option<u32>,
    /// Content type.
    pub content_type: Option<ByteString>,
    /// Response topic.
    pub response_topic: Option<ByteString>,
    /// Correlation data.
    pub correlation_data: Option<Bytes>,
    /// User properties.
    pub user_properties: UserProperties,
}

/// PUBACK, PUBREC, PUBREL or PUBCOMP.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ack {
    /// Which message.
    pub packet_id: PacketId,
    /// Success where absent.
    pub reason: ReasonCode,
}

/// SUBSCRIBE
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subscribe {
    /// Echoed in the SUBACK.
    pub packet_id: PacketId,
    /// Subscription identifier (5.0): 1 to 268,435,455.
    pub identifier: Option<std::num::NonZeroU32>,
    /// User properties (5.0).
    pub user_properties: UserProperties,
    /// At least one [MQTT-3.8.3-3]. A filter that has characters and is malformed as a filter is kept as the
    /// error, since 5.0 answers it in its place of the SUBACK (0x8F).
    pub filters: Vec<(Result<TopicFilter, NameError>, SubscribeOptions)>,
}

/// Options of one filter (3.8.3.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct SubscribeOptions {
    /// The most that is delivered.
    pub qos: QoS,
    /// Own messages are not sent back.
    pub no_local: bool,
    /// The retain flag is kept on live messages.
    pub retain_as_published: bool,
    /// When retained messages are sent.
    pub retain_handling: RetainHandling,
}

/// Retain Handling (3.8.3.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum RetainHandling {
    /// At every subscribe.
    Send,
    /// Only where the subscription is new [5.0 MQTT-3.3.1-10].
    SendIfNew,
    /// Never [5.0 MQTT-3.3.1-11].
    DoNotSend,
}

/// UNSUBSCRIBE
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unsubscribe {
    /// Echoed in the UNSUBACK.
    pub packet_id: PacketId,
    /// At least one [MQTT-3.10.3-2].
    pub filters: Vec<Result<TopicFilter, NameError>>,
}

/// DISCONNECT from the client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Disconnect {
    /// `NormalDisconnection` where absent and for 3.1.1.
    pub reason: ReasonCode,
    /// A new session expiry (5.0).
    pub session_expiry: Option<u32>,
}

/// AUTH (5.0).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Auth {
    /// Success, continue or re-authenticate.
    pub reason: ReasonCode,
    /// Method.
    pub method: Option<ByteString>,
    /// Data.
    pub data: Option<Bytes>,
}

/// A packet that the server sends, PUBLISH apart (that has an encoder of its own: [`encode_publish`]).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reply {
    /// CONNACK
    ConnAck(Box<ConnAck>),
    /// PUBACK with a reason, and a reason string for 5.0
    PubAck(PacketId, ReasonCode, Option<ByteString>),
    /// PUBREC
    PubRec(PacketId, ReasonCode, Option<ByteString>),
    /// PUBREL
    PubRel(PacketId, ReasonCode, Option<ByteString>),
    /// PUBCOMP
    PubComp(PacketId, ReasonCode, Option<ByteString>),
    /// SUBACK: a code a filter, and one reason string for 5.0. For 3.1.1 every code from 0x80 up becomes 0x80.
    SubAck(PacketId, Vec<ReasonCode>, Option<ByteString>),
    /// UNSUBACK: a code a filter, and one reason string (5.0 only on the wire).
    UnsubAck(PacketId, Vec<ReasonCode>, Option<ByteString>),
    /// PINGRESP
    PingResp,
    /// DISCONNECT (5.0; nothing is written for 3.1.1), with a reason string.
    Disconnect(ReasonCode, Option<ByteString>),
    /// AUTH (5.0; nothing is written for 3.1.1): success or continue, with a reason string.
    Auth(ReasonCode, Authentication, Option<ByteString>),
}

/// What the server says of an authentication (5.0, 4.12), in AUTH and in CONNACK.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Authentication {
    /// As the CONNECT named it [MQTT-4.12.0-5].
    pub method: ByteString,
    /// What the method says, where it says something; at most 65,535 bytes.
    pub data: Option<Bytes>,
}

/// CONNACK
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConnAck {
    /// Whether a session was resumed.
    pub session_present: bool,
    /// Success or why not; mapped to the six codes of 3.1.1 where that is spoken.
    pub reason: ReasonCode,
    /// What went wrong, for people (5.0).
    pub reason_string: Option<ByteString>,
    /// Seconds, where it differs from what the client asked (5.0).
    pub session_expiry: Option<u32>,
    /// In-flight window of the server (5.0), where below 65,535.
    pub receive_maximum: Option<u16>,
    /// The highest QoS that the server takes, where below 2 (5.0).
    pub maximum_qos: Option<QoS>,
    /// Largest packet that the server takes (5.0).
    pub maximum_packet_size: Option<u32>,
    /// The id that the server chose (5.0).
    pub assigned_client_id: Option<ByteString>,
    /// Aliases the server takes (5.0).
    pub topic_alias_maximum: u16,
    /// Seconds, where it differs from what the client asked (5.0).
    pub server_keep_alive: Option<u16>,
    /// Whether shared subscriptions are served (5.0); written where false.
    pub shared_subscriptions: bool,
    /// Where the client finds its answers (5.0).
    pub response_information: Option<ByteString>,
    /// How the client was authenticated (5.0); none where its CONNECT named no method [MQTT-4.12.0-6].
    pub authentication: Option<Authentication>,
}

impl ConnAck {
    /// One without any property. Every QoS is taken, and anything may be retained: nothing has to be refused for being
    /// above what is told [5.0 MQTT-3.2.2-9, MQTT-3.2.2-10, MQTT-3.2.2-12, MQTT-3.2.2-13].
    pub fn new(reason: ReasonCode) -> ConnAck {
        ConnAck {
            session_present: false,
            reason,
            reason_string: None,
            session_expiry: None,
            receive_maximum: None,
            maximum_qos: None,
            maximum_packet_size: None,
            assigned_client_id: None,
            topic_alias_maximum: 0,
            server_keep_alive: None,
            shared_subscriptions: true,
            response_information: None,
            authentication: None,
        }
    }
}

impl SubscribeOptions {
    /// Those of 3.1.1, which knows no other than the QoS.
    pub const fn of(qos: QoS) -> SubscribeOptions {
        SubscribeOptions {
            qos,
            no_local: false,
            retain_as_published: false,
            retain_handling: RetainHandling::Send,
        }
    }
}

impl QoS {
    /// The SUBACK code that grants it (3.9.3) [5.0 MQTT-3.8.4-7].
    pub fn granted(self) -> ReasonCode {
        match self {
            QoS::AtMostOnce => ReasonCode::Success,
            QoS::AtLeastOnce => ReasonCode::GrantedQoS1,
            QoS::ExactlyOnce => ReasonCode::GrantedQoS2,
        }
    }

    /// The level of its number.
    pub fn from_u8(level: u8) -> Option<QoS> {
        match level {
            0 => Some(QoS::AtMostOnce),
            1 => Some(QoS::AtLeastOnce),
            2 => Some(QoS::ExactlyOnce),
            _ => None,
        }
    }
}
