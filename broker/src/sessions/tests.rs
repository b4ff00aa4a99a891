#![allow(clippy::unwrap_used)]
use super::*;
use crate::packet::{PublishProperties, QoS, TopicName, Version};
use crate::policy::Principal;
use crate::session::OutboundLimits;
use std::collections::{BTreeSet, HashSet};

const LIMITS: OutboundLimits = OutboundLimits {
    bytes: 100,
    messages: 1,
    receive_maximum: 1,
    maximum_packet_size: None,
    problem_information: true,
    topic_aliases: 0,
    age: u64::MAX,
};

fn outbox() -> Arc<Outbox> {
    Arc::new(Outbox::awake(Version::V5, LIMITS))
}

fn asleep(since: u64, expires: u64, will: Option<u64>) -> Box<Asleep> {
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
    let kept = Kept {
        who: Principal {
            user: "alice".into(),
            authenticated: true,
        },
        client_id: "tv".into(),
        unreleased: HashSet::new(),
        filters: HashSet::new(),
        lanes: BTreeSet::new(),
        ticket: 0,
    };
    Box::new(Asleep {
        kept,
        since,
        expires,
        will,
    })
}

fn enter(sessions: &Sessions, user: &str, outbox: &Arc<Outbox>, resumes: bool) -> Option<Entered> {
    match sessions.claim(&user.into(), &"tv".into(), outbox, resumes) {
        Claim::Entered(entered) => Some(entered),
        Claim::Wait(_) => None,
    }
}

fn new(sessions: &Sessions, user: &str) -> SessionId {
    match enter(sessions, user, &outbox(), true) {
        Some(Entered::New(id)) => id,
        other => panic!("{other:?}"),
    }
}

fn closing(outbox: &Outbox) -> Option<ReasonCode> {
    outbox.condition().closing.map(|c| c.reason)
}

#[test]
fn a_second_connection_waits_for_the_first_of_one_user_only() {
    let sessions = Sessions::new(10);
    let (first, second) = (outbox(), outbox());
    let Some(Entered::New(old)) = enter(&sessions, "alice", &first, true) else {
        panic!()
    };
    new(&sessions, "bob");
    assert!(enter(&sessions, "alice", &second, true).is_none());
    assert_eq!(closing(&first), Some(ReasonCode::SessionTakenOver));
    assert_eq!(closing(&second), None);
    sessions.leave(old);
    assert!(sessions.outbox(old).is_none());
    let id = new(&sessions, "alice");
    assert!(old.incarnation < id.incarnation);
    sessions.leave(old);
    assert!(sessions.outbox(id).is_some(), "a stale end changes nothing");
    assert_eq!(sessions.shut().len(), 2);
    assert!(matches!(
        enter(&sessions, "carol", &second, true),
        Some(Entered::Shut)
    ));
}

#[test]
fn a_session_that_slept_goes_on_with_its_own_outbox() {
    let sessions = Sessions::new(10);
    let (first, second, third) = (outbox(), outbox(), outbox());
    let Some(Entered::New(old)) = enter(&sessions, "alice", &first, true) else {
        panic!()
    };
    assert!(sessions.sleep(old, asleep(5, 100, None)).is_none());
    assert_eq!(sessions.count(), (0, 1));
    assert!(sessions.outbox(old).is_some(), "lanes still fill it");
    let Some(Entered::Woken(id, was, theirs, _)) = enter(&sessions, "alice", &second, true) else {
        panic!()
    };
    assert_eq!((id.client, was), (old.client, old));
    assert!(Arc::ptr_eq(&theirs, &first));
    assert!(Arc::ptr_eq(&sessions.outbox(id).unwrap(), &first));
    assert_eq!(sessions.count(), (1, 0));
    sessions.sleep(id, asleep(6, 100, None));
    let Some(Entered::Woken(fresh, _, theirs, _)) = enter(&sessions, "alice", &third, false) else {
        panic!()
    };
    assert!(Arc::ptr_eq(&theirs, &first), "to be ended by the newcomer");
    assert!(Arc::ptr_eq(&sessions.outbox(fresh).unwrap(), &third));
    assert_eq!(sessions.due(1_000).0.len(), 0, "nobody sleeps any more");
}

#[test]
fn a_newcomer_that_waits_while_another_is_being_opened_is_not_forgotten() {
    let sessions = Sessions::new(10);
    let first = Arc::new(Outbox::asleep(Version::V5, LIMITS, Arc::default()));
    let Some(Entered::New(id)) = enter(&sessions, "alice", &first, true) else {
        panic!()
    };
    assert!(enter(&sessions, "alice", &outbox(), true).is_none());
    assert_eq!(closing(&first), None, "there is no connection to close yet");
    let nothing = crate::packet::Reply::PingResp;
    first.open(None, Version::V5, LIMITS, &nothing, 0);
    sessions.opened(id);
    assert_eq!(closing(&first), Some(ReasonCode::SessionTakenOver));
}

#[test]
fn wills_and_ends_come_when_they_are_due() {
    let sessions = Sessions::new(10);
    let (alice, bob) = (new(&sessions, "alice"), new(&sessions, "bob"));
    sessions.sleep(alice, asleep(0, 100, Some(50)));
    sessions.sleep(bob, asleep(0, u64::MAX, None));
    let (due, next) = sessions.due(49);
    assert!(due.is_empty());
    assert_eq!(next, Some(50));
    let (due, next) = sessions.due(50);
    assert!(matches!(&due[..], [Due::Will(id, ..)] if *id == alice));
    assert_eq!(next, Some(100));
    let (due, next) = sessions.due(100);
    assert!(matches!(&due[..], [Due::End(id, asleep)] if *id == alice && asleep.will.is_none()));
    assert_eq!(next, None);
    assert!(
        enter(&sessions, "alice", &outbox(), true).is_none(),
        "until its end is told"
    );
    sessions.leave(alice);
    new(&sessions, "alice");
}

#[test]
fn an_end_before_the_will_takes_the_will_along() {
    let sessions = Sessions::new(10);
    let alice = new(&sessions, "alice");
    sessions.sleep(alice, asleep(0, 30, Some(50)));
    let (due, _) = sessions.due(30);
    assert!(matches!(&due[..], [Due::End(_, asleep)] if asleep.will.is_some()));
}

#[test]
fn the_longest_asleep_makes_room() {
    let sessions = Sessions::new(2);
    let ids: Vec<_> = ["a", "b", "c"].map(|u| new(&sessions, u)).into();
    assert!(sessions.sleep(ids[1], asleep(1, 100, None)).is_none());
    assert!(sessions.sleep(ids[0], asleep(2, 100, None)).is_none());
    let ended = sessions.sleep(ids[2], asleep(3, 100, None));
    assert!(matches!(ended, Some(Due::End(id, _)) if id == ids[1]));
    assert_eq!(sessions.count().1, 2);
    let mut expected = Clients {
        connected: 0,
        asleep: 2,
        maximum: 3,
        expired: 1,
        for_number: 1,
        for_bytes: 0,
    };
    assert_eq!(sessions.clients(), expected, "one is ending");
    new(&sessions, "d");
    expected.connected = 1;
    assert_eq!(sessions.clients(), expected);
    sessions.leave(ids[1]);
    assert_eq!(sessions.clients(), expected);
}

#[test]
fn a_connection_that_opens_while_the_server_shuts_down_ends() {
    let sessions = Sessions::new(10);
    let late = Arc::new(Outbox::asleep(Version::V5, LIMITS, Arc::default()));
    let Some(Entered::New(id)) = enter(&sessions, "alice", &late, true) else {
        panic!()
    };
    for outbox in sessions.shut() {
        outbox.stop_reading();
    }
    let nothing = crate::packet::Reply::PingResp;
    late.open(None, Version::V5, LIMITS, &nothing, 0);
    sessions.opened(id);
    assert_eq!(closing(&late), Some(ReasonCode::ServerShuttingDown));
    assert!(late.condition().draining);
}

#[test]
fn strangers_make_room_before_users_do() {
    let sessions = Sessions::new(2);
    let ids: Vec<_> = ["user", "~1", "~2"].map(|u| new(&sessions, u)).into();
    let stranger = |since| {
        let mut asleep = asleep(since, 100, None);
        asleep.kept.who.authenticated = false;
        asleep
    };
    assert!(sessions.sleep(ids[0], asleep(1, 100, None)).is_none());
    assert!(sessions.sleep(ids[1], stranger(2)).is_none());
    let ended = sessions.sleep(ids[2], stranger(3));
    assert!(matches!(ended, Some(Due::End(id, _)) if id == ids[1]));
}
