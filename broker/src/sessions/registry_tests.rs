#![allow(clippy::unwrap_used)]
use super::*;
use crate::packet::{PublishProperties, QoS, TopicName, Version, Will};
use crate::policy::Principal;
use crate::session::OutboundLimits;
use crate::sessions::offline::OfflinePeriod;
use crate::sessions::session_state::SessionState;
use proptest::prelude::*;
use std::collections::HashSet;

const LIMITS: OutboundLimits = OutboundLimits {
    bytes: 100,
    messages: 1,
    receive_maximum: 1,
    maximum_packet_size: None,
    problem_information: true,
    topic_aliases: 0,
    age: u64::MAX,
};

impl Sessions {
    /// Adds a session with an id of the caller's choice, for tests of lanes.
    pub(crate) fn put(&self, id: SessionId, outbox: &Arc<Outbox>) {
        let record = Record {
            client: ("u".into(), ByteString::new()),
            outbox: outbox.clone(),
            offline: None,
            ended: false,
            evicted: false,
            will_pending: None,
        };
        self.state.lock().by_number.insert(id.n, record);
    }
}

fn outbox() -> Arc<Outbox> {
    Arc::new(Outbox::connected(Version::V5, LIMITS))
}

fn offline(since: u64, expires: u64, will: Option<u64>) -> Box<OfflineSession> {
    offline_of("alice", since, expires, will)
}

fn offline_of(user: &str, since: u64, expires: u64, will: Option<u64>) -> Box<OfflineSession> {
    let will = will.map(|due| {
        let will = Will {
            topic: TopicName::new("w".into()).unwrap(),
            payload: bytes::Bytes::new(),
            qos: QoS::AtMostOnce,
            retain: false,
            delay: 0,
            properties: PublishProperties::default(),
        };
        (will, due)
    });
    let state = SessionState::new(Principal {
        client_id: "tv".into(),
        ..Principal::new(user, !user.starts_with('~'))
    });
    let period = OfflinePeriod {
        since,
        expires,
        will,
    };
    Box::new(OfflineSession::new(state, period, &Arc::default()))
}

fn register(
    sessions: &Sessions,
    user: &str,
    outbox: &Arc<Outbox>,
    resumes: bool,
) -> Option<Registration> {
    register_at(sessions, user, outbox, resumes, 0)
}

fn register_at(
    sessions: &Sessions,
    user: &str,
    outbox: &Arc<Outbox>,
    resumes: bool,
    now: u64,
) -> Option<Registration> {
    sessions
        .try_register(&user.into(), &"tv".into(), outbox, resumes, now)
        .ok()
}

fn new(sessions: &Sessions, user: &str) -> SessionId {
    match register(sessions, user, &outbox(), true) {
        Some(Registration::New(id)) => id,
        other => panic!("{other:?}"),
    }
}

fn closing(outbox: &Outbox) -> Option<ReasonCode> {
    outbox.condition().closing.map(|c| c.reason)
}

/// Issue 11, H2.
#[test]
fn many_sessions_of_one_user_end_no_session_of_another() {
    let sessions = Sessions::new(1, 6);
    let add = |user: &str, client: u32, since| {
        let id = new(&sessions, &format!("{user}-{client}"));
        let ended = sessions.add_offline(id, offline_of(user, since, u64::MAX, None));
        ended.map(|due| match due {
            Due::End(_, session) => (session.state.who.user.to_string(), session.since),
            Due::Will(..) => panic!("no will"),
        })
    };
    assert_eq!(add("bob", 1, 1), None);
    assert_eq!(add("~x", 1, 2), None);
    for n in 3..7 {
        assert_eq!(add("eve", n, n.into()), None);
    }
    let evicted: Vec<_> = (7..11).filter_map(|n| add("eve", n, n.into())).collect();
    let of = |user: &str, since| (user.to_owned(), since);
    let expected = [of("~x", 2), of("eve", 3), of("eve", 4), of("eve", 5)];
    assert_eq!(evicted, expected);
    assert_eq!(add("carol", 1, 11), Some(of("eve", 6)));
}

#[test]
fn a_reconnect_and_an_end_wait_until_the_will_is_in_the_log() {
    use std::task::{Context, Poll, Waker};
    let sessions = Sessions::new(1, 10);
    let id = new(&sessions, "alice");
    sessions.add_offline(id, offline(1, 20, Some(10)));
    let is_will = |due: &[Due]| matches!(due, [Due::Will(of, ..)] if *of == id);
    assert!(is_will(&sessions.due(10).0));
    assert!(register_at(&sessions, "alice", &outbox(), true, 11).is_none());
    assert!(matches!(&sessions.due(20).0[..], [Due::End(of, _)] if *of == id));
    let mut end = Box::pin(sessions.wait_for_will(id));
    let mut cx = Context::from_waker(Waker::noop());
    assert_eq!(end.as_mut().poll(&mut cx), Poll::Pending);
    sessions.will_logged(id);
    assert_eq!(end.as_mut().poll(&mut cx), Poll::Ready(()));
    // A session that has time left is resumed afterwards.
    let id = new(&sessions, "bob");
    sessions.add_offline(id, offline(1, 99, Some(10)));
    assert_eq!(sessions.due(10).0.len(), 1);
    assert!(register_at(&sessions, "bob", &outbox(), true, 11).is_none());
    sessions.will_logged(id);
    let entered = register_at(&sessions, "bob", &outbox(), true, 12);
    assert!(matches!(entered, Some(Registration::Resumed(old)) if old.id == id));
}

#[test]
fn a_session_has_one_outbox_until_another_replaces_it() {
    let sessions = Sessions::new(1, 10);
    let (old, fresh) = (outbox(), outbox());
    let same = |a: Option<Arc<Outbox>>, b: &Arc<Outbox>| a.is_some_and(|a| Arc::ptr_eq(&a, b));
    let Some(Registration::New(first)) = register(&sessions, "alice", &old, true) else {
        panic!()
    };
    sessions.add_offline(first, offline(1, u64::MAX, None));
    let Some(Registration::Resumed(_)) = register(&sessions, "alice", &outbox(), true) else {
        panic!()
    };
    // A lane may apply an entry of the first connection only now.
    assert!(same(sessions.outbox(first), &old));
    sessions.add_offline(first, offline(2, u64::MAX, None));
    let Some(Registration::Replaced(second, ..)) = register(&sessions, "alice", &fresh, false)
    else {
        panic!()
    };
    assert!(sessions.outbox(first).is_none());
    assert!(same(sessions.outbox(second), &fresh));
    let before_the_restart = SessionId { term: 0, ..second };
    assert!(sessions.outbox(before_the_restart).is_none());
}

#[test]
fn two_servers_never_give_one_id() {
    let ids = || {
        let sessions = Sessions::new(crate::sessions::new_term(), 10);
        ["alice", "bob"].map(|user| new(&sessions, user))
    };
    let all: HashSet<_> = ids().into_iter().chain(ids()).collect();
    assert_eq!(all.len(), 4);
}

proptest! {
    /// Each server has some clients, each with some clean starts.
    #[test]
    fn no_id_is_used_twice_over_any_number_of_starts(
        terms in prop::collection::hash_set(any::<u64>(), 1..6),
        starts in prop::collection::vec((0..3_usize, any::<bool>()), 1..30),
    ) {
        let mut given = HashSet::new();
        for term in terms {
            let sessions = Sessions::new(term, 10);
            for (user, resumes) in &starts {
                let user = ["a", "b", "c"][*user];
                let id = match register(&sessions, user, &outbox(), *resumes) {
                    Some(Registration::New(id) | Registration::Replaced(id, _)) => {
                        prop_assert!(given.insert(id), "{id:?}");
                        id
                    }
                    Some(Registration::Resumed(old)) => {
                        prop_assert!(given.contains(&old.id));
                        old.id
                    }
                    other => panic!("{other:?}"),
                };
                prop_assert_eq!(id.term, term);
                // Half of the ends leave no session.
                if *resumes {
                    sessions.add_offline(id, offline(1, u64::MAX, None));
                } else {
                    sessions.remove(id);
                }
            }
        }
    }
}

#[test]
fn a_second_connection_waits_for_the_first_of_one_user_only() {
    let sessions = Sessions::new(1, 10);
    let (first, second) = (outbox(), outbox());
    let Some(Registration::New(old)) = register(&sessions, "alice", &first, true) else {
        panic!()
    };
    new(&sessions, "bob");
    assert!(register(&sessions, "alice", &second, true).is_none());
    assert_eq!(closing(&first), Some(ReasonCode::SessionTakenOver));
    assert_eq!(closing(&second), None);
    sessions.remove(old);
    assert!(sessions.outbox(old).is_none());
    let id = new(&sessions, "alice");
    assert_ne!(old, id);
    sessions.remove(old);
    assert!(sessions.outbox(id).is_some(), "a stale end changes nothing");
    assert_eq!(sessions.shut_down().len(), 2);
    assert!(matches!(
        register(&sessions, "carol", &second, true),
        Some(Registration::ShuttingDown)
    ));
}

#[test]
fn a_resumed_session_uses_its_own_outbox_and_a_replaced_one_the_newcomers() {
    let sessions = Sessions::new(1, 10);
    let (first, second, third) = (outbox(), outbox(), outbox());
    let Some(Registration::New(old)) = register(&sessions, "alice", &first, true) else {
        panic!()
    };
    assert!(sessions.add_offline(old, offline(5, 100, None)).is_none());
    assert_eq!(sessions.connected_and_offline(), (0, 1));
    assert!(sessions.outbox(old).is_some(), "lanes still fill it");
    let Some(Registration::Resumed(resumed)) = register(&sessions, "alice", &second, true) else {
        panic!()
    };
    assert_eq!(resumed.id, old);
    assert!(Arc::ptr_eq(&resumed.outbox, &first));
    assert!(Arc::ptr_eq(&sessions.outbox(old).unwrap(), &first));
    assert_eq!(sessions.connected_and_offline(), (1, 0));
    sessions.add_offline(old, offline(6, 100, None));
    let replaced = register(&sessions, "alice", &third, false);
    let Some(Registration::Replaced(fresh, ended)) = replaced else {
        panic!()
    };
    assert_eq!(ended.id, old);
    assert!(Arc::ptr_eq(&ended.outbox, &first), "the newcomer ends it");
    assert_ne!(fresh, old);
    assert!(Arc::ptr_eq(&sessions.outbox(fresh).unwrap(), &third));
    assert_eq!(sessions.due(1_000).0.len(), 0, "no session is offline");
}

/// [MQTT-3.1.2-11, 5.0 MQTT-3.1.2-23, MQTT-4.1.0-2]
#[test]
fn an_expired_session_is_not_resumed_even_before_its_end_is_carried_out() {
    for (now, resumed) in [(99, true), (100, false), (5_000, false)] {
        let sessions = Sessions::new(1, 10);
        let (first, second) = (outbox(), outbox());
        let Some(Registration::New(old)) = register(&sessions, "alice", &first, true) else {
            panic!()
        };
        sessions.add_offline(old, offline(5, 100, Some(300)));
        let registration = register_at(&sessions, "alice", &second, true, now);
        let (id, old_outbox) = match registration {
            Some(Registration::Resumed(was)) if resumed => (was.id, was.outbox),
            Some(Registration::Replaced(id, was)) if !resumed && was.id == old => {
                assert!(was.session.will.is_some(), "its end sends the will");
                (id, was.outbox)
            }
            other => panic!("at {now}: {other:?}"),
        };
        assert!(Arc::ptr_eq(&old_outbox, &first));
        assert_eq!(id == old, resumed);
        let own = if resumed { &first } else { &second };
        assert!(Arc::ptr_eq(&sessions.outbox(id).unwrap(), own));
        assert_eq!(sessions.outbox(old).is_some(), resumed);
        assert_eq!(sessions.counts().expired, u64::from(!resumed));
        assert!(sessions.due(10_000).0.is_empty(), "it ends once");
    }
}

#[test]
fn each_end_registers_the_newcomer_that_has_waited_longest() {
    use std::task::{Context, Poll, Waker};
    let sessions = Sessions::new(1, 10);
    let first = new(&sessions, "alice");
    let attempts = std::cell::Cell::new(0);
    let own = outbox();
    let now = || {
        attempts.set(attempts.get() + 1);
        0
    };
    let (user, id): (Arc<str>, ByteString) = ("alice".into(), "tv".into());
    let cx = &mut Context::from_waker(Waker::noop());
    let newcomer = || Box::pin(sessions.register(&user, &id, &own, true, now));
    let mut waiting: std::collections::VecDeque<_> = (0..100).map(|_| newcomer()).collect();
    for one in &mut waiting {
        assert!(one.as_mut().poll(cx).is_pending());
    }
    // A newcomer that is notified and gives up passes that on to the next.
    sessions.remove(first);
    drop(waiting.pop_front());
    while let Some(mut next) = waiting.pop_front() {
        let later = waiting.iter_mut().any(|l| l.as_mut().poll(cx).is_ready());
        assert!(!later, "it came later");
        let Poll::Ready(Registration::New(here)) = next.as_mut().poll(cx) else {
            panic!("no newcomer was registered")
        };
        sessions.remove(here);
    }
    assert_eq!(attempts.get(), 100 + 99, "each tries twice");
    assert!(sessions.state.lock().waiting.is_empty());
}

#[test]
fn a_shutdown_ends_the_wait_of_newcomers() {
    use std::task::{Context, Poll, Waker};
    let sessions = Sessions::new(1, 10);
    new(&sessions, "alice");
    let own = outbox();
    let (user, id): (Arc<str>, ByteString) = ("alice".into(), "tv".into());
    let cx = &mut Context::from_waker(Waker::noop());
    let newcomer = || Box::pin(sessions.register(&user, &id, &own, true, || 0));
    let mut waiting: Vec<_> = (0..3).map(|_| newcomer()).collect();
    for one in &mut waiting {
        assert!(one.as_mut().poll(cx).is_pending());
    }
    sessions.shut_down();
    for mut one in waiting {
        assert!(matches!(
            one.as_mut().poll(cx),
            Poll::Ready(Registration::ShuttingDown)
        ));
    }
}

#[test]
fn a_newcomer_takes_over_a_connection_that_is_not_open_yet() {
    let sessions = Sessions::new(1, 10);
    let first = Arc::new(Outbox::offline(Version::V5, LIMITS, Arc::default()));
    let Some(Registration::New(id)) = register(&sessions, "alice", &first, true) else {
        panic!()
    };
    let (user, client) = ("alice".into(), "tv".into());
    let waits = sessions.try_register(&user, &client, &outbox(), true, 0);
    assert!(waits.is_err());
    assert_eq!(closing(&first), None, "there is no connection to close yet");
    let nothing = crate::packet::Reply::PingResp;
    first.connect(None, Version::V5, LIMITS, &nothing, 0);
    sessions.on_connected(id);
    assert_eq!(closing(&first), Some(ReasonCode::SessionTakenOver));
    drop(waits);
    // A newcomer that has given up takes over nothing.
    sessions.remove(id);
    let Some(Registration::New(id)) = register(&sessions, "alice", &first, true) else {
        panic!()
    };
    first.disconnect(None, true, 0);
    first.connect(None, Version::V5, LIMITS, &nothing, 0);
    sessions.on_connected(id);
    assert_eq!(closing(&first), None);
}

#[test]
fn wills_and_ends_are_due_in_time() {
    let sessions = Sessions::new(1, 10);
    let (alice, bob) = (new(&sessions, "alice"), new(&sessions, "bob"));
    sessions.add_offline(alice, offline(0, 100, Some(50)));
    sessions.add_offline(bob, offline(0, u64::MAX, None));
    let (due, next) = sessions.due(49);
    assert!(due.is_empty());
    assert_eq!(next, Some(50));
    let (due, next) = sessions.due(50);
    assert!(matches!(&due[..], [Due::Will(id, ..)] if *id == alice));
    assert_eq!(next, Some(100));
    let (due, next) = sessions.due(100);
    assert!(matches!(&due[..], [Due::End(id, offline)] if *id == alice && offline.will.is_none()));
    assert_eq!(next, None);
    assert!(
        register(&sessions, "alice", &outbox(), true).is_none(),
        "not before its end is carried out"
    );
    sessions.remove(alice);
    new(&sessions, "alice");
}

#[test]
fn a_session_that_ends_before_its_will_is_due_still_has_the_will() {
    let sessions = Sessions::new(1, 10);
    let alice = new(&sessions, "alice");
    sessions.add_offline(alice, offline(0, 30, Some(50)));
    let (due, _) = sessions.due(30);
    assert!(matches!(&due[..], [Due::End(_, offline)] if offline.will.is_some()));
}

#[test]
fn the_session_that_is_offline_longest_is_evicted_first() {
    let sessions = Sessions::new(1, 2);
    let ids: Vec<_> = ["a", "b", "c"].map(|u| new(&sessions, u)).into();
    assert!(
        sessions
            .add_offline(ids[1], offline(1, 100, None))
            .is_none()
    );
    assert!(
        sessions
            .add_offline(ids[0], offline(2, 100, None))
            .is_none()
    );
    let ended = sessions.add_offline(ids[2], offline(3, 100, None));
    assert!(matches!(ended, Some(Due::End(id, _)) if id == ids[1]));
    assert_eq!(sessions.connected_and_offline().1, 2);
    let mut expected = SessionCounts {
        connected: 0,
        offline: 2,
        maximum: 3,
        expired: 1,
        evicted_for_count: 1,
        evicted_for_bytes: 0,
    };
    assert_eq!(sessions.counts(), expected, "one is ending");
    new(&sessions, "d");
    expected.connected = 1;
    assert_eq!(sessions.counts(), expected);
    sessions.remove(ids[1]);
    assert_eq!(sessions.counts(), expected);
}

#[test]
fn a_connection_that_opens_during_a_shutdown_is_closed() {
    let sessions = Sessions::new(1, 10);
    let late = Arc::new(Outbox::offline(Version::V5, LIMITS, Arc::default()));
    let Some(Registration::New(id)) = register(&sessions, "alice", &late, true) else {
        panic!()
    };
    for outbox in sessions.shut_down() {
        outbox.start_draining();
    }
    let nothing = crate::packet::Reply::PingResp;
    late.connect(None, Version::V5, LIMITS, &nothing, 0);
    sessions.on_connected(id);
    assert_eq!(closing(&late), Some(ReasonCode::ServerShuttingDown));
    assert!(late.condition().draining);
}

#[test]
fn sessions_without_credentials_are_evicted_before_users() {
    let sessions = Sessions::new(1, 2);
    let ids: Vec<_> = ["user", "~1", "~2"].map(|u| new(&sessions, u)).into();
    let anonymous = |since| {
        let mut offline = offline(since, 100, None);
        offline.state.who.authenticated = false;
        offline
    };
    assert!(
        sessions
            .add_offline(ids[0], offline(1, 100, None))
            .is_none()
    );
    assert!(sessions.add_offline(ids[1], anonymous(2)).is_none());
    let ended = sessions.add_offline(ids[2], anonymous(3));
    assert!(matches!(ended, Some(Due::End(id, _)) if id == ids[1]));
}
