#![allow(clippy::unwrap_used, clippy::expect_used)]
use super::tests::{LIMITS, frame, id, publish1, sent};
use super::*;
use crate::cost::MESSAGE_COST;
use crate::packet::QoS;
use crate::packet::ReasonCode;
use crate::session::Mark;
use crate::session::OutboundLimits;
use std::sync::Arc;

/// A packet that stands for CONNACK: what matters is that it comes first.
fn connack() -> Reply {
    Reply::PingResp
}

const FIRST: [u8; 2] = [0xD0, 0];

fn again(n: u8, payload: &[u8]) -> Vec<u8> {
    let mut p = publish1(n, payload);
    p[0] |= 0b1000;
    p
}

fn reconnect(out: &mut Outbound, now: u64) -> Vec<u8> {
    out.reconnect(Version::V3, LIMITS, &connack(), now);
    let bytes = sent(out);
    assert_eq!(bytes[..2], FIRST);
    bytes[2..].to_vec()
}

#[test]
fn what_was_not_acknowledged_comes_again_in_order_and_marked() {
    let mut out = Outbound::new(Version::V3, LIMITS);
    for p in [b"a", b"b", b"c"] {
        out.deliver(0, &frame(QoS::AtLeastOnce, p), 0);
    }
    sent(&mut out);
    out.disconnect(0);
    out.deliver(0, &frame(QoS::AtMostOnce, b"lost"), 0);
    out.deliver(0, &frame(QoS::AtLeastOnce, b"d"), 0);
    assert!(sent(&mut out).is_empty());
    let expected = [again(1, b"a"), again(2, b"b")].concat();
    assert_eq!(reconnect(&mut out, 0), expected);
    out.disconnect(0);
    assert_eq!(reconnect(&mut out, 0), expected, "as often as it takes");
    assert_eq!(out.acked(id(1), 0), Ok(true));
    assert_eq!(out.acked(id(2), 0), Ok(true));
    let rest = [publish1(3, b"c"), publish1(4, b"d")].concat();
    assert_eq!(sent(&mut out), rest);
    assert_eq!(out.acked(id(3), 0), Ok(true));
    assert_eq!(out.acked(id(4), 0), Ok(true));
    assert!(out.has_sent_all());
    assert_eq!(out.dropped(), 0, "QoS 0 to nobody is not a loss");
}

#[test]
fn exactly_once_goes_on_where_it_was() {
    let limits = OutboundLimits {
        receive_maximum: 3,
        ..LIMITS
    };
    let mut out = Outbound::new(Version::V3, limits);
    for p in [b"a", b"b", b"c"] {
        out.deliver(0, &frame(QoS::ExactlyOnce, p), 0);
    }
    out.received(id(2), 0).unwrap();
    out.received(id(1), 0).unwrap();
    out.disconnect(0);
    out.reconnect(Version::V3, limits, &connack(), 0);
    let mut expected = vec![0xD0, 0, 0x62, 2, 0, 2, 0x62, 2, 0, 1];
    let mut third = again(3, b"c");
    third[0] = 0x3C;
    expected.extend(third);
    assert_eq!(sent(&mut out), expected, "PUBREL in the order of PUBREC");
    assert_eq!(out.completed(id(1), 0), Ok(true));
    assert_eq!(out.completed(id(2), 0), Ok(true));
    out.received(id(3), 0).unwrap();
    assert_eq!(out.completed(id(3), 0), Ok(true));
    assert!(out.has_sent_all());
}

#[test]
fn a_smaller_window_takes_the_old_messages_one_by_one() {
    let mut out = Outbound::new(Version::V3, LIMITS);
    for p in [b"a", b"b", b"c"] {
        out.deliver(0, &frame(QoS::AtLeastOnce, p), 0);
    }
    out.disconnect(0);
    let narrow = OutboundLimits {
        receive_maximum: 1,
        ..LIMITS
    };
    out.reconnect(Version::V3, narrow, &connack(), 0);
    assert_eq!(sent(&mut out)[2..], again(1, b"a"));
    assert_eq!(out.acked(id(1), 0), Ok(true));
    assert_eq!(sent(&mut out), again(2, b"b"));
    assert_eq!(out.acked(id(2), 0), Ok(true));
    assert_eq!(sent(&mut out), publish1(3, b"c"));
}

#[test]
fn a_full_queue_of_an_absent_client_drops_the_oldest() {
    let mut out = Outbound::new(Version::V3, LIMITS);
    out.disconnect(0);
    for p in [b"a", b"b", b"c", b"d", b"e"] {
        assert!(out.deliver(0, &frame(QoS::AtLeastOnce, p), 0));
    }
    assert_eq!(out.dropped(), 2);
    assert!(!out.deliver(0, &frame(QoS::AtLeastOnce, &vec![0; 20_000]), 0));
    assert_eq!(out.dropped(), 3, "one that can never fit drops no other");
    assert!(!out.overflowed());
    assert_eq!(
        reconnect(&mut out, 0),
        [publish1(1, b"c"), publish1(2, b"d")].concat()
    );
}

#[test]
fn what_waits_grows_old_and_what_expires_is_not_begun() {
    let mut out = Outbound::new(Version::V5, LIMITS);
    out.disconnect(0);
    out.deliver(0, &frame(QoS::AtLeastOnce, b"old"), 0);
    let mortal = |payload: &[u8], expires| Frame {
        expires,
        ..frame(QoS::AtLeastOnce, payload)
    };
    out.deliver(0, &mortal(b"over", 800), 500);
    out.deliver(0, &mortal(b"on", 5_000), 500);
    assert_eq!(
        reconnect(&mut out, 1_001),
        publish1(3, b"on"),
        "each had its turn, and its id"
    );
    assert_eq!(out.dropped(), 2);
    // Begun: its time may pass [MQTT-3.3.2-5].
    out.disconnect(1_001);
    assert_eq!(reconnect(&mut out, 9_000), again(3, b"on"));
}

#[test]
fn another_version_on_the_next_connection() {
    let mut out = Outbound::new(Version::V3, LIMITS);
    out.deliver(0, &frame(QoS::AtLeastOnce, b"a"), 0);
    out.disconnect(0);
    out.deliver(0, &frame(QoS::AtLeastOnce, b"b"), 0);
    out.reconnect(Version::V5, LIMITS, &connack(), 0);
    let bytes = sent(&mut out);
    assert_eq!(
        bytes[2..],
        [
            0x3A, 7, 0, 1, b't', 0, 1, 0, b'a', 0x32, 7, 0, 1, b't', 0, 2, 0, b'b'
        ]
    );
}

#[test]
fn what_an_answer_held_back_is_kept() {
    let mut out = Outbound::new(Version::V3, LIMITS);
    let codes = vec![ReasonCode::Success; 2];
    out.expect_answer(1, Answer::SubAck(id(7), Vec::new()), codes, None, 2, 0);
    out.answer(1, 3, [(0, ReasonCode::Success, None)], 0);
    out.deliver(3, &frame(QoS::AtLeastOnce, b"a"), 0);
    out.disconnect(0);
    assert_eq!(reconnect(&mut out, 0), publish1(1, b"a"));
}

#[test]
fn rights_that_have_gone_take_the_queue_along() {
    let mut out = Outbound::new(Version::V3, LIMITS);
    out.deliver(0, &frame(QoS::AtLeastOnce, b"a"), 0);
    out.disconnect(0);
    out.deliver(0, &frame(QoS::AtLeastOnce, b"b"), 0);
    out.purge(|topic| topic != "t");
    assert!(reconnect(&mut out, 0).is_empty());
    assert!(out.has_sent_all() && out.in_flight_bytes == 0 && out.waiting_bytes == 0);
}

#[test]
fn topics_become_numbers_for_a_client_that_takes_them() {
    let limits = OutboundLimits {
        topic_aliases: 1,
        ..LIMITS
    };
    let named = |topic: &str| {
        let parts = crate::packet::PublishParts::new(topic, b"x", QoS::AtMostOnce);
        Frame {
            packet: crate::packet::encode_publish(Version::V5, &parts),
            ..frame(QoS::AtMostOnce, b"")
        }
    };
    let mut out = Outbound::new(Version::V5, limits);
    let mut one = |topic: &str| {
        out.deliver(0, &named(topic), 0);
        sent(&mut out)
    };
    assert_eq!(one("long"), b"\x30\x0b\x00\x04long\x03\x23\x00\x01x");
    assert_eq!(one("long"), b"\x30\x07\x00\x00\x03\x23\x00\x01x");
    assert_eq!(
        one("other"),
        b"\x30\x09\x00\x05other\x00x",
        "no more than it takes"
    );
    assert_eq!(one("t"), b"\x30\x05\x00\x01t\x00x");
    out.disconnect(0);
    out.reconnect(Version::V5, limits, &connack(), 0);
    sent(&mut out);
    out.deliver(0, &named("long"), 0);
    let first = sent(&mut out);
    assert_eq!(
        first, b"\x30\x0b\x00\x04long\x03\x23\x00\x01x",
        "a new connection knows none"
    );
}

#[test]
fn a_message_is_measured_as_the_new_connection_gets_it() {
    let message = frame(QoS::AtLeastOnce, b"a");
    let just = |room: usize| OutboundLimits {
        maximum_packet_size: u32::try_from(message.len() + room).ok(),
        ..LIMITS
    };
    // 5.0 has a byte more, for the length of no properties.
    for (room, sent_again) in [(0, false), (1, true)] {
        let mut out = Outbound::new(Version::V3, LIMITS);
        out.deliver(0, &message, 0);
        out.disconnect(0);
        out.reconnect(Version::V5, just(room), &connack(), 0);
        assert_eq!(sent(&mut out).len() > FIRST.len(), sent_again);
        assert_eq!(out.dropped(), u64::from(!sent_again));
    }
}

#[test]
fn what_is_kept_for_other_members_of_a_group_takes_room_too() {
    let shared = |payload: &[u8]| Frame {
        share: Some(Arc::new(Share {
            lane: 0,
            group: "$share/g/t".into(),
            entry: vec![0; 4_000].into(),
            mark: Mark::default(),
            wall: 0,
        })),
        ..frame(QoS::AtLeastOnce, payload)
    };
    let mut out = Outbound::new(Version::V3, LIMITS);
    out.disconnect(0);
    for p in [b"a", b"b", b"c"] {
        assert!(out.deliver(0, &shared(p), 0));
    }
    assert_eq!((out.backlog().messages, out.dropped()), (2, 1));
}

#[test]
fn a_place_in_a_queue_costs_no_more_than_is_counted() {
    let place = size_of::<Waiting>().max(size_of::<InFlight>());
    assert!(place < MESSAGE_COST, "{place}");
}

#[test]
fn where_all_queues_are_full_the_oldest_of_this_one_makes_room_for_a_newer() {
    let mut out = Outbound::new(Version::V3, LIMITS);
    out.deliver(0, &frame(QoS::AtLeastOnce, b"sent"), 0);
    out.disconnect(0);
    let add = |out: &mut Outbound, payload: &[u8]| {
        let before = out.backlog().kept_bytes;
        out.deliver(0, &frame(QoS::AtLeastOnce, payload), 0);
        out.drop_oldest_to(before);
        assert!(out.backlog().kept_bytes <= before);
        out.waiting.len()
    };
    assert_eq!(add(&mut out, b"a"), 0, "there was none to go for it");
    out.deliver(0, &frame(QoS::AtLeastOnce, b"b"), 0);
    out.deliver(0, &frame(QoS::AtLeastOnce, b"c"), 0);
    assert_eq!(add(&mut out, b"d"), 2);
    assert_eq!(
        add(&mut out, &[b'e'; 400]),
        2,
        "one that is too large drops no other"
    );
    assert_eq!(
        add(&mut out, &[b'f'; 100]),
        1,
        "a larger one takes the room of two"
    );
    assert_eq!(out.backlog().payload, 4 + 100);
    assert_eq!(out.dropped(), 1 + 1 + 1 + 2);
}
