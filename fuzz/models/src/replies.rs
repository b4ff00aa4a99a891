//! What the broker answers with: within the client's limit, and readable.

use super::client::{Received, receive_one};
use super::input::Input;
use bytes::Bytes;
use rmqtt_codec::{v3, v5};
use roommq_mqtt::packet::{
    Authentication, ConnAck, PacketId, QoS, ReasonCode, Reply, Version, encode,
};

const REASONS: [ReasonCode; 18] = [
    ReasonCode::Success,
    ReasonCode::GrantedQoS1,
    ReasonCode::GrantedQoS2,
    ReasonCode::NoMatchingSubscribers,
    ReasonCode::NoSubscriptionExisted,
    ReasonCode::UnspecifiedError,
    ReasonCode::MalformedPacket,
    ReasonCode::UnsupportedProtocolVersion,
    ReasonCode::ClientIdentifierNotValid,
    ReasonCode::BadUserNameOrPassword,
    ReasonCode::NotAuthorized,
    ReasonCode::ServerShuttingDown,
    ReasonCode::TopicFilterInvalid,
    ReasonCode::PacketIdentifierNotFound,
    ReasonCode::PacketTooLarge,
    ReasonCode::QuotaExceeded,
    ReasonCode::SharedSubscriptionsNotSupported,
    ReasonCode::Banned,
];

/// The text that a 5.0 client is to see is long enough to be left out at times.
const LIMITS: [Option<u32>; 6] = [None, Some(2), Some(4), Some(12), Some(40), Some(1_000)];

pub(super) fn run(mut input: Input<'_>) {
    let version = if input.flag() {
        Version::V5
    } else {
        Version::V3
    };
    let problem_information = input.flag();
    let limit = input.one_of(&LIMITS);
    let reply = reply(&mut input);
    let write = |reply: &Reply, limit| {
        // Something is in the queue already.
        let mut out = vec![0xAA; 3];
        encode(version, reply, problem_information, limit, &mut out);
        assert!(out.starts_with(&[0xAA; 3]), "{out:x?}");
        out.split_off(3)
    };

    let written = write(&reply, limit);
    let (unlimited, bare) = (write(&reply, None), write(&without_text(&reply), None));
    let within =
        |bytes: &[u8]| version == Version::V3 || limit.is_none_or(|l| bytes.len() <= l as usize);
    assert!(
        within(&written),
        "{} bytes at a limit of {limit:?}",
        written.len()
    );
    // The text goes first, then all of it.
    let expected = [unlimited, bare].into_iter().find(|bytes| within(bytes));
    assert_eq!(
        written,
        expected.unwrap_or_default(),
        "{reply:?} at a limit of {limit:?}"
    );
    if written.is_empty() {
        let unsaid = matches!(reply, Reply::Disconnect(..) | Reply::Auth(..));
        let no_such = version == Version::V3 && unsaid;
        return assert!(no_such || limit.is_some(), "{reply:?} was not written");
    }
    match receive_one(version, &written) {
        Ok(Received::V3(read)) => same_v3(&reply, &read),
        Ok(Received::V5(read)) => {
            let hides =
                !problem_information && !matches!(reply, Reply::ConnAck(_) | Reply::Disconnect(..));
            let text = same_v5(&reply, &read);
            assert!(
                !(hides && text.is_some()),
                "[MQTT-3.1.2-29] {reply:?}: {text:?}"
            );
            assert!(text.is_none() || text == text_of(&reply), "{text:?}");
        }
        Err(error) => panic!("a client cannot read {reply:?}: {error}: {written:x?}"),
    }
}

fn reply(input: &mut Input<'_>) -> Reply {
    let kind = input.byte() % 10;
    let id = PacketId::new(input.two_bytes()).unwrap_or(PacketId::MIN);
    let reason = input.one_of(&REASONS);
    let text = |input: &mut Input<'_>| input.maybe(|i| i.text().into());
    let reasons = |input: &mut Input<'_>| {
        let more = input.byte() % 8;
        let mut reasons = vec![reason];
        reasons.extend((0..more).map(|_| input.one_of(&REASONS)));
        reasons
    };
    match kind {
        0 => Reply::ConnAck(Box::new(ConnAck {
            session_present: input.flag(),
            reason,
            reason_string: text(input),
            session_expiry: input.maybe(Input::four_bytes),
            receive_maximum: input.maybe(Input::two_bytes),
            maximum_qos: input.maybe(|i| i.one_of(&[QoS::AtMostOnce, QoS::AtLeastOnce])),
            maximum_packet_size: input.maybe(|i| i.four_bytes().max(1)),
            assigned_client_id: text(input).filter(|t: &bytestring::ByteString| t.len() < 100),
            topic_alias_maximum: input.two_bytes(),
            server_keep_alive: input.maybe(Input::two_bytes),
            shared_subscriptions: input.flag(),
            response_information: text(input).filter(|t: &bytestring::ByteString| t.len() < 100),
            authentication: input.maybe(authentication),
        })),
        1 => Reply::PubAck(id, reason, text(input)),
        2 => Reply::PubRec(id, reason, text(input)),
        3 => Reply::PubRel(id, reason, text(input)),
        4 => Reply::PubComp(id, reason, text(input)),
        5 => Reply::SubAck(id, reasons(input), text(input)),
        6 => Reply::UnsubAck(id, reasons(input), text(input)),
        7 => Reply::PingResp,
        8 => Reply::Auth(reason, authentication(input), text(input)),
        _ => Reply::Disconnect(reason, text(input)),
    }
}

fn authentication(input: &mut Input<'_>) -> Authentication {
    Authentication {
        method: "m".into(),
        data: input.maybe(|input| {
            let length = input.byte();
            Bytes::copy_from_slice(input.take(length.into()))
        }),
    }
}

fn text_of(reply: &Reply) -> Option<&str> {
    match reply {
        Reply::ConnAck(ack) => ack.reason_string.as_deref(),
        Reply::PubAck(_, _, text)
        | Reply::PubRec(_, _, text)
        | Reply::PubRel(_, _, text)
        | Reply::PubComp(_, _, text)
        | Reply::SubAck(_, _, text)
        | Reply::UnsubAck(_, _, text)
        | Reply::Disconnect(_, text)
        | Reply::Auth(_, _, text) => text.as_deref(),
        Reply::PingResp => None,
    }
}

fn without_text(reply: &Reply) -> Reply {
    let mut reply = reply.clone();
    match &mut reply {
        Reply::ConnAck(ack) => ack.reason_string = None,
        Reply::PubAck(_, _, text)
        | Reply::PubRec(_, _, text)
        | Reply::PubRel(_, _, text)
        | Reply::PubComp(_, _, text)
        | Reply::SubAck(_, _, text)
        | Reply::UnsubAck(_, _, text)
        | Reply::Disconnect(_, text)
        | Reply::Auth(_, _, text) => *text = None,
        Reply::PingResp => {}
    }
    reply
}

fn same_v3(reply: &Reply, read: &v3::Packet) {
    let same = match (reply, read) {
        (Reply::ConnAck(ack), v3::Packet::ConnectAck(read)) => {
            let taken = read.return_code == v3::ConnectAckReason::ConnectionAccepted;
            taken == (ack.reason == ReasonCode::Success)
                && read.session_present == (taken && ack.session_present)
        }
        (Reply::PubAck(id, ..), v3::Packet::PublishAck { packet_id })
        | (Reply::PubRec(id, ..), v3::Packet::PublishReceived { packet_id })
        | (Reply::PubRel(id, ..), v3::Packet::PublishRelease { packet_id })
        | (Reply::PubComp(id, ..), v3::Packet::PublishComplete { packet_id })
        | (Reply::UnsubAck(id, ..), v3::Packet::UnsubscribeAck { packet_id }) => id == packet_id,
        (Reply::SubAck(id, codes, _), v3::Packet::SubscribeAck { packet_id, status }) => {
            let granted = |code: &ReasonCode| match *code as u8 {
                level @ 0..=2 => v3::SubscribeReturnCode::Success(
                    [
                        rmqtt_codec::types::QoS::AtMostOnce,
                        rmqtt_codec::types::QoS::AtLeastOnce,
                        rmqtt_codec::types::QoS::ExactlyOnce,
                    ][usize::from(level)],
                ),
                _ => v3::SubscribeReturnCode::Failure,
            };
            id == packet_id && codes.iter().map(granted).eq(status.iter().copied())
        }
        (Reply::PingResp, v3::Packet::PingResponse) => true,
        _ => false,
    };
    assert!(same, "{reply:?} is read as {read:?}");
}

/// Answers the reason string.
fn same_v5<'a>(reply: &Reply, read: &'a v5::Packet) -> Option<&'a str> {
    // A code that the packet has not is written as the one given.
    let code = |ours: ReasonCode, read: u8, otherwise: u8| ours as u8 == read || otherwise == read;
    let codes = |ours: &[ReasonCode], read: Vec<u8>| {
        let mut both = ours.iter().zip(&read);
        ours.len() == read.len() && both.all(|(ours, read)| code(*ours, *read, 0x80))
    };
    let (same, text) = match (reply, read) {
        (Reply::ConnAck(ack), v5::Packet::ConnectAck(read)) => {
            (connack(ack, read), &read.reason_string)
        }
        (Reply::PubAck(id, reason, _), v5::Packet::PublishAck(read))
        | (Reply::PubRec(id, reason, _), v5::Packet::PublishReceived(read)) => (
            *id == read.packet_id && code(*reason, read.reason_code.into(), 0x80),
            &read.reason_string,
        ),
        (Reply::PubRel(id, reason, _), v5::Packet::PublishRelease(read))
        | (Reply::PubComp(id, reason, _), v5::Packet::PublishComplete(read)) => (
            *id == read.packet_id && code(*reason, read.reason_code.into(), 0x92),
            &read.reason_string,
        ),
        (Reply::SubAck(id, reasons, _), v5::Packet::SubscribeAck(read)) => {
            let status = read.status.iter().map(|code| (*code).into()).collect();
            (
                *id == read.packet_id && codes(reasons, status),
                &read.reason_string,
            )
        }
        (Reply::UnsubAck(id, reasons, _), v5::Packet::UnsubscribeAck(read)) => {
            let status = read.status.iter().map(|code| (*code).into()).collect();
            (
                *id == read.packet_id && codes(reasons, status),
                &read.reason_string,
            )
        }
        (Reply::PingResp, v5::Packet::PingResponse) => (true, &None),
        (Reply::Auth(reason, ours, _), v5::Packet::Auth(read)) => {
            let reason = if *reason == ReasonCode::Success {
                0
            } else {
                0x18
            };
            let same = reason == u8::from(read.reason_code)
                && read.auth_method.as_ref() == Some(&ours.method)
                && read.auth_data == ours.data;
            (same, &read.reason_string)
        }
        (Reply::Disconnect(reason, _), v5::Packet::Disconnect(read)) => (
            code(*reason, read.reason_code.into(), 0x80),
            &read.reason_string,
        ),
        _ => (false, &None),
    };
    assert!(same, "{reply:?} is read as {read:?}");
    text.as_deref()
}

fn connack(ack: &ConnAck, read: &v5::ConnectAck) -> bool {
    let accepted = ack.reason == ReasonCode::Success;
    let reason: u8 = read.reason_code.into();
    (reason == ack.reason as u8 || reason == 0x80)
        && read.session_present == (accepted && ack.session_present)
        && read.session_expiry_interval_secs == ack.session_expiry
        && read.receive_max.get() == ack.receive_maximum.filter(|m| *m > 0).unwrap_or(u16::MAX)
        && read.max_qos.value() == ack.maximum_qos.map_or(2, |qos| qos as u8)
        && read.max_packet_size == ack.maximum_packet_size
        && read.assigned_client_id == ack.assigned_client_id
        && read.topic_alias_max == ack.topic_alias_maximum
        && read.server_keepalive_sec == ack.server_keep_alive
        && read.shared_subscription_available == ack.shared_subscriptions
        && read.response_info == ack.response_information
        && read.auth_method == ack.authentication.as_ref().map(|a| a.method.clone())
        && read.auth_data == ack.authentication.as_ref().and_then(|a| a.data.clone())
}
