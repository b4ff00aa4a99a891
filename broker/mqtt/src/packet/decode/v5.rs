//! The other packets of 5.0.

use super::error::Fault;
use super::kind::{AUTH, DISCONNECT, SUBSCRIBE, UNSUBSCRIBE};
use super::properties::{self, Carriers, Properties, Property};
use super::reader::Reader;
use super::v3::{filter, filters, no_filter, qos};
use crate::packet::{
    Ack, Auth, Disconnect, Packet, ReasonCode, RetainHandling, Subscribe, SubscribeOptions,
    Unsubscribe, library,
};
use bytes::Bytes;
use rmqtt_codec::v5::{self, Packet as Read};

/// Reads a packet other than CONNECT, PUBLISH and PINGREQ.
pub(super) fn packet(first: u8, body: Bytes) -> Result<Packet, Fault> {
    let read = library::read_v5(first, &[&body]);
    let mut reader = Reader::new(body);
    match first >> 4 {
        SUBSCRIBE => check_subscribe(&mut reader)?,
        UNSUBSCRIBE => check_unsubscribe(&mut reader)?,
        AUTH => check_auth(&mut reader)?,
        DISCONNECT => check_reasoned(properties::DISCONNECT, &mut reader)?,
        _ => {
            reader.two_bytes()?;
            check_reasoned(properties::ACK, &mut reader)?;
        }
    }
    Ok(match read? {
        Read::PublishAck(read) => Packet::PubAck(ack(read.packet_id, read.reason_code.into())?),
        Read::PublishReceived(read) => {
            Packet::PubRec(ack(read.packet_id, read.reason_code.into())?)
        }
        Read::PublishRelease(read) => Packet::PubRel(ack(read.packet_id, read.reason_code.into())?),
        Read::PublishComplete(read) => {
            Packet::PubComp(ack(read.packet_id, read.reason_code.into())?)
        }
        Read::Subscribe(read) => Packet::Subscribe(Subscribe {
            packet_id: read.packet_id,
            identifier: read.id,
            user_properties: read.user_properties,
            filters: read
                .topic_filters
                .into_iter()
                .map(|(text, asked)| Ok((filter(text)?, options(asked))))
                .collect::<Result<_, Fault>>()?,
        }),
        Read::Unsubscribe(read) => Packet::Unsubscribe(Unsubscribe {
            packet_id: read.packet_id,
            filters: filters(read.topic_filters)?,
        }),
        Read::Disconnect(read) => Packet::Disconnect(Disconnect {
            reason: reason_to_leave(read.reason_code.into())?,
            session_expiry: read.session_expiry_interval_secs,
        }),
        Read::Auth(read) => Packet::Auth(Auth {
            reason: reason(read.reason_code.into())?,
            method: read.auth_method,
            data: read.auth_data,
        }),
        _ => return Err(Fault::protocol("a packet out of place", "5.0 2.1.2")),
    })
}

fn check_subscribe(reader: &mut Reader) -> Result<(), Fault> {
    reader.two_bytes()?;
    Properties::of(properties::SUBSCRIBE, reader)?.check()?;
    if reader.is_empty() {
        return Err(no_filter("5.0 MQTT-3.8.3-2"));
    }
    while !reader.is_empty() {
        let filter = reader.binary()?;
        let options = reader.byte()?;
        if options & 0b1100_0000 != 0 {
            return Err(Fault::malformed(
                "reserved bits in the subscription options",
                "5.0 MQTT-3.8.3-5",
            ));
        }
        if options & 0b11 == 3 || options & 0b11_0000 == 0b11_0000 {
            return Err(Fault::protocol(
                "maximum QoS or retain handling 3",
                "5.0 3.8.3.1",
            ));
        }
        if options & 0b100 != 0 && filter.starts_with(b"$share/") {
            return Err(Fault::protocol(
                "no local on a shared subscription",
                "5.0 MQTT-3.8.3-4",
            ));
        }
    }
    Ok(())
}

fn check_unsubscribe(reader: &mut Reader) -> Result<(), Fault> {
    reader.two_bytes()?;
    Properties::of(properties::UNSUBSCRIBE, reader)?.check()?;
    if reader.is_empty() {
        return Err(no_filter("5.0 MQTT-3.10.3-2"));
    }
    Ok(())
}

/// A client says continue or re-authenticate, and by which method; success is the server's word
/// (3.15.2.1, 3.15.2.2.2).
fn check_auth(reader: &mut Reader) -> Result<(), Fault> {
    if reader.is_empty() || reader.byte()? == 0 {
        return Err(Fault::protocol(
            "AUTH with success from a client",
            "5.0 3.15.2.1",
        ));
    }
    let mut method = false;
    if !reader.is_empty() {
        let mut properties = Properties::of(properties::AUTH, reader)?;
        while let Some(property) = properties.next()? {
            method |= matches!(property, Property::AuthenticationMethod);
        }
    }
    if !method {
        return Err(Fault::protocol("AUTH without a method", "5.0 3.15.2.2.2"));
    }
    Ok(())
}

/// A reason code and properties, each of which may be left out.
fn check_reasoned(carrier: Carriers, reader: &mut Reader) -> Result<(), Fault> {
    if reader.is_empty() {
        return Ok(());
    }
    reader.byte()?;
    if reader.is_empty() {
        return Ok(());
    }
    Properties::of(carrier, reader)?.check()
}

fn ack(packet_id: std::num::NonZeroU16, code: u8) -> Result<Ack, Fault> {
    Ok(Ack {
        packet_id,
        reason: reason(code)?,
    })
}

/// The reason of a client's DISCONNECT; those that only a server gives are none [5.0 MQTT-3.14.2-1].
fn reason_to_leave(code: u8) -> Result<ReasonCode, Fault> {
    match code {
        0x87 | 0x89 | 0x8B | 0x8D..=0x8F | 0x9A..=0xA2 => Err(Fault::protocol(
            "DISCONNECT with a reason that only servers have",
            "5.0 MQTT-3.14.2-1",
        )),
        _ => reason(code),
    }
}

fn options(read: v5::SubscriptionOptions) -> SubscribeOptions {
    SubscribeOptions {
        qos: qos(read.qos),
        no_local: read.no_local,
        retain_as_published: read.retain_as_published,
        retain_handling: match read.retain_handling {
            v5::RetainHandling::AtSubscribe => RetainHandling::Send,
            v5::RetainHandling::AtSubscribeNew => RetainHandling::SendIfNew,
            v5::RetainHandling::NoAtSubscribe => RetainHandling::DoNotSend,
        },
    }
}

/// The reason of a code that some client's packet may carry. The library has checked which packet
/// [5.0 MQTT-3.4.2-1, MQTT-3.5.2-1, MQTT-3.6.2-1, MQTT-3.7.2-1, MQTT-3.14.2-1, MQTT-3.15.2-1].
fn reason(code: u8) -> Result<ReasonCode, Fault> {
    use ReasonCode as R;
    const ALL: [ReasonCode; 37] = [
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
        R::ServerBusy,
        R::ServerShuttingDown,
        R::BadAuthenticationMethod,
        R::KeepAliveTimeout,
        R::SessionTakenOver,
        R::TopicFilterInvalid,
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
        R::RetainNotSupported,
        R::QoSNotSupported,
        R::UseAnotherServer,
        R::ServerMoved,
        R::SharedSubscriptionsNotSupported,
        R::ConnectionRateExceeded,
        R::MaximumConnectTime,
        R::SubscriptionIdentifiersNotSupported,
        R::WildcardSubscriptionsNotSupported,
        R::ServerUnavailable,
        R::Banned,
    ];
    ALL.into_iter()
        .find(|reason| *reason as u8 == code)
        .ok_or(Fault::malformed(
            "a reason code that this packet does not have",
            "5.0 2.4",
        ))
}
