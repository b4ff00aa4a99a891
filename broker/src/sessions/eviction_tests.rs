#![allow(clippy::unwrap_used, clippy::expect_used)]
use super::*;
use crate::metrics::Counters;
use crate::packet::{
    PacketId, PublishParts, PublishProperties, QoS, TopicName, Version, Will, encode_publish,
};
use crate::policy::{Mark, Principal, SessionId};
use crate::session::{DropReason, Frame, OutboundLimits, Share};
use crate::sessions::offline::OfflinePeriod;
use crate::sessions::registry::Registration;
use crate::sessions::session_state::SessionState;

const LIMITS: OutboundLimits = OutboundLimits {
    bytes: 1 << 20,
    messages: 10_000,
    receive_maximum: 10,
    maximum_packet_size: None,
    problem_information: true,
    topic_aliases: 0,
    age: u64::MAX,
};

/// Bytes that a message with this payload counts for.
fn cost(payload: usize) -> u64 {
    frame(payload).packet.len() as u64 + 128
}

fn frame(payload: usize) -> Frame {
    let payload = vec![b'x'; payload];
    let parts = PublishParts::new("t", &payload, QoS::AtLeastOnce);
    Frame {
        qos: QoS::AtLeastOnce,
        packet: encode_publish(Version::V5, &parts),
        expires: crate::session::NEVER,
        share: None,
    }
}

/// Bytes that an empty session of this user counts for.
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

/// Bytes that a will with this payload counts for.
fn will_cost(payload: usize) -> u64 {
    (4 + payload + 2 * 64) as u64
}

/// A registry and its counters.
struct Fixture {
    sessions: Sessions,
    counters: Arc<Counters>,
    now: u64,
}

impl Fixture {
    fn new(limit: u64) -> Fixture {
        Fixture {
            sessions: Sessions::new(1, 1_000),
            counters: Arc::new(Counters::new(1, limit)),
            now: 0,
        }
    }

    /// A session goes offline, later than all before it.
    fn offline(&mut self, name: &str) -> (SessionId, Arc<Outbox>) {
        let (id, outbox, ended) = self.go_offline(name, None, |_| ());
        assert!(ended.is_empty(), "{name} was evicted");
        (id, outbox)
    }

    /// The same, with a will that is due in 50 ms.
    fn offline_with_will(&mut self, name: &str, payload: usize) -> (SessionId, Arc<Outbox>) {
        let (id, outbox, ended) = self.go_offline(name, Some(payload), |_| ());
        assert!(ended.is_empty(), "{name} was evicted");
        (id, outbox)
    }

    fn go_offline(
        &mut self,
        name: &str,
        payload: Option<usize>,
        change: impl FnOnce(&mut SessionState),
    ) -> (SessionId, Arc<Outbox>, Vec<Due>) {
        let who = Principal::new(name, !name.starts_with('~'));
        let outbox = Outbox::offline(Version::V5, LIMITS, self.counters.clone());
        let outbox = Arc::new(outbox);
        let Registration::New(id) = self.register(name, &outbox, true) else {
            panic!("{name} is there already");
        };
        self.now += 1;
        let client_id = "id".into();
        let mut state = SessionState::new(Principal { client_id, ..who });
        change(&mut state);
        let period = OfflinePeriod {
            since: self.now,
            expires: u64::MAX,
            will: payload.map(|payload| (will(payload), self.now + 50)),
        };
        let offline = OfflineSession::new(state, period, &self.counters);
        let offline = Box::new(offline);
        let ended = self
            .sessions
            .go_offline(id, offline, &self.counters.kept, 0);
        (id, outbox, ended)
    }

    fn register(&self, name: &str, outbox: &Arc<Outbox>, resumes: bool) -> Registration {
        let id = "id".into();
        self.sessions
            .try_register(&name.into(), &id, outbox, resumes, 0)
            .unwrap_or_else(|_| panic!("{name} is there already"))
    }

    fn kept(&self) -> u64 {
        self.counters.sum().kept
    }

    /// Evicts sessions. Returns their users.
    fn evict(&self) -> Vec<String> {
        let evicted = self.sessions.evict(&self.counters.kept);
        evicted
            .into_iter()
            .map(|e| self.end(e.release_queue(&self.counters.kept, 0)))
            .collect()
    }

    /// Removes a session that has ended. Returns its user.
    fn end(&self, due: Due) -> String {
        let Due::End(id, offline) = due else {
            panic!("{due:?}");
        };
        self.sessions.remove(id);
        offline.state.who.user.to_string()
    }
}

fn put(outbox: &Outbox, payload: usize) {
    outbox.fill(|out| {
        out.deliver(0, &frame(payload), 0);
    });
}

#[test]
fn only_messages_for_offline_clients_count() {
    let mut fixture = Fixture::new(1_000_000);
    let (_, outbox) = fixture.offline("al");
    put(&outbox, 100);
    put(&outbox, 50);
    assert_eq!(fixture.kept(), own("al") + cost(100) + cost(50));
    outbox.connect(
        None,
        Version::V5,
        LIMITS,
        &crate::packet::Reply::PingResp,
        0,
    );
    assert_eq!(fixture.kept(), own("al"));
    drop(fixture.register("al", &outbox, true));
    assert_eq!(fixture.kept(), 0);
    put(&outbox, 10);
    outbox.flush();
    assert_eq!(fixture.kept(), 0, "a connection serves it");
    drop(outbox.disconnect(None, true, 0));
    assert_eq!(fixture.kept(), cost(100) + cost(50) + cost(10));
    drop(outbox.disconnect(None, false, 0));
    assert_eq!(fixture.kept(), 0);
}

#[test]
fn the_session_offline_longest_with_more_than_an_even_share_is_evicted() {
    let mut fixture = Fixture::new(50_000);
    let (_, small) = fixture.offline("small");
    let (_, empty) = fixture.offline("empty");
    let large: Vec<_> = ["1", "2", "3", "4"]
        .map(|name| fixture.offline(name).1)
        .into();
    put(&small, 1_000);
    for outbox in &large {
        put(outbox, 8_900);
    }
    assert_eq!(fixture.evict(), [""; 0], "not yet: {}", fixture.kept());
    put(&large[3], 1_000);
    assert_eq!(fixture.evict(), ["1"]);
    let left = own("small") + own("empty") + own("2") * 3;
    assert_eq!(fixture.kept(), left + cost(8_900) * 3 + cost(1_000) * 2);
    assert_eq!(fixture.evict(), [""; 0]);
    assert!(small.kept_bytes() > 0 && empty.kept_bytes() == 0);
    assert_eq!(fixture.sessions.counts().evicted_for_bytes, 1);
    assert_eq!(fixture.sessions.counts().expired, 1);
}

#[test]
fn sessions_without_credentials_are_evicted_before_users() {
    let mut fixture = Fixture::new(44_500);
    let (_, user) = fixture.offline("user");
    let anonymous: Vec<_> = ["~1", "~2", "~3"]
        .map(|name| fixture.offline(name).1)
        .into();
    put(&user, 30_000);
    for outbox in &anonymous {
        put(outbox, 2_500);
    }
    // Each holds less than an even share, and is evicted before the user that holds the most.
    assert_eq!(fixture.evict(), ["~1", "~2"]);
    put(&user, 7_500);
    assert_eq!(fixture.evict(), ["~3"], "usage is below the high mark then");
    put(&user, 4_000);
    assert_eq!(fixture.evict(), ["user"]);
    assert_eq!(fixture.kept(), 0);
}

#[test]
fn at_the_limit_a_message_replaces_older_ones_of_its_own_queue() {
    let mut fixture = Fixture::new(10_000 + own("first") + own("second"));
    let (_, first) = fixture.offline("first");
    let (_, second) = fixture.offline("second");
    put(&first, 4_000);
    put(&second, 2_000);
    put(&second, 2_000);
    let full = fixture.kept();
    // Nothing is evicted yet. A message of the same size replaces the oldest; a larger one is
    // dropped.
    put(&second, 2_000);
    assert_eq!(fixture.kept(), full);
    put(&second, 5_000);
    assert_eq!(fixture.kept(), full);
    assert_eq!(second.kept_bytes(), cost(2_000) * 2);
    put(&first, 3_000);
    assert_eq!(first.kept_bytes(), cost(3_000));
    let dropped = fixture.counters.sum().dropped;
    assert_eq!(dropped[DropReason::KeptFull as usize], 3);
    assert_eq!(dropped.iter().sum::<u64>(), 3);
}

#[test]
fn growth_above_the_high_mark_requests_an_eviction() {
    use std::future::Future;
    use std::task::{Context, Waker};
    let mut fixture = Fixture::new(17_600);
    let (_, outbox) = fixture.offline("al");
    let counters = fixture.counters.clone();
    let requested = || {
        let notified = std::pin::pin!(counters.kept.needs_eviction.notified());
        let mut cx = Context::from_waker(Waker::noop());
        notified.poll(&mut cx).is_ready()
    };
    put(&outbox, 14_000);
    assert!(!requested());
    put(&outbox, 900);
    assert!(requested());
    assert!(!requested());
    outbox.disconnect(None, false, 0);
    assert!(!requested(), "usage has fallen");
}

#[test]
fn a_will_counts_until_it_has_been_sent() {
    let mut fixture = Fixture::new(1_000_000);
    let (id, _) = fixture.offline_with_will("al", 5_000);
    assert_eq!(fixture.kept(), own("al") + will_cost(5_000));
    let (due, _) = fixture.sessions.due(51);
    assert!(matches!(&due[..], [Due::Will(of, ..)] if *of == id));
    assert_eq!(fixture.kept(), own("al") + will_cost(5_000), "not sent yet");
    drop(due);
    assert_eq!(fixture.kept(), own("al"));
}

/// [MQTT-3.1.3-9]
#[test]
fn a_will_that_is_deleted_does_not_count() {
    for resumes in [true, false] {
        let mut fixture = Fixture::new(1_000_000);
        let (old, outbox) = fixture.offline_with_will("al", 5_000);
        match fixture.register("al", &outbox, resumes) {
            Registration::Resumed(was) if resumes && was.id == old => drop(was),
            Registration::Replaced(_, was) if !resumes && was.id == old => {
                let counts = own("al") + will_cost(5_000);
                assert_eq!(fixture.kept(), counts, "its end sends it");
                drop(was);
            }
            other => panic!("{other:?}"),
        }
        assert_eq!(fixture.kept(), 0);
    }
}

#[test]
fn large_wills_are_evicted_too_and_no_more_than_needed() {
    let mut fixture = Fixture::new(50_000);
    fixture.offline("small");
    for name in ["1", "2", "3"] {
        fixture.offline_with_will(name, 12_000);
    }
    assert_eq!(fixture.evict(), [""; 0], "not yet: {}", fixture.kept());
    let (_, last) = fixture.offline("last");
    put(&last, 3_800);
    let before = fixture.kept();
    let evicted = fixture.sessions.evict(&fixture.counters.kept);
    let [only] = &evicted[..] else {
        panic!("{evicted:?}");
    };
    assert_eq!(only.bytes, own("1") + will_cost(12_000));
    let Due::End(_, offline) = &only.due else {
        panic!("{evicted:?}");
    };
    assert_eq!(&*offline.state.who.user, "1");
    assert!(offline.will.is_some(), "its end sends it");
    // Its memory is not free before that, but no other session is evicted for it.
    assert_eq!(fixture.kept(), before);
    assert_eq!(fixture.evict(), [""; 0]);
    let bytes = only.bytes;
    drop(evicted);
    assert_eq!(fixture.kept(), before - bytes);
}

#[test]
fn a_session_that_exceeds_the_limit_by_going_offline_ends() {
    let mut fixture = Fixture::new(20_000);
    fixture.offline_with_will("first", 10_000);
    let (id, _, ended) = fixture.go_offline("large", Some(10_000), |_| ());
    let [Due::End(of, offline)] = &ended[..] else {
        panic!("{ended:?}");
    };
    assert!(*of == id && offline.will.is_some());
    // A session that is ending takes capacity until it has ended.
    let (_, _, next) = fixture.go_offline("next", Some(5_000), |_| ());
    assert_eq!(fixture.evict(), [""; 0]);
    let names = ended.into_iter().chain(next).map(|due| fixture.end(due));
    assert_eq!(names.collect::<Vec<_>>(), ["large", "next"]);
    fixture.offline_with_will("later", 5_000);
    assert_eq!(fixture.sessions.counts().evicted_for_bytes, 2);
    assert_eq!(fixture.sessions.counts().offline, 2);
}

/// As after a network failure: the unacknowledged messages of all clients count from one moment to
/// the next.
#[test]
fn a_small_session_that_goes_offline_does_not_end_for_larger_queues() {
    let mut fixture = Fixture::new(50_000);
    let nothing = crate::packet::Reply::PingResp;
    for name in ["hoarder", "other"] {
        let (_, outbox) = fixture.offline(name);
        outbox.connect(None, Version::V5, LIMITS, &nothing, 0);
        (0..3).for_each(|_| put(&outbox, 10_000));
        drop(outbox.disconnect(None, true, 0));
    }
    assert!(fixture.kept() > 60_000, "{}", fixture.kept());
    let (_, outbox, ended) = fixture.go_offline("small", Some(10), |_| ());
    let names: Vec<_> = ended.into_iter().map(|due| fixture.end(due)).collect();
    assert_eq!(names, ["hoarder"]);
    put(&outbox, 10);
    let small = own("small") + will_cost(10) + cost(10);
    assert_eq!(fixture.kept(), own("other") + cost(10_000) * 3 + small);
}

#[test]
fn filters_and_ids_count_and_what_lanes_have_does_not() {
    let mut fixture = Fixture::new(1_000_000);
    let ids = |n| (1..=n).filter_map(PacketId::new);
    let (_, outbox, _) = fixture.go_offline("al", None, |state| {
        // Lanes count what they have of a session themselves.
        state.lanes.extend([1, 5, 7]);
        state.filters.insert("a/b/c".into());
        state.filters.insert("+/b".into());
        state.unreleased.extend(ids(10_000));
        state.unreleased.retain(|id| id.get() <= 4);
    });
    let filters = 5 + 3;
    assert_eq!(fixture.kept(), own("al") + filters + 4 * 6);
    let Registration::Resumed(old) = fixture.register("al", &outbox, true) else {
        panic!("no session is offline");
    };
    assert!(old.session.state.unreleased.capacity() < 10);
}

#[test]
fn messages_for_other_group_members_count_until_they_are_taken() {
    let mut fixture = Fixture::new(1_000_000);
    let (_, outbox) = fixture.offline("al");
    let shared = Frame {
        share: Some(Arc::new(Share {
            lane: 3,
            group: "$share/g/t".into(),
            entry: vec![1].into(),
            mark: Mark::default(),
            wall: 0,
        })),
        ..frame(100)
    };
    for message in [frame(50), shared.clone(), shared] {
        outbox.fill(|out| assert!(out.deliver(3, &message, 0)));
    }
    assert_eq!(fixture.kept(), own("al") + cost(50) + 2 * cost(100));
    drop(outbox.disconnect(None, false, 0));
    assert_eq!(fixture.kept(), own("al") + 2 * cost(100));
    assert_eq!(
        fixture.counters.kept.held(),
        own("al"),
        "nothing is evicted for it"
    );
    assert_eq!(outbox.kept_bytes(), 0, "its end frees nothing more");
    assert_eq!(outbox.take_shared(2, &|_| true).len(), 0);
    assert_eq!(fixture.kept(), own("al") + 2 * cost(100), "of another lane");
    assert_eq!(outbox.take_shared(3, &|_| true).len(), 2);
    assert_eq!(fixture.kept(), own("al"));
}

/// The other sessions hold less than an even share each.
#[test]
fn a_session_with_more_than_an_even_share_ends_itself_by_going_offline() {
    let mut fixture = Fixture::new(200_000);
    for n in 0..5 {
        fixture.offline(&format!("~quiet{n}"));
    }
    for n in 0..10 {
        fixture.offline_with_will(&format!("~will{n}"), 14_000);
    }
    let before = fixture.kept();
    assert_eq!(fixture.evict(), [""; 0], "not yet: {before}");
    let (id, _, ended) = fixture.go_offline("~hog", None, |state| {
        for n in 0..200 {
            state.filters.insert(format!("+/{n:01000}").into());
        }
    });
    let ids: Vec<_> = ended
        .iter()
        .map(|due| matches!(due, Due::End(ended, _) if *ended == id))
        .collect();
    assert_eq!(ids, [true]);
    drop(ended);
    assert_eq!(fixture.kept(), before);
}

/// Two threads at once: the first has chosen sessions, and has not freed their queues yet.
#[test]
fn bytes_that_are_being_evicted_are_not_evicted_twice_and_count_as_free() {
    let mut fixture = Fixture::new(100_000);
    for name in ["1", "2", "3", "4"] {
        let (_, outbox) = fixture.offline(name);
        put(&outbox, 15_000);
    }
    let (_, last) = fixture.offline("last");
    while fixture.counters.kept.has_capacity(cost(1_000)) {
        put(&last, 1_000);
    }
    let evicted = fixture.sessions.evict(&fixture.counters.kept);
    assert!(
        !evicted.is_empty() && fixture.counters.kept.held() > fixture.counters.kept.high_mark()
    );
    assert_eq!(fixture.evict(), [""; 0]);
    let (_, _, ended) = fixture.go_offline("small", None, |_| ());
    assert!(ended.is_empty(), "{ended:?}");
    for each in evicted {
        fixture.end(each.release_queue(&fixture.counters.kept, 0));
    }
    assert_eq!(
        fixture.counters.kept.after_evictions(),
        fixture.counters.kept.held()
    );
}
