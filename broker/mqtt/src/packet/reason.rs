//! Reason codes (5.0, 2.4), and the packets that may carry each of them.

use super::kind::{AUTH, CONNACK, DISCONNECT, PUBACK, PUBCOMP, PUBREC, PUBREL, SUBACK, UNSUBACK};

/// A reason code of MQTT 5.0. 3.1.1 has a few of them, as return codes with other numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
#[allow(missing_docs)] // the names are the standard's own
pub enum ReasonCode {
    /// Also normal disconnection and granted QoS 0.
    Success = 0x00,
    GrantedQoS1 = 0x01,
    GrantedQoS2 = 0x02,
    DisconnectWithWill = 0x04,
    NoMatchingSubscribers = 0x10,
    NoSubscriptionExisted = 0x11,
    ContinueAuthentication = 0x18,
    ReAuthenticate = 0x19,
    UnspecifiedError = 0x80,
    MalformedPacket = 0x81,
    ProtocolError = 0x82,
    ImplementationSpecificError = 0x83,
    UnsupportedProtocolVersion = 0x84,
    ClientIdentifierNotValid = 0x85,
    BadUserNameOrPassword = 0x86,
    NotAuthorized = 0x87,
    ServerUnavailable = 0x88,
    ServerBusy = 0x89,
    Banned = 0x8A,
    ServerShuttingDown = 0x8B,
    BadAuthenticationMethod = 0x8C,
    KeepAliveTimeout = 0x8D,
    SessionTakenOver = 0x8E,
    TopicFilterInvalid = 0x8F,
    TopicNameInvalid = 0x90,
    PacketIdentifierInUse = 0x91,
    PacketIdentifierNotFound = 0x92,
    ReceiveMaximumExceeded = 0x93,
    TopicAliasInvalid = 0x94,
    PacketTooLarge = 0x95,
    MessageRateTooHigh = 0x96,
    QuotaExceeded = 0x97,
    AdministrativeAction = 0x98,
    PayloadFormatInvalid = 0x99,
    RetainNotSupported = 0x9A,
    QoSNotSupported = 0x9B,
    UseAnotherServer = 0x9C,
    ServerMoved = 0x9D,
    SharedSubscriptionsNotSupported = 0x9E,
    ConnectionRateExceeded = 0x9F,
    MaximumConnectTime = 0xA0,
    SubscriptionIdentifiersNotSupported = 0xA1,
    WildcardSubscriptionsNotSupported = 0xA2,
}

/// The codes that a client's packets may carry.
const FROM_CLIENTS: [ReasonCode; 21] = {
    use ReasonCode as R;
    [
        R::Success,
        R::DisconnectWithWill,
        R::NoMatchingSubscribers,
        R::ContinueAuthentication,
        R::ReAuthenticate,
        R::UnspecifiedError,
        R::MalformedPacket,
        R::ProtocolError,
        R::ImplementationSpecificError,
        R::NotAuthorized,
        R::BadAuthenticationMethod,
        R::TopicNameInvalid,
        R::PacketIdentifierInUse,
        R::PacketIdentifierNotFound,
        R::ReceiveMaximumExceeded,
        R::TopicAliasInvalid,
        R::PacketTooLarge,
        R::MessageRateTooHigh,
        R::QuotaExceeded,
        R::AdministrativeAction,
        R::PayloadFormatInvalid,
    ]
};

impl ReasonCode {
    /// Whether the code reports a failure: 0x80 and above (2.4).
    #[must_use]
    pub fn is_error(self) -> bool {
        self as u8 >= 0x80
    }

    /// The reason with the number `code`; none if a client's packet of this `kind` must not carry it
    /// [5.0 MQTT-3.4.2-1, MQTT-3.5.2-1, MQTT-3.6.2-1, MQTT-3.7.2-1, MQTT-3.14.2-1, MQTT-3.15.2-1].
    pub(super) fn from_client(kind: u8, code: u8) -> Option<ReasonCode> {
        let all = FROM_CLIENTS.into_iter();
        let mut all = all.filter(|_| belongs(kind, code));
        all.find(|reason| *reason as u8 == code)
    }

    /// The number that the server writes in its packet of this `kind`. If the packet must not carry this reason, it is
    /// the packet's general error [5.0 MQTT-3.2.2-8, MQTT-3.9.3-2, MQTT-3.11.3-2].
    pub(super) fn code_in(self, kind: u8) -> u8 {
        match (self as u8, kind) {
            (code, kind) if belongs(kind, code) => code,
            // The only error code of these packets.
            (_, PUBREL | PUBCOMP) => ReasonCode::PacketIdentifierNotFound as u8,
            _ => ReasonCode::UnspecifiedError as u8,
        }
    }
}

/// Whether packets of this `kind` may carry the code (5.0, 2.4).
fn belongs(kind: u8, code: u8) -> bool {
    match kind {
        CONNACK => matches!(
            code,
            0 | 0x80..=0x8A | 0x8C | 0x90 | 0x95 | 0x97 | 0x99..=0x9D | 0x9F
        ),
        PUBACK | PUBREC => matches!(
            code,
            0 | 0x10 | 0x80 | 0x83 | 0x87 | 0x90 | 0x91 | 0x97 | 0x99
        ),
        PUBREL | PUBCOMP => matches!(code, 0 | 0x92),
        SUBACK => matches!(
            code,
            0..=2 | 0x80 | 0x83 | 0x87 | 0x8F | 0x91 | 0x97 | 0x9E | 0xA1 | 0xA2
        ),
        UNSUBACK => matches!(code, 0 | 0x11 | 0x80 | 0x83 | 0x87 | 0x8F | 0x91),
        DISCONNECT => matches!(
            code,
            0 | 0x04 | 0x80..=0x83 | 0x87 | 0x89 | 0x8B..=0x90 | 0x93..=0xA2
        ),
        AUTH => matches!(code, 0 | 0x18 | 0x19),
        _ => false,
    }
}
