//! Converts the client library's reason codes to the bytes of the standard (5.0, 2.4).

use rumqttc::v5::mqttbytes::v5::{
    ConnectReturnCode, PubAckReason, PubRecReason, SubscribeReasonCode,
};

/// No subscriber matched.
pub(super) const UNMATCHED: u8 = 0x10;

pub(super) fn connack(code: ConnectReturnCode) -> u8 {
    match code {
        ConnectReturnCode::Success => 0,
        ConnectReturnCode::MalformedPacket => 0x81,
        ConnectReturnCode::ProtocolError => 0x82,
        ConnectReturnCode::ImplementationSpecificError => 0x83,
        ConnectReturnCode::UnsupportedProtocolVersion
        | ConnectReturnCode::RefusedProtocolVersion => 0x84,
        ConnectReturnCode::ClientIdentifierNotValid | ConnectReturnCode::BadClientId => 0x85,
        ConnectReturnCode::BadUserNamePassword => 0x86,
        ConnectReturnCode::NotAuthorized => 0x87,
        ConnectReturnCode::ServerUnavailable | ConnectReturnCode::ServiceUnavailable => 0x88,
        ConnectReturnCode::ServerBusy => 0x89,
        ConnectReturnCode::Banned => 0x8a,
        ConnectReturnCode::BadAuthenticationMethod => 0x8c,
        ConnectReturnCode::TopicNameInvalid => 0x90,
        ConnectReturnCode::PacketTooLarge => 0x95,
        ConnectReturnCode::QuotaExceeded => 0x97,
        ConnectReturnCode::PayloadFormatInvalid => 0x99,
        ConnectReturnCode::RetainNotSupported => 0x9a,
        ConnectReturnCode::QoSNotSupported => 0x9b,
        ConnectReturnCode::UseAnotherServer => 0x9c,
        ConnectReturnCode::ServerMoved => 0x9d,
        ConnectReturnCode::ConnectionRateExceeded => 0x9f,
        ConnectReturnCode::UnspecifiedError => 0x80,
    }
}

pub(super) fn suback(code: SubscribeReasonCode) -> u8 {
    match code {
        SubscribeReasonCode::Success(_) => 0,
        SubscribeReasonCode::Failure | SubscribeReasonCode::Unspecified => 0x80,
        SubscribeReasonCode::ImplementationSpecific => 0x83,
        SubscribeReasonCode::NotAuthorized => 0x87,
        SubscribeReasonCode::TopicFilterInvalid => 0x8f,
        SubscribeReasonCode::PkidInUse => 0x91,
        SubscribeReasonCode::QuotaExceeded => 0x97,
        SubscribeReasonCode::SharedSubscriptionsNotSupported => 0x9e,
        SubscribeReasonCode::SubscriptionIdNotSupported => 0xa1,
        SubscribeReasonCode::WildcardSubscriptionsNotSupported => 0xa2,
    }
}

/// The library has two types for the same codes.
macro_rules! publish_reason {
    ($name:ident, $type:ident) => {
        pub(super) fn $name(reason: $type) -> u8 {
            match reason {
                $type::Success => 0,
                $type::NoMatchingSubscribers => UNMATCHED,
                $type::UnspecifiedError => 0x80,
                $type::ImplementationSpecificError => 0x83,
                $type::NotAuthorized => 0x87,
                $type::TopicNameInvalid => 0x90,
                $type::PacketIdentifierInUse => 0x91,
                $type::QuotaExceeded => 0x97,
                $type::PayloadFormatInvalid => 0x99,
            }
        }
    };
}

publish_reason!(puback, PubAckReason);
publish_reason!(pubrec, PubRecReason);
