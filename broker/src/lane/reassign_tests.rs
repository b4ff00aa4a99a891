use super::*;
use crate::packet::{PacketId, Reply};
use crate::session::MessageNo;
use crate::session::Outbound;

const CAROL: Actor<'static> = origin(3, 3, "carol");

const LIMITS: OutboundLimits = OutboundLimits {
    bytes: 10_000,
    messages: 10,
    receive_maximum: 100,
    maximum_packet_size: None,
    problem_information: true,
    topic_aliases: 0,
    age: u64::MAX,
};

/// A lane with the group `$share/g/t`, whose members are these sessions, in this order. All use
/// 5.0.
fn group(members: &[(Actor<'static>, OutboundLimits)]) -> Scene {
    let mut s = allow_all();
    for (who, limits) in members {
        let outbox = Arc::new(Outbox::connected(Version::V5, *limits));
        s.connect(*who, &outbox);
        s.subscribe(*who, &["$share/g/t"], |f| f.options.qos = QoS::ExactlyOnce);
        s.sent(*who);
    }
    s
}

/// So many messages may be in flight.
fn window(receive_maximum: u16) -> OutboundLimits {
    OutboundLimits {
        receive_maximum,
        ..LIMITS
    }
}

/// Packets may have so many bytes.
fn largest(bytes: u32) -> OutboundLimits {
    OutboundLimits {
        maximum_packet_size: Some(bytes),
        ..LIMITS
    }
}

impl Scene {
    fn send(&mut self, qos: QoS, payload: &[u8]) {
        self.apply(&Entry::Publish(PublishEntry {
            qos,
            ..message(None, "t", payload, false)
        }));
    }

    fn send_all(&mut self, qos: QoS, payloads: &[u8]) {
        for payload in payloads {
            self.send(qos, &[*payload]);
        }
    }

    /// The last byte of each PUBLISH that a session was sent: of payloads with one byte, the
    /// payloads.
    fn got(&mut self, who: Actor<'_>) -> String {
        let sent = self.sent(who);
        let publishes = sent.iter().filter(|(first, _)| first >> 4 == 3);
        let ends = publishes.map(|(_, body)| *body.last().unwrap());
        String::from_utf8(ends.collect()).unwrap()
    }

    fn leave(&mut self, who: Actor<'_>, filter: &str) {
        self.apply(&Entry::Unsubscribe(UnsubscribeEntry {
            who,
            request_id: 7,
            filters: vec![(0, filter)],
        }));
    }

    /// The connection ends. The session ends with it, or goes offline if it `stays`.
    fn end(&mut self, who: Actor<'static>, stays: bool) {
        self.outbox(who).disconnect(None, stays, 40);
        let disconnect = DisconnectEntry {
            who,
            reason: EndReason::Orderly,
            sent: MessageNo::NONE,
            authenticated: false,
        };
        self.apply(&if stays {
            Entry::Disconnected(disconnect)
        } else {
            Entry::Ended(disconnect)
        });
    }

    fn with<T>(&self, who: Actor<'_>, ask: impl FnOnce(&mut Outbound) -> T) -> T {
        self.outbox(who).queue(ask).unwrap()
    }

    fn acknowledge(&self, who: Actor<'_>, id: u16) {
        let id = PacketId::new(id).unwrap();
        assert_eq!(self.with(who, |out| out.acked(id, 50)), Ok(true));
    }

    /// The messages that a session stores, and those that it has dropped.
    fn stored(&self, who: Actor<'_>) -> (u64, u64) {
        self.with(who, |out| (out.backlog().messages, out.dropped()))
    }
}

#[test]
fn a_member_that_cannot_take_a_packet_is_skipped() {
    for qos in [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce] {
        let mut s = group(&[(ALICE, largest(60)), (BOB, LIMITS), (CAROL, LIMITS)]);
        for n in b'0'..b'8' {
            let mut large = vec![b'x'; 90];
            large.push(n);
            s.send(qos, &large);
        }
        let mut got = [s.got(BOB), s.got(CAROL)];
        got.sort();
        assert_eq!(got, ["0246", "1357"], "in turn");
        s.send_all(qos, b"abc");
        for who in [ALICE, BOB, CAROL] {
            assert_eq!(s.got(who).len(), 1, "a small packet may go to any member");
            assert_eq!(s.with(who, |out| out.dropped()), 0);
        }
    }
}

/// The packet is measured with that member's QoS and subscription identifier.
#[test]
fn a_packet_is_measured_as_the_member_would_receive_it() {
    // Fixed header 2, topic 3, packet id 2, properties 1, payload 50.
    for (most, identifier, fits) in [(58, 0, true), (57, 0, false), (60, 9, true), (59, 9, false)] {
        let mut s = group(&[(ALICE, largest(most)), (BOB, largest(10))]);
        s.apply(&Entry::Subscribe(SubscribeEntry {
            who: ALICE,
            request_id: 2,
            keeps: false,
            identifier,
            filters: vec![FilterEntry {
                position: 0,
                filter: "$share/g/t",
                options: SubscribeOptions::of(QoS::AtLeastOnce),
                mount: None,
                guarded: false,
                proof: &[],
            }],
        }));
        s.sent(ALICE);
        for _ in 0..3 {
            s.send(QoS::AtLeastOnce, &[b'x'; 50]);
        }
        let got = if fits { "xxx" } else { "" };
        assert_eq!(s.got(ALICE), got, "{most} {identifier}");
        let dropped = [ALICE, BOB].map(|who| s.with(who, |out| out.dropped()));
        let expected = if fits { 0 } else { 3 };
        assert_eq!(dropped.iter().sum::<u64>(), expected, "counted once");
    }
}

#[test]
fn an_offline_member_stores_what_is_too_large_for_connected_ones() {
    let mut s = group(&[(ALICE, largest(60)), (BOB, largest(60))]);
    s.end(BOB, true);
    s.send(QoS::AtLeastOnce, &[b'x'; 100]);
    assert_eq!((s.got(ALICE), s.stored(BOB)), (String::new(), (1, 0)));
    s.send(QoS::AtMostOnce, &[b'x'; 100]);
    assert_eq!(s.with(ALICE, |out| out.dropped()), 1, "QoS 0 is not stored");
    // A member that can take it joins, and Bob's session ends.
    let outbox = Arc::new(Outbox::connected(Version::V5, LIMITS));
    s.connect(CAROL, &outbox);
    s.subscribe(CAROL, &["$share/g/t"], |_| ());
    s.sent(CAROL);
    s.end(BOB, false);
    assert_eq!(s.got(CAROL), "x");
}

#[test]
fn a_member_that_goes_offline_stores_what_no_other_takes() {
    let mut s = group(&[(ALICE, LIMITS), (BOB, largest(60))]);
    s.send(QoS::AtLeastOnce, &[b'x'; 100]);
    s.send_all(QoS::AtLeastOnce, b"012");
    let (alice, bob) = (s.got(ALICE), s.got(BOB));
    s.end(ALICE, true);
    assert_eq!(s.stored(ALICE), (1, 0), "the large one");
    let mut all = format!("{alice}{bob}{}", s.got(BOB)).into_bytes();
    all.sort_unstable();
    all.dedup();
    assert_eq!(all, b"012x");
    assert_eq!(s.with(BOB, |out| out.dropped()), 0);
    // At the end of the session it is too large for all other members: it is dropped and counted.
    s.end(ALICE, false);
    assert_eq!(s.outbox(ALICE).dropped(), 1);
}

#[test]
fn unsent_messages_of_a_member_that_unsubscribes_go_to_others_at_once() {
    for qos in [QoS::AtLeastOnce, QoS::ExactlyOnce] {
        let mut s = group(&[(ALICE, window(1))]);
        s.send_all(qos, b"0246");
        assert_eq!(s.got(ALICE), "0");
        let bob = Arc::new(Outbox::connected(Version::V5, LIMITS));
        s.connect(BOB, &bob);
        s.subscribe(BOB, &["$share/g/t"], |f| f.options.qos = QoS::ExactlyOnce);
        s.sent(BOB);
        s.leave(ALICE, "$share/g/t");
        assert_eq!(s.got(BOB), "246");
        assert_eq!(s.stored(ALICE).0, 1, "in flight, and stays so");
        if qos == QoS::AtLeastOnce {
            s.acknowledge(ALICE, 1);
            assert_eq!(s.got(ALICE), "");
        }
        s.end(ALICE, false);
        assert_eq!(
            s.got(BOB),
            "",
            "completed, or QoS 2, which no other may have"
        );
    }
}

#[test]
fn messages_in_flight_to_a_member_that_unsubscribed_go_to_others_when_its_session_ends() {
    let mut s = group(&[(ALICE, LIMITS), (BOB, LIMITS)]);
    s.send_all(QoS::AtLeastOnce, b"0123");
    let (alice, _) = (s.got(ALICE), s.got(BOB));
    assert_eq!(alice.len(), 2);
    s.leave(ALICE, "$share/g/t");
    assert_eq!(s.got(BOB), "", "Alice may still acknowledge it");
    s.acknowledge(ALICE, 1);
    s.end(ALICE, false);
    assert_eq!(s.got(BOB), alice[1..]);
    s.end(BOB, false);
    assert!(s.has_forgotten(&[ALICE, BOB]), "removed with its session");
}

#[test]
fn the_last_member_keeps_its_messages_until_there_is_another() {
    let mut s = group(&[(ALICE, window(1))]);
    s.send_all(QoS::AtLeastOnce, b"012");
    s.leave(ALICE, "$share/g/t");
    assert_eq!(s.got(ALICE), "0");
    s.acknowledge(ALICE, 1);
    assert_eq!(s.got(ALICE), "1", "buffered messages may be delivered");
    let bob = Arc::new(Outbox::connected(Version::V5, LIMITS));
    s.connect(BOB, &bob);
    s.subscribe(BOB, &["$share/g/t"], |_| ());
    s.sent(BOB);
    s.end(ALICE, true);
    assert_eq!(s.got(BOB), "12");
    s.end(ALICE, false);
    assert_eq!(s.got(BOB), "");
}

#[test]
fn only_messages_of_the_filter_that_was_unsubscribed_go_to_others() {
    let mut s = group(&[(ALICE, window(1)), (BOB, LIMITS)]);
    s.subscribe(ALICE, &["t", "$share/own/t"], |_| ());
    s.sent(ALICE);
    s.send_all(QoS::AtLeastOnce, b"012");
    let bob = s.got(BOB);
    let before = s.stored(ALICE).0;
    s.leave(ALICE, "$share/g/t");
    let reassigned = s.got(BOB);
    assert_eq!(before - s.stored(ALICE).0, reassigned.len() as u64);
    assert_eq!(
        s.stored(ALICE).0,
        6,
        "by its own filter and as a group's only member"
    );
    assert_eq!(bob.len() + reassigned.len(), 3);
}

/// Messages that wait for a SUBACK of several lanes have not been sent either.
#[test]
fn messages_held_for_an_answer_go_to_others() {
    let mut s = group(&[(ALICE, LIMITS)]);
    let codes = vec![ReasonCode::Success];
    s.with(ALICE, |out| {
        let kind = Answer::SubAck(9.try_into().unwrap(), Vec::new());
        out.expect_answer(5, kind, codes.clone(), None, 2, 0);
        out.answer(5, 0, [(0, ReasonCode::Success, None)], 0);
    });
    s.send_all(QoS::AtLeastOnce, b"01");
    assert_eq!(s.got(ALICE), "");
    let bob = Arc::new(Outbox::connected(Version::V5, LIMITS));
    s.connect(BOB, &bob);
    s.subscribe(BOB, &["$share/g/t"], |_| ());
    s.sent(BOB);
    s.leave(ALICE, "$share/g/t");
    assert_eq!(s.got(BOB), "01");
    s.with(ALICE, |out| out.answer(5, 1, [], 0));
    assert_eq!(s.got(ALICE), "");
}

/// Its user has lost the right to it. Other members may still have the messages, so they must not
/// be dropped.
#[test]
fn messages_of_a_filter_that_is_not_resumed_go_to_others() {
    let mut s = group(&[(ALICE, LIMITS)]);
    s.end(ALICE, true);
    s.send_all(QoS::AtLeastOnce, b"01");
    let bob = Arc::new(Outbox::connected(Version::V5, LIMITS));
    s.connect(BOB, &bob);
    s.subscribe(BOB, &["$share/g/t"], |_| ());
    s.sent(BOB);
    s.apply(&Entry::Resume(SubscribeEntry {
        who: ALICE,
        request_id: 9,
        keeps: false,
        identifier: 0,
        filters: Vec::new(),
    }));
    assert_eq!((s.got(BOB), s.stored(ALICE).0), ("01".to_owned(), 0));
    assert!(s.running.lane.slot_of(ALICE.session).is_none());
}

/// Whether no connection is to be closed.
fn all_open(s: &Scene, members: &[Actor<'_>]) -> bool {
    let mut outboxes = members.iter().map(|who| s.outbox(*who));
    outboxes.all(|o| o.condition().closing.is_none())
}

/// Each of both has one message in flight and nine that wait. One more fits into Bob's queue.
fn both_nearly_full(qos: QoS) -> Scene {
    let mut s = group(&[(ALICE, window(1)), (BOB, window(1))]);
    s.send_all(qos, b"0123456789abcdefghij");
    assert_eq!((s.got(ALICE).len(), s.got(BOB).len()), (1, 1));
    s
}

#[test]
fn a_member_that_goes_offline_stores_what_does_not_fit_into_other_queues() {
    for qos in [QoS::AtLeastOnce, QoS::ExactlyOnce] {
        let mut s = both_nearly_full(qos);
        s.end(ALICE, true);
        assert_eq!(s.stored(ALICE), (9, 0));
        assert_eq!(s.stored(BOB), (11, 0), "one in flight, ten that wait");
        assert!(all_open(&s, &[BOB]));
    }
}

#[test]
fn a_member_that_unsubscribes_receives_what_does_not_fit_into_other_queues() {
    let mut s = both_nearly_full(QoS::AtLeastOnce);
    s.leave(ALICE, "$share/g/t");
    assert_eq!((s.stored(ALICE), s.stored(BOB)), ((9, 0), (11, 0)));
    for id in 1..10 {
        s.acknowledge(ALICE, id);
    }
    assert_eq!(s.got(ALICE).len(), 8, "nine in all, and one by Bob");
    assert!(all_open(&s, &[ALICE, BOB]));
}

/// Otherwise the end of one member of a busy group could close all others, one after another.
#[test]
fn no_connection_is_closed_for_messages_of_a_session_that_ended() {
    let mut s = both_nearly_full(QoS::AtLeastOnce);
    s.end(ALICE, false);
    assert_eq!(s.stored(BOB), (11, 0), "all his own, and one of hers");
    assert_eq!(s.outbox(ALICE).dropped(), 9);
    assert!(all_open(&s, &[BOB]));
}

/// A message that only one member can take goes to that one, whichever has the turn.
#[test]
fn a_member_that_unsubscribes_receives_what_only_full_members_could_take() {
    for before in 0..4 {
        let small = OutboundLimits {
            maximum_packet_size: Some(60),
            ..window(1)
        };
        let mut s = group(&[(ALICE, window(1)), (BOB, small), (CAROL, window(1))]);
        let mut sent = String::new();
        for n in 0..27 + before {
            let mut payload = vec![b'x'; if n % 5 == 0 { 90 } else { 1 }];
            payload.push(b'A' + n);
            sent.push(char::from(b'A' + n));
            s.send(QoS::AtLeastOnce, &payload);
        }
        s.leave(ALICE, "$share/g/t");
        let mut got = String::new();
        for id in 1..=20 {
            for who in [ALICE, BOB, CAROL] {
                got += &s.got(who);
                let _ = s.with(who, |out| out.acked(PacketId::new(id).unwrap(), 50));
            }
        }
        let mut got: Vec<char> = got.chars().collect();
        got.sort_unstable();
        assert_eq!(got.into_iter().collect::<String>(), sent, "{before}");
    }
}

#[test]
fn a_connected_member_that_unsubscribes_leaves_nothing_to_offline_ones() {
    let mut s = group(&[(ALICE, window(1)), (BOB, window(1))]);
    s.end(BOB, true);
    s.send_all(QoS::AtLeastOnce, b"012");
    s.leave(ALICE, "$share/g/t");
    assert_eq!((s.stored(ALICE).0, s.stored(BOB).0), (3, 0));
    s.end(ALICE, false);
    assert_eq!(s.stored(BOB), (3, 0), "at the end of her session");
}

/// A queue into which nothing fits.
const FULL: OutboundLimits = OutboundLimits {
    messages: 0,
    ..LIMITS
};

/// Alice's connection and her session have ended before the lane hears of the first.
#[test]
fn messages_of_a_session_that_ended_go_to_offline_members_too() {
    for others in [&[(BOB, LIMITS)][..], &[(BOB, LIMITS), (CAROL, FULL)]] {
        let mut s = group(&[&[(ALICE, window(1))], others].concat());
        s.end(BOB, true);
        s.send_all(QoS::AtLeastOnce, b"01234");
        assert_eq!((s.stored(ALICE).0, s.stored(BOB).0), (5, 0));
        let outbox = s.outbox(ALICE);
        outbox.disconnect(None, true, 40);
        outbox.disconnect(None, false, 40);
        let disconnect = || DisconnectEntry {
            who: ALICE,
            reason: EndReason::Orderly,
            sent: MessageNo::NONE,
            authenticated: false,
        };
        s.apply(&Entry::Disconnected(disconnect()));
        assert_eq!((outbox.dropped(), s.stored(BOB).0), (0, 0), "not yet");
        s.apply(&Entry::Ended(disconnect()));
        assert_eq!((outbox.dropped(), s.stored(BOB).0), (0, 5));
    }
}

/// Alice has each message twice: by the group, and by a filter of her own.
#[test]
fn messages_that_no_member_took_keep_their_order() {
    for leaves in [false, true] {
        let mut s = group(&[(ALICE, window(1)), (BOB, FULL)]);
        s.subscribe(ALICE, &["t"], |f| f.options.qos = QoS::AtLeastOnce);
        s.sent(ALICE);
        s.send_all(QoS::AtLeastOnce, b"01234");
        let mut got = s.got(ALICE);
        if leaves {
            s.leave(ALICE, "$share/g/t");
        } else {
            s.end(ALICE, true);
            let outbox = s.outbox(ALICE);
            outbox.connect(None, Version::V5, window(1), &Reply::PingResp, 50);
            assert_eq!(s.got(ALICE), got, "again");
        }
        for id in 1..=9 {
            s.acknowledge(ALICE, id);
            got += &s.got(ALICE);
        }
        assert_eq!(got, "0011223344", "{leaves}");
    }
}
