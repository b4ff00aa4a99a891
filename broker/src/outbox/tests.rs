use super::*;
use crate::metrics::{Counters, Metric};
use crate::packet::{PublishParts, QoS, Reply, encode_publish};
use crate::session::{Frame, MessageNo, OutboundLimits, Tag};
use futures_util::FutureExt;
use std::sync::Arc;

impl Outbox {
    /// A connected outbox, empty and without a socket.
    pub(crate) fn connected(version: Version, limits: OutboundLimits) -> Self {
        let outbox = Outbox::offline(version, limits, Arc::default());
        let nothing = Reply::Disconnect(ReasonCode::Success, None);
        outbox.connect(None, version, limits, &nothing, 0);
        outbox.take_bytes();
        outbox
    }

    pub(crate) fn take_bytes(&self) -> Vec<u8> {
        let mut state = self.state.lock();
        state.flush_pending = false;
        let queue = state.outbound.queue();
        let mut slices = [IoSlice::new(&[]); PIECES];
        let n = queue.slices(&mut slices);
        let bytes: Vec<u8> = slices[..n].iter().flat_map(|s| s.to_vec()).collect();
        queue.advance(bytes.len());
        bytes
    }
}

const LIMITS: OutboundLimits = OutboundLimits {
    bytes: 10,
    messages: 1,
    receive_maximum: 1,
    maximum_packet_size: None,
    problem_information: true,
    topic_aliases: 0,
    age: 1_000,
};

fn outbox() -> Outbox {
    Outbox::connected(Version::V5, LIMITS)
}

#[test]
fn nothing_follows_disconnect() {
    for resumable in [false, true] {
        let outbox = outbox();
        let taken_over = Close {
            reason: ReasonCode::SessionTakenOver,
            text: String::new(),
        };
        let rest = outbox.disconnect(Some(&taken_over), resumable, 0);
        assert!(!outbox.fill(|out| out.reply(&Reply::PingResp)));
        outbox.queue(|out| out.reply(&Reply::PingResp));
        let bytes = rest.take_bytes();
        let length = bytes.get(1).copied().map_or(0, usize::from);
        assert_eq!((bytes.first(), bytes.len()), (Some(&0xE0), 2 + length));
    }
}

#[test]
fn reading_pauses_while_a_full_socket_leaves_too_many_answers() {
    let outbox = outbox();
    let ask = || outbox.queue(|out| out.reply(&Reply::PingResp));
    outbox.state.lock().blocked = true;
    (0..5).for_each(|_| assert!(ask().is_some()));
    assert!(!outbox.condition().pause_reading, "10 of 10 bytes");
    ask();
    assert!(outbox.condition().pause_reading);
    outbox.take_bytes();
    assert!(!outbox.condition().pause_reading);
}

#[test]
fn frames_for_an_offline_client_are_encoded_for_5_0() {
    let outbox = Outbox::offline(Version::V3, LIMITS, Arc::default());
    outbox.connect(None, Version::V3, LIMITS, &Reply::PingResp, 0);
    assert_eq!(outbox.version(), Version::V3);
    drop(outbox.disconnect(None, true, 0));
    assert_eq!(outbox.version(), Version::V5);
    outbox.connect(None, Version::V3, LIMITS, &Reply::PingResp, 0);
    assert_eq!(outbox.version(), Version::V3);
}

/// It has to tell the lane, which keeps the message until then.
#[test]
fn the_connections_task_hears_once_of_messages_that_cannot_be_sent() {
    let limits = OutboundLimits {
        bytes: 1_000,
        messages: 100,
        maximum_packet_size: Some(5),
        ..LIMITS
    };
    let outbox = Outbox::connected(Version::V5, limits);
    let frame = Frame {
        qos: QoS::AtLeastOnce,
        packet: encode_publish(Version::V5, &PublishParts::new("t", b"", QoS::AtLeastOnce)),
        expires: crate::session::NEVER,
        share: None,
    };
    for (number, wakes) in [(1, true), (2, false)] {
        outbox.fill(|out| assert!(out.deliver_kept(Tag::own(0, MessageNo(number)), &frame, 0)));
        assert!(outbox.has_lane_work());
        assert_eq!(outbox.changed().now_or_never().is_some(), wakes);
    }
}

#[test]
fn held_messages_count_until_the_session_ends() {
    let counters = Arc::new(Counters::default());
    let limits = OutboundLimits {
        bytes: 1_000,
        ..LIMITS
    };
    let held = |n: u64| {
        let sum = counters.sum();
        assert_eq!(
            (
                sum.of(Metric::Held),
                sum.of(Metric::HeldPayload),
                sum.of(Metric::InFlight)
            ),
            (n, n * 5, n.min(1))
        );
    };
    let parts = PublishParts::new("t", b"12345", QoS::AtLeastOnce);
    let frame = Frame {
        qos: QoS::AtLeastOnce,
        packet: encode_publish(Version::V5, &parts),
        expires: crate::session::NEVER,
        share: None,
    };
    for resumable in [false, true] {
        let outbox = Outbox::offline(Version::V5, limits, counters.clone());
        let sent = counters.sum();
        outbox.connect(None, Version::V5, limits, &Reply::PingResp, 0);
        for _ in 0..2 {
            outbox.fill(|out| assert!(out.deliver(0, &frame, 0)));
        }
        outbox.flush();
        held(2);
        let now = counters.sum();
        assert_eq!(
            now.of(Metric::PublishesSent) - sent.of(Metric::PublishesSent),
            1,
            "the window is 1"
        );
        assert_eq!(
            now.of(Metric::OthersSent) - sent.of(Metric::OthersSent),
            1,
            "the first packet"
        );
        drop(outbox.disconnect(None, resumable, 0));
        held(if resumable { 2 } else { 0 });
        outbox.fill(|out| assert!(out.deliver(0, &frame, 0)));
        // The limit is one waiting message: the older is dropped.
        held(if resumable { 2 } else { 0 });
        assert_eq!(counters.sum().dropped[0], u64::from(resumable));
        drop(outbox);
        held(0);
    }
}
