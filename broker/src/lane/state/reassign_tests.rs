use super::*;
use crate::packet::{PacketId, Reply};
use crate::session::Outbound;

const CAROL: Origin<'static> = origin(3, 3, "carol");

const LIMITS: OutboundLimits = OutboundLimits {
    bytes: 10_000,
    messages: 10,
    receive_maximum: 100,
    maximum_packet_size: None,
    problem_information: true,
    topic_aliases: 0,
    age: u64::MAX,
};

/// Of these sessions; all speak 5.0 and are in the group `$share/g/t`, in this order.
fn group(members: &[(Origin<'static>, OutboundLimits)]) -> Scene {
    let mut s = allow_all();
    for (who, limits) in members {
        let outbox = Arc::new(Outbox::connected(Version::V5, *limits));
        s.world.outboxes.insert(who.session, outbox);
        s.subscribe(*who, &["$share/g/t"], |f| f.options.qos = QoS::ExactlyOnce);
        s.sent(*who);
    }
    s
}

fn window(receive_maximum: u16) -> OutboundLimits {
    OutboundLimits {
        receive_maximum,
        ..LIMITS
    }
}

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

    /// The last bytes of the PUBLISH packets that went to somebody: of payloads of one byte, these.
    fn got(&mut self, who: Origin<'_>) -> String {
        let sent = self.sent(who);
        let publishes = sent.iter().filter(|(first, _)| first >> 4 == 3);
        let ends = publishes.map(|(_, body)| *body.last().unwrap());
        String::from_utf8(ends.collect()).unwrap()
    }

    fn leave(&mut self, who: Origin<'_>, filter: &str) {
        self.apply(&Entry::Unsubscribe(UnsubscribeEntry {
            at: 30,
            who,
            request_id: 7,
            filters: vec![(0, filter)],
        }));
    }

    /// The connection ends, and with it the session unless it `stays`.
    fn end(&mut self, who: Origin<'static>, stays: bool) {
        self.world.outboxes[&who.session].disconnect(None, stays, 40);
        let gone = DisconnectEntry {
            at: 40,
            who,
            reason: EndReason::Orderly,
        };
        self.apply(&if stays {
            Entry::Disconnected(gone)
        } else {
            Entry::Ended(gone)
        });
    }

    fn with<T>(&self, who: Origin<'_>, ask: impl FnOnce(&mut Outbound) -> T) -> T {
        self.world.outboxes[&who.session].queue(ask).unwrap()
    }

    fn acknowledge(&self, who: Origin<'_>, id: u16) {
        let id = PacketId::new(id).unwrap();
        assert_eq!(self.with(who, |out| out.acked(id, 50)), Ok(true));
    }

    /// Without a connection: what is kept, and what has been dropped.
    fn kept(&self, who: Origin<'_>) -> (u64, u64) {
        self.with(who, |out| (out.held().messages, out.dropped()))
    }
}

#[test]
fn who_cannot_take_a_packet_has_no_turn() {
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
            assert_eq!(s.got(who).len(), 1, "what is small goes to all");
            assert_eq!(s.with(who, |out| out.dropped()), 0);
        }
    }
}

/// The frame counts as that member would get it: its QoS, its identifier.
#[test]
fn the_size_is_that_of_the_members_own_packet() {
    // Fixed header 2, topic 3, packet id 2, properties 1, payload 50.
    for (most, identifier, fits) in [(58, 0, true), (57, 0, false), (60, 9, true), (59, 9, false)] {
        let mut s = group(&[(ALICE, largest(most)), (BOB, largest(10))]);
        s.apply(&Entry::Subscribe(SubscribeEntry {
            at: 10,
            who: ALICE,
            request_id: 2,
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
fn an_absent_member_keeps_what_is_too_large_for_those_who_are_there() {
    let mut s = group(&[(ALICE, largest(60)), (BOB, largest(60))]);
    s.end(BOB, true);
    s.send(QoS::AtLeastOnce, &[b'x'; 100]);
    assert_eq!((s.got(ALICE), s.kept(BOB)), (String::new(), (1, 0)));
    s.send(QoS::AtMostOnce, &[b'x'; 100]);
    assert_eq!(s.with(ALICE, |out| out.dropped()), 1, "nothing waits at 0");
    // One who takes it comes, and Bob's session ends.
    let outbox = Arc::new(Outbox::connected(Version::V5, LIMITS));
    s.world.outboxes.insert(CAROL.session, outbox);
    s.subscribe(CAROL, &["$share/g/t"], |_| ());
    s.sent(CAROL);
    s.end(BOB, false);
    assert_eq!(s.got(CAROL), "x");
}

#[test]
fn a_member_that_goes_to_sleep_keeps_what_no_other_takes() {
    let mut s = group(&[(ALICE, LIMITS), (BOB, largest(60))]);
    s.send(QoS::AtLeastOnce, &[b'x'; 100]);
    s.send_all(QoS::AtLeastOnce, b"012");
    let (alice, bob) = (s.got(ALICE), s.got(BOB));
    s.end(ALICE, true);
    assert_eq!(s.kept(ALICE), (1, 0), "the large one");
    let mut all = format!("{alice}{bob}{}", s.got(BOB)).into_bytes();
    all.sort_unstable();
    all.dedup();
    assert_eq!(all, b"012x");
    assert_eq!(s.with(BOB, |out| out.dropped()), 0);
    // In the end it is too large for all that are left, and is counted.
    s.end(ALICE, false);
    assert_eq!(s.world.outboxes[&ALICE.session].dropped(), 1);
}

#[test]
fn what_a_member_that_leaves_was_not_sent_goes_to_others_at_once() {
    for qos in [QoS::AtLeastOnce, QoS::ExactlyOnce] {
        let mut s = group(&[(ALICE, window(1))]);
        s.send_all(qos, b"0246");
        assert_eq!(s.got(ALICE), "0");
        let bob = Arc::new(Outbox::connected(Version::V5, LIMITS));
        s.world.outboxes.insert(BOB.session, bob);
        s.subscribe(BOB, &["$share/g/t"], |f| f.options.qos = QoS::ExactlyOnce);
        s.sent(BOB);
        s.leave(ALICE, "$share/g/t");
        assert_eq!(s.got(BOB), "246");
        assert_eq!(s.kept(ALICE).0, 1, "on its way, and stays so");
        if qos == QoS::AtLeastOnce {
            s.acknowledge(ALICE, 1);
            assert_eq!(s.got(ALICE), "");
        }
        s.end(ALICE, false);
        assert_eq!(s.got(BOB), "", "completed, or for nobody else");
    }
}

#[test]
fn what_was_on_its_way_to_a_member_that_left_goes_to_others_with_its_session() {
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
    assert!(s.lane.subscribers.is_empty(), "forgotten with its session");
}

#[test]
fn the_last_member_keeps_what_it_has_until_there_is_another() {
    let mut s = group(&[(ALICE, window(1))]);
    s.send_all(QoS::AtLeastOnce, b"012");
    s.leave(ALICE, "$share/g/t");
    assert_eq!(s.got(ALICE), "0");
    s.acknowledge(ALICE, 1);
    assert_eq!(s.got(ALICE), "1", "what was buffered may be delivered");
    let bob = Arc::new(Outbox::connected(Version::V5, LIMITS));
    s.world.outboxes.insert(BOB.session, bob);
    s.subscribe(BOB, &["$share/g/t"], |_| ());
    s.sent(BOB);
    s.end(ALICE, true);
    assert_eq!(s.got(BOB), "12");
    s.end(ALICE, false);
    assert_eq!(s.got(BOB), "");
}

#[test]
fn only_what_came_by_the_filter_that_was_left_goes_to_others() {
    let mut s = group(&[(ALICE, window(1)), (BOB, LIMITS)]);
    s.subscribe(ALICE, &["t", "$share/own/t"], |_| ());
    s.sent(ALICE);
    s.send_all(QoS::AtLeastOnce, b"012");
    let bob = s.got(BOB);
    let before = s.kept(ALICE).0;
    s.leave(ALICE, "$share/g/t");
    let passed_on = s.got(BOB);
    assert_eq!(before - s.kept(ALICE).0, passed_on.len() as u64);
    assert_eq!(
        s.kept(ALICE).0,
        6,
        "by its own filter and as a group's only member"
    );
    assert_eq!(bob.len() + passed_on.len(), 3);
}

/// What is held until a SUBACK of several lanes is complete has not been sent either.
#[test]
fn what_is_held_for_an_answer_goes_to_others_too() {
    let mut s = group(&[(ALICE, LIMITS)]);
    let codes = vec![ReasonCode::Success];
    s.with(ALICE, |out| {
        let kind = Answer::SubAck(9.try_into().unwrap(), Vec::new());
        out.owe(5, kind, codes.clone(), None, 2, 0);
        out.answer(5, 0, [(0, ReasonCode::Success, None)], 0);
    });
    s.send_all(QoS::AtLeastOnce, b"01");
    assert_eq!(s.got(ALICE), "");
    let bob = Arc::new(Outbox::connected(Version::V5, LIMITS));
    s.world.outboxes.insert(BOB.session, bob);
    s.subscribe(BOB, &["$share/g/t"], |_| ());
    s.sent(BOB);
    s.leave(ALICE, "$share/g/t");
    assert_eq!(s.got(BOB), "01");
    s.with(ALICE, |out| out.answer(5, 1, [], 0));
    assert_eq!(s.got(ALICE), "");
}

/// Its rights have gone: what waits in the queue is not to be dropped where others of the group may have it.
#[test]
fn a_filter_that_is_refused_when_its_client_comes_back_leaves_its_messages_to_the_group() {
    let mut s = group(&[(ALICE, LIMITS)]);
    s.end(ALICE, true);
    s.send_all(QoS::AtLeastOnce, b"01");
    let bob = Arc::new(Outbox::connected(Version::V5, LIMITS));
    s.world.outboxes.insert(BOB.session, bob);
    s.subscribe(BOB, &["$share/g/t"], |_| ());
    s.sent(BOB);
    s.apply(&Entry::Resume(SubscribeEntry {
        at: 50,
        who: ALICE,
        request_id: 9,
        identifier: 0,
        filters: Vec::new(),
    }));
    assert_eq!((s.got(BOB), s.kept(ALICE).0), ("01".to_owned(), 0));
    assert!(s.lane.subscribers.slot_of(ALICE.session.client).is_none());
}

/// Nobody is closed for anything.
fn all_open(s: &Scene, members: &[Origin<'_>]) -> bool {
    let mut outboxes = members.iter().map(|who| &s.world.outboxes[&who.session]);
    outboxes.all(|o| o.condition().closing.is_none())
}

/// Each of both has one on its way and nine that wait, which leaves Bob room for one.
fn both_nearly_full(qos: QoS) -> Scene {
    let mut s = group(&[(ALICE, window(1)), (BOB, window(1))]);
    s.send_all(qos, b"0123456789abcdefghij");
    assert_eq!((s.got(ALICE).len(), s.got(BOB).len()), (1, 1));
    s
}

#[test]
fn a_member_that_goes_to_sleep_keeps_what_others_have_no_room_for() {
    for qos in [QoS::AtLeastOnce, QoS::ExactlyOnce] {
        let mut s = both_nearly_full(qos);
        s.end(ALICE, true);
        assert_eq!(s.kept(ALICE), (9, 0));
        assert_eq!(s.kept(BOB), (11, 0), "one on its way, ten that wait");
        assert!(all_open(&s, &[BOB]));
    }
}

#[test]
fn a_member_that_leaves_is_sent_what_others_have_no_room_for() {
    let mut s = both_nearly_full(QoS::AtLeastOnce);
    s.leave(ALICE, "$share/g/t");
    assert_eq!((s.kept(ALICE), s.kept(BOB)), ((9, 0), (11, 0)));
    for id in 1..10 {
        s.acknowledge(ALICE, id);
    }
    assert_eq!(s.got(ALICE).len(), 8, "in all nine, and one by Bob");
    assert!(all_open(&s, &[ALICE, BOB]));
}

/// Otherwise the end of one member of a busy group could close all, one after the other.
#[test]
fn nobody_is_closed_for_what_a_member_left_at_its_end() {
    let mut s = both_nearly_full(QoS::AtLeastOnce);
    s.end(ALICE, false);
    assert_eq!(s.kept(BOB), (11, 0), "all its own, and one of hers");
    assert_eq!(s.world.outboxes[&ALICE.session].dropped(), 9);
    assert!(all_open(&s, &[BOB]));
}

/// What fits one goes to that one, whoever has the turn.
#[test]
fn a_member_that_leaves_is_sent_what_only_others_without_room_could_take() {
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
fn who_is_there_leaves_nothing_to_those_who_are_not() {
    let mut s = group(&[(ALICE, window(1)), (BOB, window(1))]);
    s.end(BOB, true);
    s.send_all(QoS::AtLeastOnce, b"012");
    s.leave(ALICE, "$share/g/t");
    assert_eq!((s.kept(ALICE).0, s.kept(BOB).0), (3, 0));
    s.end(ALICE, false);
    assert_eq!(s.kept(BOB), (3, 0), "at its end");
}

/// Who is there and has room for nothing.
const FULL: OutboundLimits = OutboundLimits {
    messages: 0,
    ..LIMITS
};

/// Her connection and her session are over before the lane hears of the first.
#[test]
fn what_a_session_that_is_over_has_left_is_for_the_absent_too() {
    for others in [&[(BOB, LIMITS)][..], &[(BOB, LIMITS), (CAROL, FULL)]] {
        let mut s = group(&[&[(ALICE, window(1))], others].concat());
        s.end(BOB, true);
        s.send_all(QoS::AtLeastOnce, b"01234");
        assert_eq!((s.kept(ALICE).0, s.kept(BOB).0), (5, 0));
        let outbox = s.world.outboxes[&ALICE.session].clone();
        outbox.disconnect(None, true, 40);
        outbox.disconnect(None, false, 40);
        let gone = || DisconnectEntry {
            at: 40,
            who: ALICE,
            reason: EndReason::Orderly,
        };
        s.apply(&Entry::Disconnected(gone()));
        assert_eq!((outbox.dropped(), s.kept(BOB).0), (0, 0), "not yet");
        s.apply(&Entry::Ended(gone()));
        assert_eq!((outbox.dropped(), s.kept(BOB).0), (0, 5));
    }
}

/// She has each message by the group and by a filter of her own.
#[test]
fn what_nobody_took_comes_where_it_was() {
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
            let outbox = &s.world.outboxes[&ALICE.session];
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
