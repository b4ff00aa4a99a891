#![allow(clippy::unwrap_used, clippy::expect_used)]
use super::*;
use crate::packet::{PublishParts, QoS, Version, encode_publish};
use crate::policy::{Principal, SessionId};
use crate::session::{DropReason, Filters, Frame, OutboundLimits};
use crate::sessions::{Asleep, Entered, Kept};
use crate::sys::Counters;
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
        let who = Principal::new(name, !name.starts_with('~'));
        let outbox = Outbox::asleep(Version::V5, LIMITS, self.counters.clone());
        let outbox = Arc::new(outbox);
        let claim = self
            .sessions
            .claim(&who.user, &"id".into(), &outbox, true, 0);
        let super::super::Claim::Entered(Entered::New(id)) = claim else {
            panic!("{name} is there already");
        };
        self.now += 1;
        let kept = Kept {
            who,
            client_id: "id".into(),
            unreleased: HashSet::new(),
            filters: Filters::default(),
            lanes: BTreeSet::new(),
            ticket: 0,
        };
        let asleep = Asleep {
            kept,
            since: self.now,
            expires: u64::MAX,
            will: None,
        };
        assert!(self.sessions.sleep(id, Box::new(asleep)).is_none());
        (id, outbox)
    }

    fn kept(&self) -> u64 {
        self.counters.sum().kept
    }

    /// Who has to end, by users; they do.
    fn make_room(&self) -> Vec<String> {
        let leaving = self.sessions.make_room(&self.counters.kept);
        let end = |made: MadeRoom| {
            made.outbox.part(None, false, 0);
            let Due::End(id, asleep) = made.due else {
                panic!("{:?}", made.due);
            };
            self.sessions.leave(id);
            asleep.kept.who.user.to_string()
        };
        leaving.into_iter().map(end).collect()
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
    assert_eq!(house.kept(), cost(100) + cost(50));
    outbox.open(
        None,
        Version::V5,
        LIMITS,
        &crate::packet::Reply::PingResp,
        0,
    );
    assert_eq!(house.kept(), 0);
    put(&outbox, 10);
    outbox.flush();
    assert_eq!(house.kept(), 0, "a connection serves it");
    drop(outbox.part(None, true, 0));
    assert_eq!(house.kept(), cost(100) + cost(50) + cost(10));
    drop(outbox.part(None, false, 0));
    assert_eq!(house.kept(), 0);
}

#[test]
fn the_longest_away_with_more_than_an_even_share_ends() {
    let mut house = House::new(40_000);
    let (_, small) = house.sleeper("small");
    let (_, empty) = house.sleeper("empty");
    let large: Vec<_> = ["1", "2", "3", "4"]
        .map(|name| house.sleeper(name).1)
        .into();
    put(&small, 1_000);
    for outbox in &large {
        put(outbox, 8_900);
    }
    assert_eq!(house.make_room(), [""; 0], "not yet: {}", house.kept());
    put(&large[3], 1_000);
    assert_eq!(house.make_room(), ["1"]);
    assert_eq!(house.kept(), cost(8_900) * 3 + cost(1_000) * 2);
    assert_eq!(house.make_room(), [""; 0]);
    assert!(small.kept() > 0 && empty.kept() == 0);
    assert_eq!(house.sessions.clients().for_bytes, 1);
    assert_eq!(house.sessions.clients().expired, 1);
}

#[test]
fn strangers_end_before_users_do() {
    let mut house = House::new(40_000);
    let (_, user) = house.sleeper("user");
    let strangers: Vec<_> = ["~1", "~2", "~3"].map(|name| house.sleeper(name).1).into();
    put(&user, 30_000);
    for outbox in &strangers {
        put(outbox, 2_500);
    }
    // Each has less than an even share, and yet goes before the user who has most of it all.
    assert_eq!(house.make_room(), ["~1", "~2"]);
    put(&user, 5_000);
    assert_eq!(house.make_room(), ["~3"], "which is enough to go on with");
    put(&user, 4_000);
    assert_eq!(house.make_room(), ["user"]);
    assert_eq!(house.kept(), 0);
}

#[test]
fn nothing_is_queued_past_the_limit_but_for_what_waits_already() {
    let mut house = House::new(10_000);
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
    assert_eq!(second.kept(), cost(2_000) * 2);
    put(&first, 3_000);
    assert_eq!(first.kept(), cost(3_000));
    let dropped = house.counters.sum().dropped;
    assert_eq!(dropped[DropReason::KeptFull as usize], 3);
    assert_eq!(dropped.iter().sum::<u64>(), 3);
}

#[test]
fn whoever_makes_room_is_called_when_it_grows_past_the_bound() {
    use std::future::Future;
    use std::task::{Context, Waker};
    let mut house = House::new(16_000);
    let (_, outbox) = house.sleeper("al");
    let counters = house.counters.clone();
    let called = || {
        let notified = std::pin::pin!(counters.kept.crowded.notified());
        let mut cx = Context::from_waker(Waker::noop());
        notified.poll(&mut cx).is_ready()
    };
    put(&outbox, 14_000);
    assert!(!called());
    put(&outbox, 900);
    assert!(called());
    assert!(!called());
    outbox.part(None, false, 0);
    assert!(!called(), "it has become less");
}
