//! MQTT control packets as values, their decoder and their encoders.
//!
//! Architecture invariant: nothing in here knows a session, a socket or a clock. Each check names the clause that it
//! enforces. The session checks all that depends on earlier packets.

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
pub(crate) use publish::PublishLengths;
pub use publish::{Patch, PublishFrame, PublishParts, TopicAlias, encode_publish};
pub use reason::ReasonCode;
pub use topic::{NameError, TopicFilter, TopicName, has_more_levels, levels};

use bytes::Bytes;
use bytestring::ByteString;

/// The protocol version of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Version {
    /// MQTT 3.1 and 3.1.1, which are the same on the wire after CONNECT.
    V3,
    /// MQTT 5.0.
    V5,
}

/// Quality of service: how often the receiver gets a message.
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

/// Bytes of the largest packet that MQTT allows: a fixed header of five bytes and a remaining length of 268,435,455
/// (3.1.1 2.2.3, 5.0 2.1.4).
pub const LARGEST_PACKET: u32 = 5 + 268_435_455;

/// A packet identifier; never 0 [MQTT-2.3.1-1, MQTT-2.2.1-3].
pub type PacketId = std::num::NonZeroU16;

/// User properties, name and value, in the order of the packet.
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

/// CONNECT, the first packet of every connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Connect {
    /// The version that the connection uses.
    pub version: Version,
    /// The client identifier as the client sent it; may be empty.
    pub client_id: ByteString,
    /// The Clean Session (3.1.1) or Clean Start (5.0) flag.
    pub clean: bool,
    /// Seconds that may pass between two packets of the client; 0: no limit.
    pub keep_alive: u16,
    /// The will message.
    pub will: Option<Will>,
    /// The user name.
    pub user_name: Option<ByteString>,
    /// The password.
    pub password: Option<Bytes>,
    /// Seconds that the session outlives its connection (5.0; 0 if absent).
    pub session_expiry: u32,
    /// QoS 1 and 2 messages that the server may have in flight to the client (5.0; 65,535 if absent).
    pub receive_maximum: u16,
    /// The largest packet that the client takes, in bytes (5.0); none: any.
    pub maximum_packet_size: Option<u32>,
    /// The highest topic alias that the client takes (5.0); 0: none.
    pub topic_alias_maximum: u16,
    /// Whether the client requests response information in CONNACK (5.0).
    pub request_response_information: bool,
    /// Whether the client takes reason strings and user properties in all packets (5.0; true if absent).
    pub request_problem_information: bool,
    /// The protocol level (3.1.2.2): 3 for 3.1, 4 for 3.1.1, 5 for 5.0. The CONNACK of 3.1 has no session present flag.
    /// A [bridge](Self::is_bridge) adds 0x80.
    pub level: u8,
    /// The method of enhanced authentication (5.0).
    pub authentication_method: Option<ByteString>,
    /// The data of enhanced authentication (5.0); absent without a method.
    pub authentication_data: Option<Bytes>,
    /// User properties (5.0).
    pub user_properties: UserProperties,
}

impl Connect {
    /// The bit of the protocol level by which mosquitto's bridges announce themselves, in 3.1 and 3.1.1.
    pub const BRIDGE: u8 = 0x80;

    /// Whether the client is a 3.1 or 3.1.1 client that joins two servers. It receives no message of its own, and
    /// RETAIN as it was published.
    #[must_use]
    pub fn is_bridge(&self) -> bool {
        self.level & Self::BRIDGE != 0
    }
}

/// The will in a CONNECT: the server publishes it if the connection ends without a normal DISCONNECT.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Will {
    /// The topic of the will.
    pub topic: TopicName,
    /// The will payload.
    pub payload: Bytes,
    /// The QoS that the will is published with.
    pub qos: QoS,
    /// Whether the will is published as a retained message.
    pub retain: bool,
    /// Seconds from the end of the connection until the will is published (5.0; 0 if absent).
    pub delay: u32,
    /// The properties that the will is published with (5.0).
    pub properties: PublishProperties,
}

/// A PUBLISH that a client sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Publish {
    /// The DUP flag: the client may have sent the packet before.
    pub dup: bool,
    /// The quality of service.
    pub qos: QoS,
    /// The RETAIN flag: the server stores the message for later subscribers.
    pub retain: bool,
    /// The topic; none if a 5.0 client sent only an alias.
    pub topic: Option<TopicName>,
    /// The packet identifier; present with QoS 1 and 2.
    pub packet_id: Option<PacketId>,
    /// The topic alias (5.0).
    pub topic_alias: Option<std::num::NonZeroU16>,
    /// The other properties (5.0); none if the sender set none. Boxed, since most messages have none, and each is moved
    /// several times.
    pub properties: Option<Box<PublishProperties>>,
    /// The application message.
    pub payload: Bytes,
}

/// Properties that the server forwards with an application message (5.0, 3.3.2.3).
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct PublishProperties {
    /// True: the payload is UTF-8; false: bytes of any kind; none: the sender did not say.
    pub payload_format_indicator: Option<bool>,
    /// Seconds until the message expires; none: it does not expire.
    pub message_expiry: Option<u32>,
    /// The content type of the payload, such as `application/json`.
    pub content_type: Option<ByteString>,
    /// The topic that a response is to be published to.
    pub response_topic: Option<ByteString>,
    /// Data by which the requester recognises the response.
    pub correlation_data: Option<Bytes>,
    /// User properties.
    pub user_properties: UserProperties,
}

/// A PUBACK, PUBREC, PUBREL or PUBCOMP that a client sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ack {
    /// The packet identifier of the acknowledged message.
    pub packet_id: PacketId,
    /// The reason code; `Success` if absent and in 3.1.1.
    pub reason: ReasonCode,
}

/// SUBSCRIBE with its topic filters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subscribe {
    /// The packet identifier, which the SUBACK repeats.
    pub packet_id: PacketId,
    /// The subscription identifier (5.0): 1 to 268,435,455.
    pub identifier: Option<std::num::NonZeroU32>,
    /// User properties (5.0).
    pub user_properties: UserProperties,
    /// At least one [MQTT-3.8.3-3]. An invalid filter is an error in its place: the SUBACK of 5.0 answers it with
    /// 0x8F. An empty filter, or one with a control character, is never in here: the decoder refuses the packet.
    pub filters: Vec<(Result<TopicFilter, NameError>, SubscribeOptions)>,
}

/// The subscription options of one filter (3.8.3.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct SubscribeOptions {
    /// The maximum QoS of messages that are delivered.
    pub qos: QoS,
    /// No Local: the client does not receive messages that it published itself.
    pub no_local: bool,
    /// Retain As Published: live messages keep the RETAIN flag of their publisher.
    pub retain_as_published: bool,
    /// Retain Handling: when the server sends retained messages.
    pub retain_handling: RetainHandling,
}

/// Retain Handling (3.8.3.1): when a SUBSCRIBE makes the server send retained messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum RetainHandling {
    /// At every SUBSCRIBE.
    Send,
    /// Only if the subscription is new [5.0 MQTT-3.3.1-10].
    SendIfNew,
    /// Never [5.0 MQTT-3.3.1-11].
    DoNotSend,
}

/// UNSUBSCRIBE with its topic filters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unsubscribe {
    /// The packet identifier, which the UNSUBACK repeats.
    pub packet_id: PacketId,
    /// At least one [MQTT-3.10.3-2]; an invalid filter is an error in its place.
    pub filters: Vec<Result<TopicFilter, NameError>>,
}

/// A DISCONNECT that a client sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Disconnect {
    /// The reason code; `Success` (normal disconnection) if absent and in 3.1.1.
    pub reason: ReasonCode,
    /// The session expiry, in seconds, that replaces the one of CONNECT (5.0).
    pub session_expiry: Option<u32>,
}

/// An AUTH that a client sent (5.0).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Auth {
    /// `ContinueAuthentication` or `ReAuthenticate`.
    pub reason: ReasonCode,
    /// The authentication method; the decoder refuses an AUTH without one.
    pub method: Option<ByteString>,
    /// The authentication data, in the form of the method.
    pub data: Option<Bytes>,
}

/// A packet that the server sends, except PUBLISH, which [`encode_publish`] encodes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reply {
    /// CONNACK
    ConnAck(Box<ConnAck>),
    /// PUBACK with a reason code, and a reason string for 5.0.
    PubAck(PacketId, ReasonCode, Option<ByteString>),
    /// PUBREC
    PubRec(PacketId, ReasonCode, Option<ByteString>),
    /// PUBREL
    PubRel(PacketId, ReasonCode, Option<ByteString>),
    /// PUBCOMP
    PubComp(PacketId, ReasonCode, Option<ByteString>),
    /// SUBACK: a code for each filter, and one reason string for 5.0. 3.1.1 gets 0x80 for every error code.
    SubAck(PacketId, Vec<ReasonCode>, Option<ByteString>),
    /// UNSUBACK: a code for each filter, and one reason string; 3.1.1 gets neither.
    UnsubAck(PacketId, Vec<ReasonCode>, Option<ByteString>),
    /// PINGRESP
    PingResp,
    /// DISCONNECT with a reason string (5.0; nothing is written for 3.1.1).
    Disconnect(ReasonCode, Option<ByteString>),
    /// AUTH: success or continue, with a reason string (5.0; nothing is written for 3.1.1).
    Auth(ReasonCode, Authentication, Option<ByteString>),
}

/// The server's part of enhanced authentication (5.0, 4.12), in AUTH and in CONNACK.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Authentication {
    /// The authentication method of the CONNECT [MQTT-4.12.0-5].
    pub method: ByteString,
    /// The authentication data, in the form of the method; at most 65,535 bytes.
    pub data: Option<Bytes>,
}

/// CONNACK, the answer to CONNECT.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConnAck {
    /// The Session Present flag: the server resumed a session.
    pub session_present: bool,
    /// The reason code; the encoder maps it to one of the six return codes of 3.1.1.
    pub reason: ReasonCode,
    /// The reason string: explains an error to people (5.0).
    pub reason_string: Option<ByteString>,
    /// The session expiry in seconds, if it differs from the client's (5.0).
    pub session_expiry: Option<u32>,
    /// QoS 1 and 2 messages that the client may have in flight (5.0); none: 65,535.
    pub receive_maximum: Option<u16>,
    /// The highest QoS that the server takes, if below 2 (5.0).
    pub maximum_qos: Option<QoS>,
    /// The largest packet that the server takes, in bytes (5.0); none: any.
    pub maximum_packet_size: Option<u32>,
    /// The client identifier that the server assigned (5.0).
    pub assigned_client_id: Option<ByteString>,
    /// The highest topic alias that the server takes (5.0); 0: none.
    pub topic_alias_maximum: u16,
    /// The keep alive in seconds, if it differs from the client's (5.0).
    pub server_keep_alive: Option<u16>,
    /// Whether the server has shared subscriptions (5.0); written if false.
    pub shared_subscriptions: bool,
    /// The response information: from it the client makes its response topics (5.0).
    pub response_information: Option<ByteString>,
    /// The enhanced authentication (5.0); none if the CONNECT named no method [MQTT-4.12.0-6].
    pub authentication: Option<Authentication>,
}

impl ConnAck {
    /// A CONNACK without properties: the client may use every QoS and retained messages, so that no packet can exceed
    /// what it announces [5.0 MQTT-3.2.2-9, MQTT-3.2.2-10, MQTT-3.2.2-12, MQTT-3.2.2-13].
    #[must_use]
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
    /// The options of a 3.1.1 subscription, which has a QoS only.
    #[must_use]
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
    /// The SUBACK code that grants this QoS (3.9.3) [5.0 MQTT-3.8.4-7].
    #[must_use]
    pub fn granted(self) -> ReasonCode {
        match self {
            QoS::AtMostOnce => ReasonCode::Success,
            QoS::AtLeastOnce => ReasonCode::GrantedQoS1,
            QoS::ExactlyOnce => ReasonCode::GrantedQoS2,
        }
    }

    /// The QoS with this number; none above 2.
    #[must_use]
    pub fn from_u8(level: u8) -> Option<QoS> {
        match level {
            0 => Some(QoS::AtMostOnce),
            1 => Some(QoS::AtLeastOnce),
            2 => Some(QoS::ExactlyOnce),
            _ => None,
        }
    }
}
