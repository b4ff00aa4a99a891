#![allow(clippy::unwrap_used, clippy::expect_used)]
use super::*;
use crate::metrics::Counters;
use crate::packet::{
    PacketId, PublishParts, PublishProperties, QoS, TopicName, Version, Will, encode_publish,
};
use crate::policy::{Mark, Principal, SessionId};
use crate::session::{DropReason, Filters, Frame, OutboundLimits, Share};
use crate::sessions::registry::{Placing, Registration};
use crate::sessions::session_state::SessionState;
use std::collections::{BTreeSet, HashSet};

const LIMITS: OutboundLimits = OutboundLimits {
    bytes: 1 << 20,
    messages: 10_000,
    receive_maximum: 10,
    maximum_packet_size: None,
    problem_information: true,
    topic_aliases: 0,
    age: u64::MAX,
};

/// What a message with this payload counts.
fn cost(payload: usize) -> u64 {
    frame(payload).packet.len() as u64 + 128
}

fn frame(payload: usize) -> Frame {
    let payload = vec![b'x'; payload];
    let parts = PublishParts::new("t", &payload, QoS::AtLeastOnce);
    Frame {
        qos: QoS::AtLeastOnce,
        packet: encode_publish(Version::V5, &parts),
        expires: Frame::FOR_EVER,
        share: None,
    }
}

/// What a session of this user counts that holds nothing.
fn own(user: &str) -> u64 {
    (1_500 + user.len() + "id".len()) as u64
}

fn will(payload: usize) -> Will {
    Will {
        topic: TopicName::new("will".into()).unwrap(),
        payload: vec![b'x'; payload].into(),
        qos: QoS::AtLeastOnce,
        retain: false,
        delay: 0,
        properties: PublishProperties::default(),
    }
}

/// What it counts.
fn will_cost(payload: usize) -> u64 {
    (4 + payload + 2 * 64) as u64
}

/// A registry, and the number that its sessions' outboxes add to.
struct House {
    sessions: Sessions,
    counters: Arc<Counters>,
    now: u64,
}

impl House {
    fn new(most: u64) -> House {
        House {
            sessions: Sessions::new(1_000),
            counters: Arc::new(Counters::new(1, most)),
            now: 0,
        }
    }

    /// A session goes to sleep, later than all before it.
    fn sleeper(&mut self, name: &str) -> (SessionId, Arc<Outbox>) {
        let (id, outbox, ended) = self.falls_asleep(name, None, |_| ());
        assert!(ended.is_empty(), "{name} found no room");
        (id, outbox)
    }

    /// The same, with a will that is due in 50 ms.
    fn mourned(&mut self, name: &str, payload: usize) -> (SessionId, Arc<Outbox>) {
        let (id, outbox, ended) = self.falls_asleep(name, Some(payload), |_| ());
        assert!(ended.is_empty(), "{name} found no room");
        (id, outbox)
    }

    fn falls_asleep(
        &mut self,
        name: &str,
        payload: Option<usize>,
        change: impl FnOnce(&mut SessionState),
    ) -> (SessionId, Arc<Outbox>, Vec<Due>) {
        let who = Principal::new(name, !name.starts_with('~'));
        let outbox = Outbox::offline(Version::V5, LIMITS, self.counters.clone());
        let outbox = Arc::new(outbox);
        let Registration::New(id) = self.enter(name, &outbox, true) else {
            panic!("{name} is there already");
        };
        self.now += 1;
        let mut kept = SessionState {
            who,
            client_id: "id".into(),
            unreleased: HashSet::new(),
            filters: Filters::default(),
            lanes: BTreeSet::new(),
            request_id: 0,
        };
        change(&mut kept);
        let will = payload.map(|payload| (will(payload), self.now + 50));
        let asleep = OfflineSession::new(kept, self.now, u64::MAX, will, &self.counters);
        let asleep = Box::new(asleep);
        let ended = self.sessions.go_offline(id, asleep, &self.counters.kept, 0);
        (id, outbox, ended)
    }

    fn enter(&self, name: &str, outbox: &Arc<Outbox>, resumes: bool) -> Registration {
        let id = "id".into();
        match self
            .sessions
            .try_enter(&name.into(), &id, outbox, resumes, 0)
        {
            Placing::Done(entered) => entered,
            Placing::Wait(_) => panic!("{name} is there already"),
        }
    }

    fn kept(&self) -> u64 {
        self.counters.sum().kept
    }

    /// Who has to end, by users; they do.
    fn evict(&self) -> Vec<String> {
        let leaving = self.sessions.evict(&self.counters.kept);
        leaving
            .into_iter()
            .map(|m| self.end(m.let_go(&self.counters.kept, 0)))
            .collect()
    }

    /// It ends; whose it was.
    fn end(&self, due: Due) -> String {
        let Due::End(id, asleep) = due else {
            panic!("{due:?}");
        };
        self.sessions.leave(id);
        asleep.kept.who.user.to_string()
    }
}

fn put(outbox: &Outbox, payload: usize) {
    outbox.fill(|out| {
        out.deliver(0, &frame(payload), 0);
    });
}

#[test]
fn only_what_waits_for_absent_clients_counts() {
    let mut house = House::new(1_000_000);
    let (_, outbox) = house.sleeper("al");
    put(&outbox, 100);
    put(&outbox, 50);
    assert_eq!(house.kept(), own("al") + cost(100) + cost(50));
    outbox.connect(
        None,
        Version::V5,
        LIMITS,
        &crate::packet::Reply::PingResp,
        0,
    );
    assert_eq!(house.kept(), own("al"));
    drop(house.enter("al", &outbox, true));
    assert_eq!(house.kept(), 0);
    put(&outbox, 10);
    outbox.flush();
    assert_eq!(house.kept(), 0, "a connection serves it");
    drop(outbox.disconnect(None, true, 0));
    assert_eq!(house.kept(), cost(100) + cost(50) + cost(10));
    drop(outbox.disconnect(None, false, 0));
    assert_eq!(house.kept(), 0);
}

#[test]
fn the_longest_away_with_more_than_an_even_share_ends() {
    let mut house = House::new(50_000);
    let (_, small) = house.sleeper("small");
    let (_, empty) = house.sleeper("empty");
    let large: Vec<_> = ["1", "2", "3", "4"]
        .map(|name| house.sleeper(name).1)
        .into();
    put(&small, 1_000);
    for outbox in &large {
        put(outbox, 8_900);
    }
    assert_eq!(house.evict(), [""; 0], "not yet: {}", house.kept());
    put(&large[3], 1_000);
    assert_eq!(house.evict(), ["1"]);
    let left = own("small") + own("empty") + own("2") * 3;
    assert_eq!(house.kept(), left + cost(8_900) * 3 + cost(1_000) * 2);
    assert_eq!(house.evict(), [""; 0]);
    assert!(small.kept_bytes() > 0 && empty.kept_bytes() == 0);
    assert_eq!(house.sessions.clients().for_bytes, 1);
    assert_eq!(house.sessions.clients().expired, 1);
}

#[test]
fn strangers_end_before_users_do() {
    let mut house = House::new(44_500);
    let (_, user) = house.sleeper("user");
    let strangers: Vec<_> = ["~1", "~2", "~3"].map(|name| house.sleeper(name).1).into();
    put(&user, 30_000);
    for outbox in &strangers {
        put(outbox, 2_500);
    }
    // Each has less than an even share, and yet goes before the user who has most of it all.
    assert_eq!(house.evict(), ["~1", "~2"]);
    put(&user, 7_500);
    assert_eq!(house.evict(), ["~3"], "which is enough to go on with");
    put(&user, 4_000);
    assert_eq!(house.evict(), ["user"]);
    assert_eq!(house.kept(), 0);
}

#[test]
fn nothing_is_queued_past_the_limit_but_for_what_waits_already() {
    let mut house = House::new(10_000 + own("first") + own("second"));
    let (_, first) = house.sleeper("first");
    let (_, second) = house.sleeper("second");
    put(&first, 4_000);
    put(&second, 2_000);
    put(&second, 2_000);
    let full = house.kept();
    // Nobody has made room yet: the oldest of the same session goes, and a larger one finds none.
    put(&second, 2_000);
    assert_eq!(house.kept(), full);
    put(&second, 5_000);
    assert_eq!(house.kept(), full);
    assert_eq!(second.kept_bytes(), cost(2_000) * 2);
    put(&first, 3_000);
    assert_eq!(first.kept_bytes(), cost(3_000));
    let dropped = house.counters.sum().dropped;
    assert_eq!(dropped[DropReason::KeptFull as usize], 3);
    assert_eq!(dropped.iter().sum::<u64>(), 3);
}

#[test]
fn whoever_makes_room_is_called_when_it_grows_past_the_bound() {
    use std::future::Future;
    use std::task::{Context, Waker};
    let mut house = House::new(17_600);
    let (_, outbox) = house.sleeper("al");
    let counters = house.counters.clone();
    let called = || {
        let notified = std::pin::pin!(counters.kept.needs_eviction.notified());
        let mut cx = Context::from_waker(Waker::noop());
        notified.poll(&mut cx).is_ready()
    };
    put(&outbox, 14_000);
    assert!(!called());
    put(&outbox, 900);
    assert!(called());
    assert!(!called());
    outbox.disconnect(None, false, 0);
    assert!(!called(), "it has become less");
}

#[test]
fn a_will_counts_until_it_has_been_sent() {
    let mut house = House::new(1_000_000);
    let (id, _) = house.mourned("al", 5_000);
    assert_eq!(house.kept(), own("al") + will_cost(5_000));
    let (due, _) = house.sessions.due(51);
    assert!(matches!(&due[..], [Due::Will(of, ..)] if *of == id));
    assert_eq!(house.kept(), own("al") + will_cost(5_000), "not sent yet");
    drop(due);
    assert_eq!(house.kept(), own("al"));
}

/// [MQTT-3.1.3-9]
#[test]
fn a_will_that_is_cancelled_does_not_count() {
    for resumes in [true, false] {
        let mut house = House::new(1_000_000);
        let (old, outbox) = house.mourned("al", 5_000);
        match house.enter("al", &outbox, resumes) {
            Registration::Resumed(_, was, _, asleep) if resumes && was == old => drop(asleep),
            Registration::Replaced(_, was, _, asleep) if !resumes && was == old => {
                let counts = own("al") + will_cost(5_000);
                assert_eq!(house.kept(), counts, "its end sends it");
                drop(asleep);
            }
            other => panic!("{other:?}"),
        }
        assert_eq!(house.kept(), 0);
    }
}

#[test]
fn sessions_end_for_large_wills_too_and_no_more_than_need_to() {
    let mut house = House::new(50_000);
    house.sleeper("small");
    for name in ["1", "2", "3"] {
        house.mourned(name, 12_000);
    }
    assert_eq!(house.evict(), [""; 0], "not yet: {}", house.kept());
    let (_, last) = house.sleeper("last");
    put(&last, 3_800);
    let before = house.kept();
    let leaving = house.sessions.evict(&house.counters.kept);
    let [made] = &leaving[..] else {
        panic!("{leaving:?}");
    };
    assert_eq!(made.bytes, own("1") + will_cost(12_000));
    let Due::End(_, asleep) = &made.due else {
        panic!("{leaving:?}");
    };
    assert_eq!(&*asleep.kept.who.user, "1");
    assert!(asleep.will.is_some(), "its end sends it");
    // Its memory is not free before that, but nobody else has to go.
    assert_eq!(house.kept(), before);
    assert_eq!(house.evict(), [""; 0]);
    let bytes = made.bytes;
    drop(leaving);
    assert_eq!(house.kept(), before - bytes);
}

#[test]
fn who_would_pass_the_limit_by_falling_asleep_ends() {
    let mut house = House::new(20_000);
    house.mourned("first", 10_000);
    let (id, _, ended) = house.falls_asleep("large", Some(10_000), |_| ());
    let [Due::End(of, asleep)] = &ended[..] else {
        panic!("{ended:?}");
    };
    assert!(*of == id && asleep.will.is_some());
    // What is on its way out takes room as well.
    let (_, _, next) = house.falls_asleep("next", Some(5_000), |_| ());
    assert_eq!(house.evict(), [""; 0]);
    let names = ended.into_iter().chain(next).map(|due| house.end(due));
    assert_eq!(names.collect::<Vec<_>>(), ["large", "next"]);
    house.mourned("later", 5_000);
    assert_eq!(house.sessions.clients().for_bytes, 2);
    assert_eq!(house.sessions.clients().asleep, 2);
}

/// As where the network goes: what they were sent and have not acknowledged comes in addition, at one blow.
#[test]
fn who_falls_asleep_does_not_end_for_large_queues_that_came_before() {
    let mut house = House::new(50_000);
    let nothing = crate::packet::Reply::PingResp;
    for name in ["hoarder", "other"] {
        let (_, outbox) = house.sleeper(name);
        outbox.connect(None, Version::V5, LIMITS, &nothing, 0);
        (0..3).for_each(|_| put(&outbox, 10_000));
        drop(outbox.disconnect(None, true, 0));
    }
    assert!(house.kept() > 60_000, "{}", house.kept());
    let (_, outbox, ended) = house.falls_asleep("small", Some(10), |_| ());
    let names: Vec<_> = ended.into_iter().map(|due| house.end(due)).collect();
    assert_eq!(names, ["hoarder"]);
    put(&outbox, 10);
    let small = own("small") + will_cost(10) + cost(10);
    assert_eq!(house.kept(), own("other") + cost(10_000) * 3 + small);
}

#[test]
fn filters_lanes_and_ids_count() {
    let mut house = House::new(1_000_000);
    let ids = |n| (1..=n).filter_map(PacketId::new);
    let (_, outbox, _) = house.falls_asleep("al", None, |kept| {
        // Some of its lanes know it for something that has been.
        kept.lanes.extend([1, 5, 7]);
        kept.filters.insert("a/b/c".into());
        kept.filters.insert("+/b".into());
        kept.unreleased.extend(ids(10_000));
        kept.unreleased.retain(|id| id.get() <= 4);
    });
    let filters = (5 + 350 + 5) + (3 + 3 * (350 + 3));
    assert_eq!(house.kept(), own("al") + 3 * 300 + filters + 4 * 6);
    let Registration::Resumed(.., asleep) = house.enter("al", &outbox, true) else {
        panic!("nobody slept");
    };
    assert!(asleep.kept.unreleased.capacity() < 10);
}

#[test]
fn what_others_are_to_have_of_a_session_that_is_over_counts_until_they_have_it() {
    let mut house = House::new(1_000_000);
    let (_, outbox) = house.sleeper("al");
    let shared = Frame {
        share: Some(Arc::new(Share {
            lane: 3,
            group: "$share/g/t".into(),
            batch: vec![1].into(),
            mark: Mark::default(),
        })),
        ..frame(100)
    };
    for message in [frame(50), shared.clone(), shared] {
        outbox.fill(|out| assert!(out.deliver(3, &message, 0)));
    }
    assert_eq!(house.kept(), own("al") + cost(50) + 2 * cost(100));
    drop(outbox.disconnect(None, false, 0));
    assert_eq!(house.kept(), own("al") + 2 * cost(100));
    assert_eq!(house.counters.kept.held(), own("al"), "nobody ends for it");
    assert_eq!(outbox.kept_bytes(), 0, "its end makes no more room");
    assert_eq!(outbox.take_shared(2, &|_| true).len(), 0);
    assert_eq!(house.kept(), own("al") + 2 * cost(100), "of another lane");
    assert_eq!(outbox.take_shared(3, &|_| true).len(), 2);
    assert_eq!(house.kept(), own("al"));
}

/// By what it holds itself: those who are there already hold less than an even share each.
#[test]
fn who_falls_asleep_with_more_than_an_even_share_is_its_own_end_and_nobody_elses() {
    let mut house = House::new(200_000);
    for n in 0..5 {
        house.sleeper(&format!("~quiet{n}"));
    }
    for n in 0..10 {
        house.mourned(&format!("~will{n}"), 14_000);
    }
    let before = house.kept();
    assert_eq!(house.evict(), [""; 0], "not yet: {before}");
    let (id, _, ended) = house.falls_asleep("~hog", None, |kept| {
        for n in 0..200 {
            kept.filters.insert(format!("+/{n}").into());
        }
        kept.lanes.extend(0..4);
    });
    let ids: Vec<_> = ended
        .iter()
        .map(|due| matches!(due, Due::End(ended, _) if *ended == id))
        .collect();
    assert_eq!(ids, [true]);
    drop(ended);
    assert_eq!(house.kept(), before);
}

/// Two threads at once: the first has chosen who ends, and not let their queues go yet.
#[test]
fn room_that_is_being_made_is_not_made_again_and_who_comes_has_it() {
    let mut house = House::new(100_000);
    for name in ["1", "2", "3", "4"] {
        let (_, outbox) = house.sleeper(name);
        put(&outbox, 15_000);
    }
    let (_, last) = house.sleeper("last");
    while house.counters.kept.has_capacity(cost(1_000)) {
        put(&last, 1_000);
    }
    let leaving = house.sessions.evict(&house.counters.kept);
    assert!(!leaving.is_empty() && house.counters.kept.held() > house.counters.kept.high_mark());
    assert_eq!(house.evict(), [""; 0]);
    let (_, _, ended) = house.falls_asleep("small", None, |_| ());
    assert!(ended.is_empty(), "{ended:?}");
    for made in leaving {
        house.end(made.let_go(&house.counters.kept, 0));
    }
    assert_eq!(
        house.counters.kept.after_evictions(),
        house.counters.kept.held()
    );
}
