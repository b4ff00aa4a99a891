//! Which reason codes each packet carries: all 256 are tried, in both directions.

use super::decode_one;
use super::values::*;

/// Rows of 2.4: the packet's first byte, what lies around its code, and the codes that it may have from a client.
type Row = (u8, &'static [u8], &'static [u8], &'static [u8]);

const OF_PUBACK: &[u8] = &[0, 0x10, 0x80, 0x83, 0x87, 0x90, 0x91, 0x97, 0x99];
const OF_PUBREL: &[u8] = &[0, 0x92];

#[rustfmt::skip] // a table
const FROM_CLIENTS: [Row; 6] = [
    (0x40, b"\x00\x01", b"", OF_PUBACK), // [MQTT-3.4.2-1]
    (0x50, b"\x00\x01", b"", OF_PUBACK), // [MQTT-3.5.2-1]
    (0x62, b"\x00\x01", b"", OF_PUBREL), // [MQTT-3.6.2-1]
    (0x70, b"\x00\x01", b"", OF_PUBREL), // [MQTT-3.7.2-1]
    (0xE0, b"", b"", &[0, 4, 0x80, 0x81, 0x82, 0x83, 0x8C, 0x90, 0x93, 0x94, 0x95, 0x96, 0x97, 0x98, 0x99]), // [MQTT-3.14.2-1]
    (0xF0, b"", b"\x04\x15\x00\x01m", &[0x18, 0x19]), // [MQTT-3.15.2-1]
];

/// Those that only a server gives in a DISCONNECT (3.14.2.1).
const OF_SERVERS: &[u8] = &[
    0x87, 0x89, 0x8B, 0x8D, 0x8E, 0x8F, 0x9A, 0x9B, 0x9C, 0x9D, 0x9E, 0x9F, 0xA0, 0xA1, 0xA2,
];

fn reason_of(packet: &Packet) -> ReasonCode {
    match packet {
        Packet::PubAck(ack) | Packet::PubRec(ack) | Packet::PubRel(ack) | Packet::PubComp(ack) => {
            ack.reason
        }
        Packet::Disconnect(disconnect) => disconnect.reason,
        Packet::Auth(auth) => auth.reason,
        other => panic!("{other:?} has no reason"),
    }
}

#[test]
fn a_packet_has_the_reasons_of_its_kind_only() {
    for (first, before, after, codes) in FROM_CLIENTS {
        for code in 0..=0xFF {
            let body = [before, &[code], after].concat();
            let bytes = [&[first, u8::try_from(body.len()).unwrap()], &body[..]].concat();
            let read = decode_one(V5, &bytes);
            if codes.contains(&code) {
                let packet = read.unwrap().unwrap();
                assert_eq!(reason_of(&packet) as u8, code, "{packet:?}");
                continue;
            }
            let expected = match (first, code) {
                (0xE0, code) if OF_SERVERS.contains(&code) => ProtocolError,
                (0xF0, 0) => ProtocolError, // 3.15.2.1: the server says it
                _ => MalformedPacket,
            };
            assert_eq!(read.unwrap_err().reason(), expected, "{bytes:x?}");
        }
    }
}

const ALL: [ReasonCode; 43] = [
    Success,
    GrantedQoS1,
    GrantedQoS2,
    DisconnectWithWill,
    NoMatchingSubscribers,
    NoSubscriptionExisted,
    ContinueAuthentication,
    ReAuthenticate,
    UnspecifiedError,
    MalformedPacket,
    ProtocolError,
    ImplementationSpecificError,
    UnsupportedProtocolVersion,
    ClientIdentifierNotValid,
    BadUserNameOrPassword,
    NotAuthorized,
    ServerUnavailable,
    ServerBusy,
    Banned,
    ServerShuttingDown,
    BadAuthenticationMethod,
    KeepAliveTimeout,
    SessionTakenOver,
    TopicFilterInvalid,
    TopicNameInvalid,
    PacketIdentifierInUse,
    PacketIdentifierNotFound,
    ReceiveMaximumExceeded,
    TopicAliasInvalid,
    PacketTooLarge,
    MessageRateTooHigh,
    QuotaExceeded,
    AdministrativeAction,
    PayloadFormatInvalid,
    RetainNotSupported,
    QoSNotSupported,
    UseAnotherServer,
    ServerMoved,
    SharedSubscriptionsNotSupported,
    ConnectionRateExceeded,
    MaximumConnectTime,
    SubscriptionIdentifiersNotSupported,
    WildcardSubscriptionsNotSupported,
];

#[test]
fn a_reply_has_the_reasons_of_its_kind_only() {
    let id = PacketId::MIN;
    let method = || Authentication {
        method: "m".into(),
        data: None,
    };
    let [connack, suback, unsuback, disconnect]: [&[u8]; 4] = [
        &[
            0, 0x80, 0x81, 0x82, 0x83, 0x84, 0x85, 0x86, 0x87, 0x88, 0x89, 0x8A, 0x8C, 0x90, 0x95,
            0x97, 0x99, 0x9A, 0x9B, 0x9C, 0x9D, 0x9F,
        ],
        &[
            0, 1, 2, 0x80, 0x83, 0x87, 0x8F, 0x91, 0x97, 0x9E, 0xA1, 0xA2,
        ],
        &[0, 0x11, 0x80, 0x83, 0x87, 0x8F, 0x91],
        &[
            0, 4, 0x80, 0x81, 0x82, 0x83, 0x87, 0x89, 0x8B, 0x8C, 0x8D, 0x8E, 0x8F, 0x90, 0x93,
            0x94, 0x95, 0x96, 0x97, 0x98, 0x99, 0x9A, 0x9B, 0x9C, 0x9D, 0x9E, 0x9F, 0xA0, 0xA1,
            0xA2,
        ],
    ];
    for reason in ALL {
        let text = || Some("why".into());
        let rows = [
            // [5.0 MQTT-3.2.2-8]
            (
                Reply::ConnAck(Box::new(ConnAck::new(reason))),
                3,
                connack,
                0x80,
            ),
            (Reply::PubAck(id, reason, text()), 4, OF_PUBACK, 0x80),
            (Reply::PubRec(id, reason, text()), 4, OF_PUBACK, 0x80),
            (Reply::PubRel(id, reason, text()), 4, OF_PUBREL, 0x92),
            (Reply::PubComp(id, reason, text()), 4, OF_PUBREL, 0x92),
            (Reply::SubAck(id, vec![reason], None), 5, suback, 0x80),
            (Reply::UnsubAck(id, vec![reason], None), 5, unsuback, 0x80),
            (Reply::Disconnect(reason, None), 2, disconnect, 0x80),
            (Reply::Auth(reason, method(), None), 2, &[0], 0x18),
        ];
        for (reply, at, codes, otherwise) in rows {
            let mut out = Vec::new();
            encode(V5, &reply, true, None, &mut out);
            let code = reason as u8;
            let expected = if codes.contains(&code) {
                code
            } else {
                otherwise
            };
            assert_eq!(out[at], expected, "{reply:?}: {out:x?}");
        }
    }
}
