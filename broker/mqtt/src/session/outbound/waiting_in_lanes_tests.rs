#![allow(clippy::unwrap_used)]
use super::super::tests::{LIMITS, frame, id, publish1, sent};
use super::*;
use crate::packet::{QoS, Reply, Version};
use crate::session::{OutboundLimits, RangeSet};

const LANE: u16 = 3;

fn tag(number: u64) -> Tag {
    Tag::own(LANE, MessageNo(number))
}

/// A session with a window of two, to which a lane has delivered messages 1 to 4.
fn session() -> Outbound {
    let mut out = Outbound::new(Version::V3, LIMITS);
    for (number, payload) in (1..).zip([b"a", b"b", b"c", b"d"]) {
        assert!(out.deliver_kept(tag(number), &frame(QoS::AtLeastOnce, payload), 0));
    }
    assert_eq!(
        sent(&mut out),
        [publish1(1, b"a"), publish1(2, b"b")].concat()
    );
    out
}

fn reconnect(out: &mut Outbound, limits: OutboundLimits) {
    out.reconnect(Version::V3, limits, &Reply::PingResp, 0);
    sent(out);
}

fn told(up_to: u64, also: &[u64]) -> Vec<(u16, Done)> {
    let (up_to, also) = (MessageNo(up_to), also.iter().copied().collect::<RangeSet>());
    vec![(LANE, Done { up_to, also })]
}

#[test]
fn acknowledged_messages_are_told_once() {
    let mut out = session();
    assert!(!out.has_untold() && out.take_untold().is_empty());
    out.acked(id(2), 0).unwrap();
    assert!(out.has_untold());
    assert_eq!(out.take_untold(), told(0, &[2]));
    assert!(!out.has_untold() && out.take_untold().is_empty());
    for n in [1, 3, 4] {
        out.acked(id(n), 0).unwrap();
    }
    assert_eq!(out.take_untold(), told(4, &[]));
}

#[test]
fn an_offline_session_leaves_to_its_lane_what_was_not_sent() {
    let mut out = session();
    out.acked(id(1), 0).unwrap();
    out.disconnect(0);
    assert_eq!(
        out.last_handed(LANE),
        MessageNo(3),
        "3 was sent after the ack"
    );
    assert_eq!(out.take_untold(), told(1, &[]));
    assert!(!out.deliver_kept(tag(5), &frame(QoS::AtLeastOnce, b"e"), 0));
    let backlog = out.backlog();
    assert_eq!((backlog.messages, backlog.payload), (4, 4));
    assert!(out.waiting.is_empty());

    reconnect(&mut out, LIMITS);
    assert!(
        out.is_behind() && !out.wants_waiting(),
        "the window is full"
    );
    out.acked(id(2), 0).unwrap();
    out.acked(id(3), 0).unwrap();
    assert!(out.wants_waiting());
    let late = frame(QoS::AtLeastOnce, b"c");
    out.deliver_waiting(tag(3), &late, 0, 0);
    assert!(sent(&mut out).is_empty(), "it was sent before");
    out.deliver_waiting(tag(4), &frame(QoS::AtLeastOnce, b"d"), 0, 0);
    assert_eq!(sent(&mut out), publish1(4, b"d"));
    assert!(!out.deliver_kept(tag(6), &frame(QoS::AtLeastOnce, b"f"), 0));
    out.deliver_waiting(tag(5), &frame(QoS::AtLeastOnce, b"e"), 0, 0);
    out.acked(id(4), 0).unwrap();
    out.deliver_waiting(tag(6), &frame(QoS::AtLeastOnce, b"f"), 0, 0);
    out.caught_up(LANE);
    assert!(!out.is_behind());
    assert_eq!(out.backlog().messages, 2);
    assert!(out.deliver_kept(tag(7), &frame(QoS::AtLeastOnce, b"g"), 0));
}

#[test]
fn messages_that_are_given_up_are_told() {
    let mut out = Outbound::new(Version::V5, LIMITS);
    let mut mortal = frame(QoS::AtLeastOnce, b"a");
    mortal.expires = 5;
    out.deliver_kept(tag(1), &mortal, 9);
    out.deliver_kept(tag(2), &frame(QoS::AtLeastOnce, &vec![0; 20_000]), 9);
    assert_eq!(out.take_untold(), told(1, &[]));
    out.acked(id(2), 9).unwrap();
    // More than the queue takes: the oldest that waits is dropped.
    let mut out = session();
    for number in 5..=9 {
        out.deliver_kept(tag(number), &frame(QoS::AtLeastOnce, b"x"), 0);
    }
    let dropped = out.dropped();
    assert!(dropped > 0 && out.overflowed());
    let numbers: Vec<u64> = (3..3 + dropped).collect();
    assert_eq!(out.take_untold(), told(0, &numbers));
}

/// Each lane limits its own queue.
#[test]
fn a_lane_drops_nothing_for_what_waits_in_another() {
    let mut out = session();
    out.disconnect(0);
    let most = LIMITS.messages as u64;
    let deliver = |out: &mut Outbound, lane, number| {
        let tag = Tag::own(lane, MessageNo(number));
        out.deliver_kept(tag, &frame(QoS::AtLeastOnce, b"x"), 0)
    };
    // Two wait in the first lane already.
    for number in 1..=most {
        assert!(number < 3 || !deliver(&mut out, LANE, 2 + number));
        assert!(!deliver(&mut out, LANE + 1, number));
    }
    reconnect(&mut out, LIMITS);
    out.acked(id(1), 0).unwrap();
    assert!(!deliver(&mut out, LANE, 3 + most));
    assert!(!out.is_too_far_behind(LANE) && !out.is_too_far_behind(LANE + 1));
    assert_eq!(out.backlog().messages, 1 + 2 * most + 1);
    out.dropped_in_lane(LANE + 1, DropReason::TooOld, most, most);
    out.caught_up(LANE + 1);
    assert_eq!(
        (out.lanes_behind(), out.backlog().messages),
        (vec![LANE], 1 + most + 1)
    );
}

#[test]
fn a_client_that_is_too_far_behind_loses_the_oldest() {
    let mut out = session();
    out.disconnect(0);
    reconnect(&mut out, LIMITS);
    for number in 5.. {
        assert!(!out.deliver_kept(tag(number), &frame(QoS::AtLeastOnce, b"x"), 0));
        if out.is_too_far_behind(LANE) {
            break;
        }
    }
    // Messages that the window takes do not count.
    let before = out.backlog().messages;
    let most = LIMITS.messages as u64 + u64::from(LIMITS.receive_maximum);
    assert_eq!(before, most + 1);
    out.pass_over(tag(3), 1);
    assert!(!out.is_too_far_behind(LANE) && !out.overflowed());
    assert_eq!((out.backlog().messages, out.dropped()), (before - 1, 1));
    assert_eq!(out.take_untold(), told(0, &[3]));
    assert_eq!(out.last_handed(LANE), MessageNo(3));
}

/// The lane has a message in its queue before it delivers it, and others may read the queue between.
#[test]
fn a_message_that_was_read_from_the_queue_is_not_delivered_again() {
    let mut out = Outbound::new(Version::V3, LIMITS);
    out.disconnect(0);
    let frame = |payload| frame(QoS::AtLeastOnce, payload);
    assert!(!out.deliver_kept(tag(1), &frame(b"a"), 0));
    reconnect(&mut out, LIMITS);
    out.deliver_waiting(tag(1), &frame(b"a"), 0, 0);
    out.deliver_waiting(tag(2), &frame(b"b"), 0, 0);
    out.caught_up(LANE);
    assert_eq!(
        sent(&mut out),
        [publish1(1, b"a"), publish1(2, b"b")].concat()
    );
    assert!(out.deliver_kept(tag(2), &frame(b"b"), 0));
    assert!(sent(&mut out).is_empty() && !out.is_behind());
}
