#![allow(clippy::unwrap_used, clippy::expect_used)]
use super::*;
use crate::packet::ReasonCode;
use crate::packet::{PublishParts, QoS, encode_publish};
use crate::write_queue::SHARE_FROM;

pub(super) const LIMITS: OutboundLimits = OutboundLimits {
    bytes: 10_000,
    messages: 3,
    receive_maximum: 2,
    maximum_packet_size: None,
    problem_information: true,
    topic_aliases: 0,
    age: 1_000,
};

fn parts(qos: QoS, payload: &[u8]) -> PublishParts<'_> {
    PublishParts::new("t", payload, qos)
}

pub(super) fn frame(qos: QoS, payload: &[u8]) -> Frame {
    Frame {
        qos,
        packet: encode_publish(Version::V3, &parts(qos, payload)),
        expires: crate::session::NEVER,
        share: None,
    }
}

/// Takes all bytes that wait.
pub(super) fn sent(out: &mut Outbound) -> Vec<u8> {
    let mut slices = [std::io::IoSlice::new(&[]); 16];
    let n = out.queue().slices(&mut slices);
    let bytes: Vec<u8> = slices[..n].iter().flat_map(|s| s.to_vec()).collect();
    out.queue().advance(bytes.len());
    bytes
}

pub(super) fn id(n: u16) -> PacketId {
    PacketId::new(n).unwrap()
}

pub(super) fn publish1(n: u8, payload: &[u8]) -> Vec<u8> {
    let length = u8::try_from(5 + payload.len()).unwrap();
    let mut p = vec![0x32, length, 0, 1, b't', 0, n];
    p.extend_from_slice(payload);
    p
}

#[test]
fn a_message_of_one_receiver_has_the_bytes_of_its_frame() {
    for version in [Version::V3, Version::V5] {
        let message = PublishParts {
            message_expiry: Some(5),
            user_properties: &[("k".into(), "v".into())],
            ..parts(QoS::AtMostOnce, b"hi")
        };
        let mut out = Outbound::new(version, LIMITS);
        assert!(out.deliver_alone(version, &message));
        let frame = encode_publish(version, &message);
        assert_eq!(sent(&mut out), frame.as_bytes().to_vec());
        let tally = std::mem::take(out.tally());
        assert_eq!((tally.publishes, tally.payload), (1, 2));
    }
}

#[test]
fn a_message_that_cannot_be_sent_now_as_it_is_needs_a_frame() {
    let message = parts(QoS::AtMostOnce, b"hi");
    let refuses = |limits, version, message: &PublishParts<'_>, prepare: fn(&mut Outbound)| {
        let mut out = Outbound::new(Version::V5, limits);
        prepare(&mut out);
        let before = out.queue().len();
        !out.deliver_alone(version, message) && out.queue().len() == before
    };
    let (v5, nothing) = (Version::V5, |_: &mut Outbound| ());
    assert!(!refuses(LIMITS, v5, &message, nothing));
    assert!(refuses(LIMITS, Version::V3, &message, nothing));
    assert!(refuses(
        LIMITS,
        v5,
        &parts(QoS::AtLeastOnce, b"hi"),
        nothing
    ));
    assert!(refuses(
        LIMITS,
        v5,
        &parts(QoS::AtMostOnce, &[0; SHARE_FROM]),
        nothing
    ));
    let limits = |largest, aliases, bytes| OutboundLimits {
        maximum_packet_size: largest,
        topic_aliases: aliases,
        bytes,
        ..LIMITS
    };
    // The packet has 8 bytes.
    assert!(!refuses(limits(Some(8), 0, 8), v5, &message, nothing));
    assert!(refuses(limits(Some(7), 0, 8), v5, &message, nothing));
    assert!(refuses(limits(None, 1, 8), v5, &message, nothing));
    let ping = |out: &mut Outbound| out.reply(&Reply::PingResp);
    assert!(!refuses(limits(None, 0, 10), v5, &message, ping));
    assert!(refuses(limits(None, 0, 9), v5, &message, ping));
    assert!(refuses(LIMITS, v5, &message, |out| drop(out.disconnect(0))));
    let owes = |out: &mut Outbound| {
        out.expect_answer(1, Answer::UnsubAck(id(1)), Vec::new(), None, 1, 0);
    };
    assert!(refuses(LIMITS, v5, &message, owes));
}

#[test]
fn the_window_is_kept_and_refilled_in_order() {
    let mut out = Outbound::new(Version::V3, LIMITS);
    for p in [b"a", b"b", b"c", b"d"] {
        out.deliver(0, &frame(QoS::AtLeastOnce, p), 0);
    }
    assert_eq!(
        sent(&mut out),
        [publish1(1, b"a"), publish1(2, b"b")].concat()
    );
    assert_eq!(out.acked(id(9), 0), Ok(false), "nothing was sent as 9");
    assert_eq!(
        out.acked(id(2), 0),
        Ok(true),
        "acknowledgements may come in any order"
    );
    assert_eq!(sent(&mut out), publish1(3, b"c"));
    assert_eq!(out.acked(id(1), 0), Ok(true));
    assert_eq!(out.acked(id(1), 0), Ok(false));
    assert_eq!(sent(&mut out), publish1(4, b"d"));
    assert!(!out.overflowed());
}

#[test]
fn a_full_queue_drops_qos_0_and_ends_a_session_of_qos_1() {
    let mut out = Outbound::new(Version::V3, LIMITS);
    let large = vec![b'x'; 6_000];
    out.deliver(0, &frame(QoS::AtMostOnce, &large), 0);
    out.deliver(0, &frame(QoS::AtMostOnce, &large), 0);
    assert_eq!(out.dropped(), 1);
    assert!(!out.overflowed());
    for _ in 0..5 {
        out.deliver(0, &frame(QoS::AtLeastOnce, b"x"), 0);
    }
    assert!(!out.overflowed(), "two on the way, three wait");
    out.deliver(0, &frame(QoS::AtLeastOnce, b"x"), 0);
    assert!(out.overflowed());
}

#[test]
fn ids_in_use_are_not_given_again() {
    let mut out = Outbound::new(Version::V3, LIMITS);
    out.deliver(0, &frame(QoS::ExactlyOnce, b"old"), 0);
    for n in 2..=u32::from(u16::MAX) + 1 {
        out.deliver(0, &frame(QoS::AtLeastOnce, b"x"), 0);
        let n = u16::try_from(n).unwrap_or(2);
        if n == 40_000 {
            // The round goes on over connections.
            out.disconnect(0);
            out.reconnect(Version::V3, LIMITS, &Reply::PingResp, 0);
        }
        assert_eq!(out.acked(id(n), 0), Ok(true), "id {n}");
        sent(&mut out);
    }
}

#[test]
fn exactly_once_goes_its_four_steps() {
    let mut out = Outbound::new(Version::V3, LIMITS);
    out.deliver(0, &frame(QoS::ExactlyOnce, b"a"), 0);
    sent(&mut out);
    assert_eq!(out.received(id(1), 0), Ok(true));
    assert_eq!(sent(&mut out), [0x62, 2, 0, 1]);
    assert_eq!(out.received(id(1), 0), Ok(true));
    assert_eq!(
        sent(&mut out),
        [0x62, 2, 0, 1],
        "PUBREC again, PUBREL again"
    );
    assert_eq!(out.completed(id(1), 0), Ok(true));
    out.deliver(0, &frame(QoS::ExactlyOnce, b"b"), 0);
    sent(&mut out);
    assert_eq!(
        out.refused(id(2), 0),
        Ok(true),
        "an error PUBREC ends it [MQTT-4.4.0-2]"
    );
    assert!(sent(&mut out).is_empty());
}

/// Who gets the kinds mixed up is not understood; an id that nothing waits under is passed over, or told.
#[test]
fn an_acknowledgement_is_of_the_kind_that_is_awaited() {
    let limits = OutboundLimits {
        receive_maximum: 9,
        ..LIMITS
    };
    let mut out = Outbound::new(Version::V3, limits);
    for qos in [QoS::AtLeastOnce, QoS::ExactlyOnce, QoS::ExactlyOnce] {
        out.deliver(0, &frame(qos, b"a"), 0);
    }
    out.received(id(3), 0).unwrap();
    sent(&mut out);
    let wrong = |n| Err(WrongKind(id(n)));
    // 1 waits for PUBACK, 2 for PUBREC, 3 for PUBCOMP.
    assert_eq!(out.received(id(1), 0), wrong(1));
    assert_eq!(out.refused(id(1), 0), wrong(1));
    assert_eq!(out.completed(id(1), 0), wrong(1));
    assert_eq!(out.acked(id(2), 0), wrong(2));
    assert_eq!(out.completed(id(2), 0), wrong(2));
    assert_eq!(out.acked(id(3), 0), wrong(3));
    assert!(sent(&mut out).is_empty());
    assert_eq!(out.refused(id(3), 0), Ok(false), "PUBREC again");
    assert_eq!(out.acked(id(4), 0), Ok(false));
    assert_eq!(out.refused(id(4), 0), Ok(false));
    assert_eq!(out.completed(id(4), 0), Ok(false));
    assert_eq!(out.received(id(4), 0), Ok(false));
    assert_eq!(sent(&mut out), [0x62, 2, 0, 4]);
    // Nothing has changed by all that.
    assert_eq!(out.acked(id(1), 0), Ok(true));
    assert_eq!(out.received(id(2), 0), Ok(true));
    assert_eq!(out.completed(id(3), 0), Ok(true));
}

#[test]
fn what_the_client_cannot_take_is_not_sent() {
    let limits = OutboundLimits {
        maximum_packet_size: Some(10),
        ..LIMITS
    };
    let mut out = Outbound::new(Version::V5, limits);
    for qos in [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce] {
        out.deliver(0, &frame(qos, b"longer than ten"), 0);
    }
    assert!(sent(&mut out).is_empty());
    out.deliver(0, &frame(QoS::AtMostOnce, b"ok"), 0);
    assert_eq!(sent(&mut out), [0x30, 6, 0, 1, b't', 0, b'o', b'k']);
    out.deliver(0, &frame(QoS::AtLeastOnce, b"k"), 0);
    let third = [0x32, 7, 0, 1, b't', 0, 3, 0, b'k'];
    assert_eq!(sent(&mut out), third, "each has used up an id");
}

#[test]
fn an_answer_of_several_lanes_comes_before_what_they_deliver() {
    let mut out = Outbound::new(Version::V5, LIMITS);
    let codes = vec![ReasonCode::Success; 2];
    out.expect_answer(1, Answer::SubAck(id(7), Vec::new()), codes, None, 2, 0);
    out.deliver(3, &frame(QoS::AtMostOnce, b"0"), 0);
    assert_eq!(
        sent(&mut out),
        [0x30, 5, 0, 1, b't', 0, b'0'],
        "not of this SUBSCRIBE"
    );
    out.answer(1, 3, [(0, ReasonCode::GrantedQoS1, None)], 0);
    out.deliver(3, &frame(QoS::AtMostOnce, b"1"), 0);
    assert!(sent(&mut out).is_empty());
    out.answer(
        1,
        4,
        [(1, ReasonCode::QuotaExceeded, Some("full".into()))],
        0,
    );
    out.deliver(4, &frame(QoS::AtMostOnce, b"2"), 0);
    let mut expected = vec![
        0x90, 12, 0, 7, 7, 0x1F, 0, 4, b'f', b'u', b'l', b'l', 1, 0x97,
    ];
    expected.extend([0x30, 5, 0, 1, b't', 0, b'1', 0x30, 5, 0, 1, b't', 0, b'2']);
    assert_eq!(sent(&mut out), expected);
}

#[test]
fn an_unsubscribe_of_all_lanes_is_known_where_one_lane_knew_it() {
    let mut out = Outbound::new(Version::V5, LIMITS);
    let codes = vec![ReasonCode::Success];
    out.expect_answer(1, Answer::UnsubAck(id(7)), codes, None, 2, 0);
    out.answer(1, 0, [(0, ReasonCode::NoSubscriptionExisted, None)], 0);
    out.answer(1, 1, [(0, ReasonCode::Success, None)], 0);
    assert_eq!(sent(&mut out), [0xB0, 4, 0, 7, 0, 0]);
}

#[test]
fn every_lane_gives_the_codes_of_its_own_filters() {
    let mut out = Outbound::new(Version::V5, LIMITS);
    let codes = vec![ReasonCode::Success; 3];
    out.expect_answer(1, Answer::SubAck(id(7), Vec::new()), codes, None, 2, 0);
    out.answer(
        1,
        0,
        [
            (0, ReasonCode::GrantedQoS2, None),
            (2, ReasonCode::Success, None),
        ],
        0,
    );
    out.answer(1, 1, [(1, ReasonCode::GrantedQoS1, None)], 0);
    assert_eq!(sent(&mut out), [0x90, 6, 0, 7, 0, 2, 1, 0]);
}

#[test]
fn the_window_is_bounded_in_bytes_too() {
    let limits = OutboundLimits {
        receive_maximum: 100,
        ..LIMITS
    };
    let mut out = Outbound::new(Version::V3, limits);
    let large = vec![b'x'; 4_000];
    for _ in 0..4 {
        out.deliver(0, &frame(QoS::ExactlyOnce, &large), 0);
    }
    let both = sent(&mut out).len();
    assert!(
        (8_000..9_000).contains(&both),
        "two of four fit: {both} bytes"
    );
    assert!(!out.has_sent_all() && !out.overflowed());
    out.received(id(1), 0).unwrap();
    let third = sent(&mut out).len();
    assert!(
        (4_000..5_000).contains(&third),
        "a released message is held no more"
    );
    out.received(id(2), 0).unwrap();
    out.received(id(3), 0).unwrap();
    assert!(out.has_sent_all());
    for n in 1..=3 {
        assert_eq!(out.completed(id(n), 0), Ok(true));
    }
    assert_eq!(
        out.in_flight_bytes,
        4_000 + 7 + 1,
        "the fourth is on the way"
    );
}

#[test]
fn a_refused_message_takes_no_room_of_what_is_held() {
    let mut out = Outbound::new(Version::V5, LIMITS);
    let answer = Answer::SubAck(id(7), Vec::new());
    out.expect_answer(1, answer, vec![ReasonCode::Success], None, 2, 0);
    out.answer(1, 0, [], 0);
    assert!(!out.deliver(0, &frame(QoS::AtMostOnce, &[b'x'; 11_000]), 0));
    assert!(out.deliver(0, &frame(QoS::AtLeastOnce, b"small"), 0));
    assert!(!out.overflowed());
    assert_eq!(out.dropped(), 1);
}

#[test]
fn what_a_lane_delivers_waits_for_every_answer_it_has_a_part_in() {
    let mut out = Outbound::new(Version::V3, LIMITS);
    for (request_id, lanes) in [(1, 2), (2, 2)] {
        let answer = Answer::SubAck(id(7), Vec::new());
        out.expect_answer(
            request_id,
            answer,
            vec![ReasonCode::Success],
            None,
            lanes,
            0,
        );
        out.answer(request_id, 0, [], 0);
    }
    out.deliver(0, &frame(QoS::AtMostOnce, b"1"), 0);
    out.answer(1, 1, [], 0);
    assert_eq!(sent(&mut out), [0x90, 3, 0, 7, 0], "the first answer alone");
    out.deliver(0, &frame(QoS::AtMostOnce, b"2"), 0);
    out.answer(2, 1, [], 0);
    let mut expected = vec![0x90, 3, 0, 7, 0];
    expected.extend([0x30, 4, 0, 1, b't', b'1', 0x30, 4, 0, 1, b't', b'2']);
    assert_eq!(sent(&mut out), expected);
}

#[test]
fn what_the_client_cannot_take_does_not_wait() {
    let limits = OutboundLimits {
        messages: 1,
        receive_maximum: 1,
        maximum_packet_size: Some(20),
        ..LIMITS
    };
    let mut out = Outbound::new(Version::V5, limits);
    for payload in [&b"1"[..], &[b'x'; 50], b"2"] {
        assert!(out.deliver(0, &frame(QoS::AtLeastOnce, payload), 0));
    }
    assert!(!out.overflowed());
    assert_eq!(out.dropped(), 1);
}

#[test]
fn time_passes_for_what_is_held_too() {
    let mut out = Outbound::new(Version::V5, LIMITS);
    let answer = Answer::SubAck(id(7), Vec::new());
    out.expect_answer(1, answer, vec![ReasonCode::Success], None, 2, 0);
    out.answer(1, 0, [], 0);
    for seconds in [2, 9] {
        let parts = PublishParts {
            message_expiry: Some(seconds),
            ..parts(QoS::AtMostOnce, b"")
        };
        let frame = Frame {
            packet: encode_publish(Version::V5, &parts),
            expires: u64::from(seconds) * 1_000,
            ..frame(QoS::AtMostOnce, b"")
        };
        out.deliver(0, &frame, 0);
    }
    out.answer(1, 1, [], 5_000);
    let expected = [0x90, 4, 0, 7, 0, 0, 0x30, 9, 0, 1, b't', 5, 2, 0, 0, 0, 4];
    assert_eq!(sent(&mut out), expected);
    assert_eq!(out.dropped(), 1, "two seconds were over");
}

#[test]
fn filters_that_were_refused_do_not_pile_up() {
    let mut out = Outbound::new(Version::V5, LIMITS);
    let denied = ReasonCode::NotAuthorized;
    let ask = |out: &mut Outbound, request_id, code, lanes| {
        let answer = Answer::SubAck(id(1), vec![(0, "t".into())]);
        out.expect_answer(request_id, answer, vec![code], None, lanes, 0);
    };
    // By a lane, and then let in.
    ask(&mut out, 2, ReasonCode::Success, 1);
    ask(&mut out, 3, ReasonCode::Success, 1);
    out.answer(2, 0, [(0, denied, None)], 0);
    assert!(out.take_refused().is_empty(), "it is asked for again");
    out.answer(3, 0, [(0, ReasonCode::GrantedQoS1, None)], 0);
    assert!(out.take_refused().is_empty(), "it is held after all");
    ask(&mut out, 4, ReasonCode::Success, 1);
    ask(&mut out, 5, ReasonCode::Success, 1);
    out.answer(4, 0, [(0, denied, None)], 0);
    assert!(out.take_refused().is_empty());
    out.answer(5, 0, [(0, denied, None)], 0);
    assert!(out.take_refused().iter().eq(["t"]));
}

/// Most sessions subscribe once, in the beginning: nothing of that stays allocated.
#[test]
fn an_answered_subscribe_leaves_nothing_allocated() {
    let mut out = Outbound::new(Version::V5, LIMITS);
    for request_id in [1, 2] {
        let answer = Answer::SubAck(id(1), vec![(0, "t".into())]);
        out.expect_answer(request_id, answer, vec![ReasonCode::Success], None, 1, 0);
    }
    for request_id in [1, 2] {
        out.answer(request_id, 0, [(0, ReasonCode::GrantedQoS1, None)], 0);
    }
    assert!(out.requests.is_none());
}

/// In bytes: each session holds one for all its life.
#[test]
fn a_session_is_small() {
    let sizes = [size_of::<Outbound>(), size_of::<crate::session::Session>()];
    assert!(sizes[0] <= 312 && sizes[1] <= 32, "{sizes:?}");
}

/// A lane answers twice for `a/b`, first by the first of both: what it said last counts, whatever is complete first, and also
/// where one request names it twice and is asked in pieces.
#[test]
fn what_a_lane_said_last_of_a_filter_counts() {
    let (denied, granted) = (ReasonCode::NotAuthorized, ReasonCode::GrantedQoS1);
    for (let_in, [first, second]) in [(true, [denied, granted]), (false, [granted, denied])] {
        let name = |place, filter: &str| (place, filter.into());
        let expect_answer = |out: &mut Outbound, request_id, filters: Vec<_>, lanes| {
            let codes = vec![ReasonCode::Success; filters.len()];
            out.expect_answer(
                request_id,
                Answer::SubAck(id(1), filters),
                codes,
                None,
                lanes,
                0,
            );
        };
        let mut out = Outbound::new(Version::V5, LIMITS);
        expect_answer(&mut out, 1, vec![name(0, "a/b"), name(1, "c/d")], 2);
        expect_answer(&mut out, 2, vec![name(0, "a/b")], 1);
        out.answer(1, 0, [(0, first, None)], 0);
        out.answer(2, 0, [(0, second, None)], 0);
        out.answer(1, 1, [(1, granted, None)], 0);
        let refused = out.take_refused();
        assert_eq!(refused.contains("a/b"), !let_in);
        assert_eq!(refused.len(), usize::from(!let_in));

        let mut out = Outbound::new(Version::V5, LIMITS);
        expect_answer(&mut out, 1, vec![name(0, "a/b"), name(1, "a/b")], 2);
        out.answer(1, 0, [(0, first, None)], 0);
        out.answer(1, 0, [(1, second, None)], 0);
        assert_eq!(out.take_refused().contains("a/b"), !let_in);
    }
}

/// A message came before the lane answered, and one between two pieces of a request.
#[test]
fn what_is_retained_comes_behind_what_waits_and_before_what_is_held_back() {
    for is_lost in [false, true] {
        let limits = OutboundLimits {
            messages: 9,
            ..LIMITS
        };
        let mut out = Outbound::new(Version::V3, limits);
        let message = |payload: &[u8]| frame(QoS::AtLeastOnce, payload);
        for payload in [b"x", b"y"] {
            out.deliver(0, &message(payload), 0);
        }
        let kind = Answer::SubAck(id(7), Vec::new());
        out.expect_answer(1, kind, vec![ReasonCode::Success], None, 2, 0);
        out.deliver(0, &message(b"p"), 0);
        for piece in [b"q", b"r"] {
            assert!(out.begin_replay(1));
            out.answer(1, 0, [], 0);
            out.deliver(0, &message(piece), 0);
        }
        sent(&mut out);
        for payload in [b"R", b"S"] {
            assert!(out.deliver_retained(&message(payload), 0));
        }
        if is_lost {
            out.disconnect(0);
            out.reconnect(Version::V3, limits, &Reply::PingResp, 0);
        }
        for _ in 0..2 {
            out.end_replay(1, 0);
        }
        let mut got: Vec<u8> = Vec::new();
        for n in 1..=7 {
            let bytes = sent(&mut out);
            got.extend(bytes.iter().filter(|b| b"pqrRS".contains(b)));
            assert_eq!(out.acked(id(n), 0), Ok(true));
        }
        assert!(out.has_sent_all());
        assert_eq!(got, b"pRSqr", "{is_lost}");
    }
}
