#![allow(clippy::unwrap_used)]
use super::super::tests::{LIMITS, frame, id, publish1, sent};
use super::super::*;
use crate::packet::{QoS, ReasonCode};
use crate::session::OutboundLimits;

const SUBACK: [u8; 5] = [0x90, 3, 0, 7, 0];

fn small(qos: QoS, payload: u8) -> Frame {
    frame(qos, &[payload])
}

fn publish0(payload: u8) -> Vec<u8> {
    vec![0x30, 4, 0, 1, b't', payload]
}

/// A SUBSCRIBE with one filter that so many lanes are asked for. None has answered.
fn ask(out: &mut Outbound, request_id: u32, lanes: usize) {
    let answer = Answer::SubAck(id(7), Vec::new());
    let codes = vec![ReasonCode::Success];
    out.expect_answer(request_id, answer, codes, None, lanes, 0);
}

/// A lane answers, and has retained messages.
fn answer(out: &mut Outbound, request_id: u32, lane: u16) {
    assert!(out.begin_replay(request_id));
    out.answer(request_id, lane, [(0, ReasonCode::Success, None)], 0);
}

/// A client whose SUBACK was sent, and whose retained messages follow, as lane 0 has them.
fn replaying(limits: OutboundLimits) -> Outbound {
    let mut out = Outbound::new(Version::V3, limits);
    ask(&mut out, 1, 1);
    answer(&mut out, 1, 0);
    assert_eq!(sent(&mut out), SUBACK);
    assert!(out.wants_retained());
    out
}

#[test]
fn live_messages_of_the_lanes_asked_wait_behind_the_retained_ones() {
    let mut out = Outbound::new(Version::V3, LIMITS);
    ask(&mut out, 1, 2);
    answer(&mut out, 1, 3);
    assert_eq!(out.replaying(), None, "another lane has not answered");
    out.answer(1, 4, [], 0);
    assert_eq!(sent(&mut out), SUBACK, "at once");
    assert_eq!(out.replaying(), Some(1));
    for (lane, payload) in [(3, b'3'), (4, b'4'), (5, b'5')] {
        out.deliver(lane, &small(QoS::AtMostOnce, payload), 0);
    }
    assert_eq!(sent(&mut out), publish0(b'5'), "of no lane that was asked");
    assert!(out.deliver_retained(&small(QoS::AtMostOnce, b'r'), 0));
    assert!(!out.has_sent_all());
    out.end_replay(1, 0);
    assert_eq!(
        sent(&mut out),
        [publish0(b'r'), publish0(b'3'), publish0(b'4')].concat()
    );
    assert!(out.has_sent_all() && out.replaying().is_none());
}

/// Two lanes have answered both requests.
#[test]
fn requests_are_replayed_one_after_the_other() {
    let mut out = Outbound::new(Version::V3, LIMITS);
    for request_id in [1, 2] {
        ask(&mut out, request_id, 2);
        answer(&mut out, request_id, 0);
        out.deliver(0, &small(QoS::AtMostOnce, b'0'), 0);
    }
    out.answer(2, 1, [], 0);
    assert_eq!(sent(&mut out), SUBACK);
    assert_eq!(out.replaying(), None, "the first request goes first");
    out.answer(1, 1, [], 0);
    assert_eq!(sent(&mut out), SUBACK);
    out.deliver(1, &small(QoS::AtMostOnce, b'1'), 0);
    for request_id in [1, 2] {
        assert_eq!(out.replaying(), Some(request_id));
        assert!(sent(&mut out).is_empty());
        out.end_replay(request_id, 0);
    }
    let live = [publish0(b'0'), publish0(b'0'), publish0(b'1')];
    assert_eq!(sent(&mut out), live.concat());
}

#[test]
fn retained_messages_take_half_of_the_queue_and_a_larger_one_goes_alone() {
    let mut out = replaying(LIMITS);
    let third = frame(QoS::AtMostOnce, &[b'x'; 3_000]);
    assert!(out.deliver_retained(&third, 0));
    assert!(!out.deliver_retained(&third, 0));
    assert!(!out.wants_retained(), "as large a message as was refused");
    // Live messages of other lanes find room.
    assert!(out.deliver(5, &third, 0) && out.deliver(5, &third, 0));
    sent(&mut out);
    assert!(out.wants_retained());
    let larger = frame(QoS::AtMostOnce, &vec![b'x'; 20_000]);
    assert!(out.deliver_retained(&larger, 0));
    assert!(!out.deliver_retained(&larger, 0));
    sent(&mut out);
    assert!(out.deliver_retained(&larger, 0));
    assert_eq!(out.dropped(), 0);
}

#[test]
fn retained_messages_wait_for_the_window_and_qos_0_goes_ahead() {
    let limits = OutboundLimits {
        messages: 4,
        receive_maximum: 1,
        ..LIMITS
    };
    let mut out = replaying(limits);
    for payload in [b'1', b'2', b'3'] {
        assert!(out.deliver_retained(&small(QoS::AtLeastOnce, payload), 0));
    }
    assert!(out.deliver_retained(&small(QoS::AtMostOnce, b'0'), 0));
    assert_eq!(sent(&mut out), [publish1(1, b"1"), publish0(b'0')].concat());
    assert!(!out.deliver_retained(&small(QoS::AtLeastOnce, b'4'), 0));
    assert!(!out.wants_retained());
    // Half of the queue is left for live messages.
    for payload in [b'5', b'6'] {
        out.deliver(5, &small(QoS::AtLeastOnce, payload), 0);
    }
    assert!(!out.overflowed());
    for n in [1, 2, 3] {
        out.acked(id(n), 0).unwrap();
    }
    assert!(out.wants_retained());
    assert!(out.deliver_retained(&small(QoS::AtLeastOnce, b'4'), 0));
    assert_eq!(out.dropped(), 0);
}

/// It is larger than all that may wait, so it is sent when nothing else is in flight.
#[test]
fn a_large_retained_message_waits_until_nothing_is_in_flight() {
    let mut out = replaying(LIMITS);
    assert!(out.deliver_retained(&small(QoS::AtLeastOnce, b'1'), 0));
    sent(&mut out);
    let large = frame(QoS::AtLeastOnce, &vec![b'x'; 20_000]);
    assert!(!out.deliver_retained(&large, 0));
    assert!(!out.wants_retained());
    out.acked(id(1), 0).unwrap();
    assert!(out.wants_retained() && out.deliver_retained(&large, 0));
    assert_eq!((out.dropped(), out.overflowed()), (0, false));
}

#[test]
fn beyond_the_limit_live_messages_behind_a_replay_are_as_any_that_wait() {
    let limits = OutboundLimits {
        bytes: 200,
        ..LIMITS
    };
    let mut out = replaying(limits);
    let of = |qos| frame(qos, &[1; 80]);
    assert!(out.deliver(0, &of(QoS::AtLeastOnce), 0));
    assert!(out.deliver(0, &of(QoS::AtMostOnce), 0));
    assert!(!out.deliver(0, &of(QoS::AtMostOnce), 0));
    assert!(!out.overflowed());
    assert!(out.deliver(0, &of(QoS::AtLeastOnce), 0));
    assert!(out.overflowed());
}

#[test]
fn a_replay_goes_on_with_the_next_connection_and_ends_with_the_session() {
    for resumes in [true, false] {
        let mut out = replaying(LIMITS);
        ask(&mut out, 2, 2);
        answer(&mut out, 2, 0);
        out.deliver(0, &small(QoS::AtMostOnce, b'0'), 0);
        out.deliver(0, &small(QoS::AtLeastOnce, b'1'), 0);
        out.disconnect(0);
        if !resumes {
            out.end();
        }
        assert!(!out.wants_retained());
        assert!(!out.deliver_retained(&small(QoS::AtMostOnce, b'r'), 0));
        assert_eq!(out.has_replay(1), resumes);
        assert!(!out.has_replay(2), "its SUBACK was not sent");
        if !resumes {
            continue;
        }
        out.reconnect(Version::V3, LIMITS, &Reply::PingResp, 0);
        let again = [vec![0xD0, 0], publish1(1, b"1")].concat();
        assert_eq!(sent(&mut out), again);
        out.deliver(0, &small(QoS::AtMostOnce, b'2'), 0);
        assert!(sent(&mut out).is_empty());
        assert!(out.wants_retained());
        out.end_replay(1, 0);
        assert_eq!(sent(&mut out), publish0(b'2'));
    }
}

#[test]
fn an_unknown_request_has_no_replay() {
    let mut out = Outbound::new(Version::V3, LIMITS);
    assert!(!out.begin_replay(1));
    out.end_replay(1, 0);
    assert!(!out.has_replay(1) && !out.has_lane_work());
}
