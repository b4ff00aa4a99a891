//! QoS 1 and 2 that find no room while their client is there.
#![allow(clippy::unwrap_used, clippy::expect_used)]
use super::tests::{LIMITS, frame, id, publish1, sent};
use super::*;
use crate::packet::QoS;
use crate::packet::ReasonCode;
use crate::session::OutboundLimits;

/// Of QoS 1, with this number for a payload.
fn number(n: u8) -> Frame {
    frame(QoS::AtLeastOnce, &[n])
}

fn connack() -> Reply {
    Reply::PingResp
}

/// Takes the session up; what it is sent.
fn reconnect(out: &mut Outbound) -> Vec<u8> {
    out.reconnect(Version::V3, LIMITS, &connack(), 0);
    sent(out)[2..].to_vec()
}

/// Two on the way, three that wait, and one too many.
fn overflowed() -> Outbound {
    let mut out = Outbound::new(Version::V3, LIMITS);
    for n in 1..=5 {
        assert!(out.deliver(0, &number(n), 0));
    }
    assert!(!out.overflowed());
    assert!(
        out.deliver(0, &number(6), 0),
        "it waits in place of another"
    );
    assert!(out.overflowed());
    sent(&mut out);
    out
}

/// Acknowledges message after message; their payloads as they come, first or again.
fn drained(out: &mut Outbound, mut bytes: Vec<u8>) -> Vec<u8> {
    let mut numbers = Vec::new();
    while let [_, 6, _, _, _, high, low, number, rest @ ..] = &bytes[..] {
        numbers.push(*number);
        let id = id(u16::from_be_bytes([*high, *low]));
        bytes = rest.to_vec();
        assert_eq!(out.acked(id, 0), Ok(true));
        bytes.extend(sent(out));
    }
    assert!(out.has_sent_all());
    numbers
}

#[test]
fn the_oldest_that_waits_goes_and_all_else_is_kept() {
    let mut out = overflowed();
    assert_eq!(out.dropped(), 1);
    // Until the connection knows that it is over.
    out.deliver(0, &number(7), 0);
    out.disconnect(0);
    assert!(!out.overflowed(), "the next connection begins anew");
    out.deliver(0, &number(8), 0);
    assert_eq!(out.dropped(), 3, "3, 4 and 5");
    let again = reconnect(&mut out);
    assert_eq!(drained(&mut out, again), [1, 2, 6, 7, 8]);
}

#[test]
fn what_can_never_wait_is_lost_and_drops_no_other() {
    let mut out = Outbound::new(Version::V3, LIMITS);
    for n in 1..=3 {
        out.deliver(0, &number(n), 0);
    }
    let large = frame(QoS::AtLeastOnce, &[0; 10_000]);
    assert!(!out.deliver(0, &large, 0));
    assert!(out.overflowed());
    assert_eq!((out.dropped(), out.backlog().messages), (1, 3));
}

/// Or it would be closed as often as it comes, and never get to the end of what waits.
#[test]
fn who_comes_back_to_a_full_queue_has_the_time_to_read_it() {
    let mut out = overflowed();
    out.disconnect(0);
    let again = reconnect(&mut out);
    assert_eq!(again.len(), 16, "the window is full of what it was");
    out.deliver(0, &number(7), 0);
    assert!(!out.overflowed());
    assert_eq!(out.dropped(), 2);
    for n in [1, 2] {
        assert_eq!(out.acked(id(n), 0), Ok(true));
    }
    assert_eq!(
        sent(&mut out),
        [publish1(3, &[5]), publish1(4, &[6])].concat()
    );
    // It has read most of it, and is as any other.
    for n in 8..=9 {
        out.deliver(0, &number(n), 0);
    }
    assert!(!out.overflowed());
    out.deliver(0, &number(10), 0);
    assert!(out.overflowed());
}

#[test]
fn what_an_answer_holds_back_keeps_to_the_same_rule() {
    let limits = OutboundLimits {
        bytes: 200,
        ..LIMITS
    };
    let mut out = Outbound::new(Version::V3, limits);
    let codes = vec![ReasonCode::Success];
    out.expect_answer(1, Answer::SubAck(id(7), Vec::new()), codes, None, 2, 0);
    out.answer(1, 0, [], 0);
    let of = |qos, n| frame(qos, &[n; 80]);
    assert!(out.deliver(0, &of(QoS::AtMostOnce, 1), 0));
    assert!(out.deliver(0, &of(QoS::AtLeastOnce, 2), 0));
    assert!(!out.deliver(0, &of(QoS::AtMostOnce, 3), 0));
    assert!(!out.overflowed(), "QoS 0 may be lost");
    assert!(out.deliver(0, &of(QoS::AtLeastOnce, 4), 0));
    assert!(out.overflowed());
    assert!(out.deliver(0, &of(QoS::AtLeastOnce, 5), 0));
    assert_eq!(out.dropped(), 3, "1, 2 and 3");
    out.disconnect(0);
    out.reconnect(Version::V3, limits, &connack(), 0);
    let expected = [publish1(1, &[4; 80]), publish1(2, &[5; 80])].concat();
    assert_eq!(sent(&mut out)[2..], expected);
}

#[test]
fn a_client_that_waits_to_be_let_in_loses_nothing_else() {
    let mut out = Outbound::new(Version::V3, LIMITS);
    out.disconnect(0);
    out.expect_answer(1, Answer::Resume, Vec::new(), None, 2, 0);
    out.answer(1, 0, [], 0);
    let large = frame(QoS::AtLeastOnce, &[1; 6_000]);
    out.deliver(0, &large, 0);
    out.deliver(0, &large, 0);
    out.deliver(0, &number(3), 0);
    out.answer(1, 1, [], 0);
    assert!(!out.overflowed());
    assert_eq!(out.dropped(), 1, "the older of the large ones");
    reconnect(&mut out);
    assert_eq!(out.backlog().in_flight, 2);
}

/// What is held goes on to wait for the window, behind what waits already.
#[test]
fn what_an_answer_holds_back_leaves_less_room_for_what_others_could_have() {
    for (limits, len, held) in [
        (
            OutboundLimits {
                bytes: 200,
                ..LIMITS
            },
            80,
            2,
        ),
        (LIMITS, 1, 3),
    ] {
        let mut out = Outbound::new(Version::V3, limits);
        let codes = vec![ReasonCode::Success];
        out.expect_answer(1, Answer::SubAck(id(7), Vec::new()), codes, None, 2, 0);
        out.answer(1, 0, [], 0);
        let message = frame(QoS::AtLeastOnce, &vec![b'x'; len]);
        for n in 0..held {
            assert!(out.meets(Need::Capacity, &message), "{n}");
            out.deliver(0, &message, 0);
        }
        assert!(!out.meets(Need::Capacity, &message) && out.meets(Need::Size, &message));
        assert!(!out.may_meet(Need::Capacity, len));
        out.answer(1, 1, [], 0);
        assert_eq!((out.dropped(), out.overflowed()), (0, false));
    }
}
