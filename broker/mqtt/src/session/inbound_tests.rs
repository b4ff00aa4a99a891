#![allow(clippy::unwrap_used)]
use super::*;
use crate::packet::Disconnect;

fn session() -> Session {
    let will = Will {
        topic: topic("w"),
        payload: Bytes::new(),
        qos: QoS::AtMostOnce,
        retain: false,
        delay: 0,
        properties: PublishProperties::default(),
    };
    Session::new(Start {
        version: Version::V5,
        will: Some(will),
        expiry: 0,
        expiry_requested: false,
        alias_maximum: 2,
        receive_maximum: 2,
        unreleased: HashSet::new(),
    })
}

fn topic(name: &str) -> TopicName {
    TopicName::new(name.into()).unwrap()
}

fn publish(qos: QoS, id: u16, name: Option<&str>, alias: u16) -> Packet {
    Packet::Publish(Publish {
        dup: false,
        qos,
        retain: false,
        topic: name.map(topic),
        packet_id: PacketId::new(id),
        topic_alias: NonZeroU16::new(alias),
        properties: None,
        payload: Bytes::new(),
    })
}

fn topic_of(step: Result<Step, Close>) -> String {
    match step.unwrap() {
        Step::Publish(p) => p.topic.as_str().to_owned(),
        other => panic!("{other:?}"),
    }
}

fn ack(id: u16, reason: ReasonCode) -> Ack {
    Ack {
        packet_id: PacketId::new(id).unwrap(),
        reason,
    }
}

#[test]
fn an_alias_stands_for_the_last_topic_it_came_with() {
    let mut s = session();
    let qos = QoS::AtMostOnce;
    assert_eq!(topic_of(s.step(publish(qos, 0, Some("a"), 1))), "a");
    assert_eq!(topic_of(s.step(publish(qos, 0, None, 1))), "a");
    assert_eq!(topic_of(s.step(publish(qos, 0, Some("b"), 1))), "b");
    assert_eq!(topic_of(s.step(publish(qos, 0, None, 1))), "b");
    let reasons = [(None, 2), (Some("c"), 3), (None, 0)]
        .map(|(name, alias)| s.step(publish(qos, 0, name, alias)).unwrap_err().reason);
    let (protocol, alias) = (ReasonCode::ProtocolError, ReasonCode::TopicAliasInvalid);
    assert_eq!(reasons, [protocol, alias, protocol]);
}

#[test]
fn a_qos_2_message_is_taken_once_until_released() {
    let mut s = session();
    let qos = QoS::ExactlyOnce;
    let id = PacketId::new(5).unwrap();
    assert_eq!(topic_of(s.step(publish(qos, 5, Some("a"), 0))), "a");
    assert_eq!(
        s.step(publish(qos, 5, Some("a"), 0)),
        Ok(Step::Duplicate(id))
    );
    let released = s.step(Packet::PubRel(ack(5, ReasonCode::Success)));
    assert_eq!(released, Ok(Step::Released(id, ReasonCode::Success)));
    let again = s.step(Packet::PubRel(ack(5, ReasonCode::Success)));
    assert_eq!(
        again,
        Ok(Step::Released(id, ReasonCode::PacketIdentifierNotFound))
    );
    assert_eq!(topic_of(s.step(publish(qos, 5, Some("a"), 0))), "a");
    s.release(id);
    assert_eq!(topic_of(s.step(publish(qos, 5, Some("a"), 0))), "a");
    s.step(publish(qos, 6, Some("a"), 0)).unwrap();
    let over = s.step(publish(qos, 7, Some("a"), 0)).unwrap_err();
    assert_eq!(over.reason, ReasonCode::ReceiveMaximumExceeded);
}

#[test]
fn the_receive_maximum_is_of_a_connection_and_its_ids_of_the_session() {
    let ids = |ids: [u16; 2]| ids.map(|id| PacketId::new(id).unwrap());
    let mut s = Session::new(Start {
        version: Version::V5,
        will: None,
        expiry: 9,
        expiry_requested: true,
        alias_maximum: 0,
        receive_maximum: 1,
        unreleased: HashSet::from(ids([1, 2])),
    });
    let qos = QoS::ExactlyOnce;
    assert_eq!(topic_of(s.step(publish(qos, 7, Some("a"), 0))), "a");
    let over = s.step(publish(qos, 1, Some("a"), 0)).unwrap_err();
    assert_eq!(over.reason, ReasonCode::ReceiveMaximumExceeded);
    let [one, two] = ids([1, 2]);
    for id in [two, PacketId::new(7).unwrap()] {
        let released = s.step(Packet::PubRel(ack(id.get(), ReasonCode::Success)));
        assert_eq!(released, Ok(Step::Released(id, ReasonCode::Success)));
    }
    let again = Ok(Step::Duplicate(one));
    assert_eq!(s.step(publish(qos, 1, Some("a"), 0)), again);
    assert_eq!(s.step(publish(qos, 1, Some("a"), 0)), again);
    let over = s.step(publish(qos, 2, Some("a"), 0)).unwrap_err();
    assert_eq!(over.reason, ReasonCode::ReceiveMaximumExceeded);
    assert_eq!(s.take_unreleased(), HashSet::from([one]));
}

#[test]
fn the_receive_maximum_counts_qos_1_and_2_together() {
    let mut s = session();
    let (once, twice) = (QoS::AtLeastOnce, QoS::ExactlyOnce);
    // However many come in one read: each is acknowledged in its turn.
    for id in 1..9 {
        assert_eq!(topic_of(s.step(publish(once, id, Some("a"), 0))), "a");
    }
    s.step(publish(twice, 1, Some("a"), 0)).unwrap();
    assert_eq!(topic_of(s.step(publish(once, 3, Some("a"), 0))), "a");
    s.step(publish(twice, 2, Some("a"), 0)).unwrap();
    let none = QoS::AtMostOnce;
    assert_eq!(topic_of(s.step(publish(none, 0, Some("a"), 0))), "a");
    let over = s.step(publish(once, 3, Some("a"), 0)).unwrap_err();
    assert_eq!(over.reason, ReasonCode::ReceiveMaximumExceeded);
    s.step(Packet::PubRel(ack(1, ReasonCode::Success))).unwrap();
    assert_eq!(topic_of(s.step(publish(once, 3, Some("a"), 0))), "a");
}

#[test]
fn only_an_orderly_disconnect_drops_the_will() {
    for (reason, left) in [
        (ReasonCode::Success, false),
        (ReasonCode::DisconnectWithWill, true),
        (ReasonCode::UnspecifiedError, true),
    ] {
        let mut s = session();
        let leave = Packet::Disconnect(Disconnect {
            reason,
            session_expiry: None,
        });
        assert_eq!(s.step(leave), Ok(Step::Disconnect));
        assert!(s.has_disconnected());
        assert_eq!(s.take_will().is_some(), left, "{reason:?}");
    }
    let mut s = session();
    assert!(s.take_will().is_some(), "a loss sends it");
}

#[test]
fn only_who_asked_for_it_at_first_may_keep_the_session_in_the_end() {
    // Asked for in CONNECT and left by the server, in DISCONNECT: the expiry in the end.
    for (expiry_requested, expiry, asked, end) in [
        (false, 0, 0, Some(0)),
        (false, 0, 5, None),
        (true, 0, 5, Some(5)),
        (true, 9, 0, Some(0)),
        (true, 9, 5, Some(5)),
    ] {
        let mut s = Session::new(Start {
            version: Version::V5,
            will: None,
            expiry,
            expiry_requested,
            alias_maximum: 0,
            receive_maximum: 1,
            unreleased: HashSet::new(),
        });
        let leave = s.step(Packet::Disconnect(Disconnect {
            reason: ReasonCode::Success,
            session_expiry: Some(asked),
        }));
        match end {
            Some(end) => assert_eq!((leave, s.expiry()), (Ok(Step::Disconnect), end)),
            None => assert_eq!(leave.unwrap_err().reason, ReasonCode::ProtocolError),
        }
    }
}

#[test]
fn an_error_pubrec_ends_the_message() {
    let mut s = session();
    let id = PacketId::new(5).unwrap();
    let rec = |r| Packet::PubRec(ack(5, r));
    assert_eq!(s.step(rec(ReasonCode::Success)), Ok(Step::Received(id)));
    assert_eq!(
        s.step(rec(ReasonCode::QuotaExceeded)),
        Ok(Step::Refused(id))
    );
}

#[test]
fn a_filter_that_is_wrong_only_as_a_shared_one_is_no_violation_in_3_1_1() {
    let subscribe = |name: &str| {
        Packet::Subscribe(Subscribe {
            packet_id: PacketId::new(1).unwrap(),
            identifier: None,
            user_properties: Vec::new(),
            filters: vec![(
                TopicFilter::new(name.into()),
                SubscribeOptions {
                    qos: QoS::AtMostOnce,
                    no_local: false,
                    retain_as_published: false,
                    retain_handling: crate::packet::RetainHandling::Send,
                },
            )],
        })
    };
    let mut s = session();
    s.version = Version::V3;
    for refused in ["$share/g", "$share//a", "$share/+/a"] {
        assert!(matches!(s.step(subscribe(refused)), Ok(Step::Subscribe(_))));
    }
    for wrong in ["a#", "$share/g#/a", "$share/g/a#", ""] {
        assert!(s.step(subscribe(wrong)).is_err(), "{wrong}");
    }
}
