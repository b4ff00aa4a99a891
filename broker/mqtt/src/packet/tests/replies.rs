//! What the server says, byte by byte. A row: name, clause, version, reply, bytes.

use super::values::*;

fn by_method(data: Option<&'static str>) -> Authentication {
    Authentication {
        method: "m".into(),
        data: data.map(Bytes::from),
    }
}

fn one() -> PacketId {
    PacketId::MIN
}

fn encoded(version: Version, reply: &Reply, problems: bool, most: Option<u32>) -> Vec<u8> {
    let mut out = b"before".to_vec();
    encode(version, reply, problems, most, &mut out);
    assert_eq!(&out[..6], b"before", "what waits in the buffer stays");
    out.split_off(6)
}

fn connack_of(reason: ReasonCode) -> Reply {
    Reply::ConnAck(Box::new(ConnAck::new(reason)))
}

#[rustfmt::skip] // a table
fn rows() -> Vec<(&'static str, &'static str, Version, Reply, &'static [u8])> {
    let resumed = |reason| Reply::ConnAck(Box::new(ConnAck { session_present: true, ..ConnAck::new(reason) }));
    vec![
        ("welcome in 3.1.1", "3.2", V3, connack_of(Success), b"\x20\x02\x00\x00"),
        ("welcome back in 3.1.1", "MQTT-3.2.2-2", V3, resumed(Success), b"\x20\x02\x01\x00"),
        ("no session where refused in 3.1.1", "MQTT-3.2.2-4", V3, resumed(NotAuthorized), b"\x20\x02\x00\x05"),
        ("unknown version in 3.1.1", "MQTT-3.1.2-2", V3, connack_of(UnsupportedProtocolVersion), b"\x20\x02\x00\x01"),
        ("client id refused in 3.1.1", "MQTT-3.1.3-9", V3, connack_of(ClientIdentifierNotValid), b"\x20\x02\x00\x02"),
        ("busy in 3.1.1", "3.2.2.3", V3, connack_of(ServerBusy), b"\x20\x02\x00\x03"),
        ("bad password in 3.1.1", "3.2.2.3", V3, connack_of(BadUserNameOrPassword), b"\x20\x02\x00\x04"),
        ("banned in 3.1.1", "3.2.2.3", V3, connack_of(Banned), b"\x20\x02\x00\x05"),
        ("welcome in 5.0", "3.2", V5, connack_of(Success), b"\x20\x03\x00\x00\x00"),
        ("welcome back in 5.0", "MQTT-3.2.2-3", V5, resumed(Success), b"\x20\x03\x01\x00\x00"),
        ("no session where refused in 5.0", "MQTT-3.2.2-6", V5, resumed(NotAuthorized), b"\x20\x03\x00\x87\x00"),
        ("CONNACK with a code that it has not", "MQTT-3.2.2-8", V5, connack_of(SessionTakenOver), b"\x20\x03\x00\x80\x00"),
        ("CONNACK with all that it has", "3.2.2.3", V5, Reply::ConnAck(Box::new(ConnAck {
            reason_string: Some("why".into()), session_expiry: Some(7), receive_maximum: Some(10), maximum_qos: Some(AtLeastOnce),
            maximum_packet_size: Some(1024), assigned_client_id: Some("id".into()), topic_alias_maximum: 3, server_keep_alive: Some(30),
            shared_subscriptions: false, response_information: Some("r".into()), ..ConnAck::new(Success) })),
            b"\x20\x29\x00\x00\x26\x11\x00\x00\x00\x07\x21\x00\x0a\x24\x01\x27\x00\x00\x04\x00\x12\x00\x02id\x22\x00\x03\x2a\x00\x13\x00\x1e\x1a\x00\x01r\x1f\x00\x03why"),
        ("CONNACK at the end of an authentication", "MQTT-4.12.0-5", V5, Reply::ConnAck(Box::new(ConnAck { authentication: Some(by_method(Some("d"))), ..ConnAck::new(Success) })), b"\x20\x0b\x00\x00\x08\x15\x00\x01m\x16\x00\x01d"),
        ("CONNACK in 3.1.1 has no such thing", "3.2", V3, Reply::ConnAck(Box::new(ConnAck { authentication: Some(by_method(Some("d"))), ..ConnAck::new(Success) })), b"\x20\x02\x00\x00"),
        ("PUBACK in 3.1.1, a refusal like a yes", "3.4", V3, Reply::PubAck(one(), NotAuthorized, Some("no".into())), b"\x40\x02\x00\x01"),
        ("PUBREC in 3.1.1", "3.5", V3, Reply::PubRec(one(), Success, None), b"\x50\x02\x00\x01"),
        ("PUBREL in 3.1.1", "MQTT-3.6.1-1", V3, Reply::PubRel(one(), Success, None), b"\x62\x02\x00\x01"),
        ("PUBCOMP in 3.1.1", "3.7", V3, Reply::PubComp(one(), Success, None), b"\x70\x02\x00\x01"),
        ("PUBACK", "3.4.2.1", V5, Reply::PubAck(one(), Success, None), b"\x40\x02\x00\x01"),
        ("PUBACK with a reason", "MQTT-3.4.2-1", V5, Reply::PubAck(one(), QuotaExceeded, None), b"\x40\x03\x00\x01\x97"),
        ("PUBACK with a reason string", "3.4.2.2.2", V5, Reply::PubAck(one(), NotAuthorized, Some("no".into())), b"\x40\x09\x00\x01\x87\x05\x1f\x00\x02no"),
        ("PUBACK with a code that it has not", "MQTT-3.4.2-1", V5, Reply::PubAck(one(), Banned, None), b"\x40\x03\x00\x01\x80"),
        ("PUBREC with a reason string", "3.5.2.2.2", V5, Reply::PubRec(one(), NotAuthorized, Some("no".into())), b"\x50\x09\x00\x01\x87\x05\x1f\x00\x02no"),
        ("PUBREL", "MQTT-3.6.1-1", V5, Reply::PubRel(one(), Success, None), b"\x62\x02\x00\x01"),
        ("PUBCOMP without such an id", "MQTT-3.7.2-1", V5, Reply::PubComp(one(), PacketIdentifierNotFound, None), b"\x70\x03\x00\x01\x92"),
        ("PUBREL with a reason string", "3.6.2.2.2", V5, Reply::PubRel(one(), PacketIdentifierNotFound, Some("no".into())), b"\x62\x09\x00\x01\x92\x05\x1f\x00\x02no"),
        ("PUBCOMP with a reason string", "3.7.2.2.2", V5, Reply::PubComp(one(), PacketIdentifierNotFound, Some("no".into())), b"\x70\x09\x00\x01\x92\x05\x1f\x00\x02no"),
        ("PUBCOMP in 3.1.1 without such an id", "3.7", V3, Reply::PubComp(one(), PacketIdentifierNotFound, Some("no".into())), b"\x70\x02\x00\x01"),
        ("SUBACK in 3.1.1", "MQTT-3.9.3-2", V3, Reply::SubAck(one(), vec![Success, GrantedQoS1, GrantedQoS2, NotAuthorized], Some("no".into())), b"\x90\x06\x00\x01\x00\x01\x02\x80"),
        ("SUBACK", "MQTT-3.9.3-2", V5, Reply::SubAck(one(), vec![GrantedQoS1, NotAuthorized, SharedSubscriptionsNotSupported], None), b"\x90\x06\x00\x01\x00\x01\x87\x9e"),
        ("SUBACK with a reason string", "3.9.2.1.2", V5, Reply::SubAck(one(), vec![QuotaExceeded], Some("full".into())), b"\x90\x0b\x00\x01\x07\x1f\x00\x04full\x97"),
        ("SUBACK with a code that it has not", "MQTT-3.9.3-2", V5, Reply::SubAck(one(), vec![Banned], None), b"\x90\x04\x00\x01\x00\x80"),
        ("UNSUBACK in 3.1.1", "3.11", V3, Reply::UnsubAck(one(), vec![Success], Some("no".into())), b"\xb0\x02\x00\x01"),
        ("UNSUBACK", "MQTT-3.11.3-1", V5, Reply::UnsubAck(one(), vec![Success, NoSubscriptionExisted], None), b"\xb0\x05\x00\x01\x00\x00\x11"),
        ("UNSUBACK with a reason string", "3.11.2.1.2", V5, Reply::UnsubAck(one(), vec![TopicFilterInvalid], Some("no".into())), b"\xb0\x09\x00\x01\x05\x1f\x00\x02no\x8f"),
        ("PINGRESP in 3.1.1", "3.13", V3, Reply::PingResp, b"\xd0\x00"),
        ("PINGRESP", "3.13", V5, Reply::PingResp, b"\xd0\x00"),
        ("3.1.1 has no DISCONNECT from the server", "3.14", V3, Reply::Disconnect(ServerShuttingDown, None), b""),
        ("DISCONNECT", "MQTT-3.14.2-1", V5, Reply::Disconnect(ServerShuttingDown, None), b"\xe0\x02\x8b\x00"),
        ("DISCONNECT with a reason string", "3.14.2.2.3", V5, Reply::Disconnect(ProtocolError, Some("no".into())), b"\xe0\x07\x82\x05\x1f\x00\x02no"),
        ("3.1.1 has no AUTH", "2.2.1", V3, Reply::Auth(ContinueAuthentication, by_method(None), None), b""),
        ("AUTH that goes on", "MQTT-4.12.0-2", V5, Reply::Auth(ContinueAuthentication, by_method(Some("d")), None), b"\xf0\x0a\x18\x08\x15\x00\x01m\x16\x00\x01d"),
        ("AUTH that goes on without data", "3.15.2.2.3", V5, Reply::Auth(ContinueAuthentication, by_method(None), None), b"\xf0\x06\x18\x04\x15\x00\x01m"),
        ("AUTH at the end", "MQTT-3.15.2-1", V5, Reply::Auth(Success, by_method(Some("d")), None), b"\xf0\x0a\x00\x08\x15\x00\x01m\x16\x00\x01d"),
        ("AUTH with a reason string", "3.15.2.2.4", V5, Reply::Auth(Success, by_method(None), Some("ok".into())), b"\xf0\x0b\x00\x09\x15\x00\x01m\x1f\x00\x02ok"),
    ]
}

#[test]
fn table_of_replies() {
    for (name, clause, version, reply, expected) in rows() {
        let bytes = encoded(version, &reply, true, None);
        assert_eq!(bytes, expected, "{name} [{clause}]: {bytes:02x?}");
    }
}

/// [5.0 MQTT-3.1.2-29]
#[test]
fn a_client_that_wants_no_reasons_gets_them_with_a_refused_connection_only() {
    let text = || Some(ByteString::from_static("why"));
    let silent = |reply: &Reply| {
        let bytes = encoded(V5, reply, false, None);
        !bytes.windows(3).any(|window| window == b"why")
    };
    assert!(silent(&Reply::PubAck(one(), NotAuthorized, text())));
    assert!(silent(&Reply::PubRec(one(), NotAuthorized, text())));
    assert!(silent(&Reply::SubAck(one(), vec![NotAuthorized], text())));
    assert!(silent(&Reply::UnsubAck(
        one(),
        vec![TopicFilterInvalid],
        text()
    )));
    let code = PacketIdentifierNotFound;
    assert!(silent(&Reply::PubRel(one(), code, text())));
    assert!(silent(&Reply::PubComp(one(), code, text())));
    let auth = Reply::Auth(ContinueAuthentication, by_method(None), text());
    assert!(silent(&auth));
    assert!(!silent(&Reply::Disconnect(ProtocolError, text())));
    let refused = ConnAck {
        reason_string: text(),
        ..ConnAck::new(NotAuthorized)
    };
    assert!(!silent(&Reply::ConnAck(Box::new(refused))));
}

/// [5.0 MQTT-3.2.2-19, MQTT-3.4.2-2, MQTT-3.6.2-2, MQTT-3.7.2-2, MQTT-3.9.2-1, MQTT-3.11.2-1, MQTT-3.14.2-3], [5.0 MQTT-3.1.2-24]
#[test]
fn nothing_is_over_the_clients_limit() {
    let long = || Some(ByteString::from("x".repeat(50)));
    let replies = [
        Reply::ConnAck(Box::new(ConnAck {
            reason_string: long(),
            ..ConnAck::new(NotAuthorized)
        })),
        Reply::PubAck(one(), NotAuthorized, long()),
        Reply::PubRec(one(), NotAuthorized, long()),
        Reply::SubAck(one(), vec![NotAuthorized], long()),
        Reply::UnsubAck(one(), vec![TopicFilterInvalid], long()),
        Reply::PubRel(one(), PacketIdentifierNotFound, long()),
        Reply::PubComp(one(), PacketIdentifierNotFound, long()),
        Reply::Disconnect(ProtocolError, long()),
        Reply::Auth(Success, by_method(Some("d")), long()),
        Reply::PingResp,
        Reply::PubRel(one(), Success, None),
    ];
    for reply in &replies {
        let full = encoded(V5, reply, true, None).len();
        let bare = encoded(V5, reply, true, Some(20)).len();
        assert!(bare > 0 && bare <= 20, "{reply:?}: {bare}");
        for most in 0..80 {
            let len = encoded(V5, reply, true, Some(most)).len();
            let most = most as usize;
            let expected = match most {
                _ if most >= full => full,
                _ if most >= bare => bare,
                _ => 0,
            };
            assert_eq!(len, expected, "{reply:?} within {most}");
        }
    }
}

#[test]
fn a_reason_string_longer_than_a_string_is_left_out() {
    let text = Some(ByteString::from("x".repeat(70_000)));
    assert_eq!(
        encoded(V5, &Reply::Disconnect(ProtocolError, text), true, None),
        b"\xe0\x02\x82\x00"
    );
}

#[test]
fn an_acknowledgement_without_its_text_is_as_short_as_any() {
    let reply = Reply::PubAck(one(), Success, Some("why".into()));
    assert_eq!(encoded(V5, &reply, true, Some(4)), b"\x40\x02\x00\x01");
    assert_eq!(encoded(V5, &reply, true, Some(3)), b"");
}
