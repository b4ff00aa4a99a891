#![allow(clippy::unwrap_used, clippy::expect_used)]
use super::tests::{LIMITS, frame, sent};
use super::*;
use crate::cost::MESSAGE_COST;
use crate::packet::QoS;
use crate::packet::ReasonCode;
use proptest::prelude::*;

/// Of the session, with how often each happened since it was asked last.
fn dropped(out: &mut Outbound) -> Vec<(&'static str, u64)> {
    let dropped = std::mem::take(out.tally()).dropped.unwrap_or_default();
    let all = DropReason::ALL.iter().zip(dropped.messages);
    let named = all.map(|(reason, count)| (reason.name(), count));
    named.filter(|(_, count)| *count > 0).collect()
}

#[test]
fn every_reason_is_told_apart() {
    let mut out = Outbound::new(Version::V3, LIMITS);
    // A window of two, three that wait, and one too many.
    for _ in 0..6 {
        out.deliver(0, &frame(QoS::AtLeastOnce, b"12345"), 0);
    }
    let full = std::mem::take(out.tally()).dropped.unwrap();
    assert_eq!((full.messages[0], full.payload), (1, 5), "queue_full");
    out.deliver(0, &frame(QoS::AtMostOnce, &[0; 9_970]), 0);
    out.deliver(0, &frame(QoS::AtMostOnce, b"12345"), 0);
    assert_eq!(dropped(&mut out), [("slow_reader", 1)]);

    out.disconnect(0);
    let gone = Frame {
        expires: 500,
        ..frame(QoS::AtLeastOnce, b"x")
    };
    out.deliver(0, &gone, 0);
    assert_eq!(dropped(&mut out), [("queue_full", 1)], "the oldest");
    out.deliver(0, &gone, 1_001);
    assert_eq!(
        dropped(&mut out),
        [("too_old", 3)],
        "all that waited before"
    );
    out.purge(|_| false);
    assert_eq!(dropped(&mut out), [("forbidden", 3)]);
    assert_eq!(out.backlog(), Backlog::default());
    out.deliver(0, &gone, 0);
    let small = OutboundLimits {
        maximum_packet_size: Some(20),
        ..LIMITS
    };
    out.reconnect(Version::V3, small, &Reply::PingResp, 600);
    assert_eq!(dropped(&mut out), [("expired", 1)]);
    for qos in [QoS::AtMostOnce, QoS::AtLeastOnce] {
        out.deliver(0, &frame(qos, &[0; 30]), 600);
    }
    assert_eq!(dropped(&mut out), [("too_large", 2)]);
    assert_eq!(out.dropped(), 1 + 1 + 1 + 3 + 3 + 1 + 2);
}

#[test]
fn what_goes_out_is_counted_as_packets() {
    let mut out = Outbound::new(Version::V3, LIMITS);
    out.deliver(0, &frame(QoS::AtMostOnce, b"12345"), 0);
    out.deliver(0, &frame(QoS::AtLeastOnce, b"123"), 0);
    out.reply(&Reply::PingResp);
    // 3.1.1 has no such packet.
    out.reply(&Reply::Disconnect(ReasonCode::Success, None));
    let expected = Tally {
        publishes: 2,
        payload: 8,
        others: 1,
        dropped: None,
    };
    assert_eq!(*out.tally(), expected);
}

proptest! {
    /// What is held is what lies in the queues, whatever happens.
    #[test]
    fn held_is_what_is_there(
        steps in proptest::collection::vec((0u8..9, 0u16..6, 0usize..4_000), 0..60)
    ) {
        let mut out = Outbound::new(Version::V3, LIMITS);
        let mut now = 0;
        for (step, number, size) in steps {
            let id = PacketId::new(number + 1).unwrap();
            match step {
                0 | 1 => drop(out.deliver(0, &frame(QoS::AtLeastOnce, &vec![0; size]), now)),
                2 => drop(out.deliver(0, &frame(QoS::ExactlyOnce, &vec![0; size]), now)),
                3 => drop(out.acked(id, now)),
                4 => drop(out.received(id, now)),
                5 => drop(out.completed(id, now)),
                6 => drop(out.disconnect(now)),
                7 => out.reconnect(Version::V3, LIMITS, &Reply::PingResp, now),
                _ => now += size as u64,
            }
            sent(&mut out);
            let frames = out.waiting.iter().map(|w| &w.frame);
            let frames: Vec<_> = frames.chain(out.in_flight.iter().filter_map(|m| m.frame())).collect();
            let each = frames.iter().map(|f| f.len() + MESSAGE_COST).sum::<usize>();
            let kept = (each + 2 * out.released.len()) as u64;
            let held = Backlog {
                messages: frames.len() as u64,
                payload: frames.iter().map(|f| f.packet.payload_len() as u64).sum(),
                in_flight: (out.in_flight.len() + out.released.len()) as u64,
                kept_bytes: if out.offline { kept } else { 0 },
                ending_bytes: 0,
            };
            prop_assert_eq!(out.backlog(), held);
        }
    }
}
