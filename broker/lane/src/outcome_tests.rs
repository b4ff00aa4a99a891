#![allow(clippy::unwrap_used)]
use super::super::entry::{FilterEntry, PropertiesEntry, SubscribeEntry, UnsubscribeEntry};
use super::super::outcome::Target;
use super::super::pending::QueueLimits;
use super::super::rules::LaneRules;
use super::*;
use crate::AllowAll;
use roommq_mqtt::packet::{QoS, SubscribeOptions};

/// A lane whose hook allows everything, and the outcome of its latest entry.
struct Scene {
    lane: Lane,
    outcome: Outcome,
}

impl Scene {
    fn new() -> Self {
        let limits = RetainedLimits {
            messages: 10,
            bytes: 10_000,
        };
        let mut scene = Scene {
            lane: Lane::new(0, 1, Box::new(AllowAll)),
            outcome: Outcome::default(),
        };
        let rules = LaneRules {
            retained: limits,
            queue: QueueLimits::default(),
            offline_bytes: 0,
            hook: b"",
        };
        let body = rules.to_bytes().unwrap();
        let rules = Entry::Rules {
            version: 1,
            body: &body,
        };
        scene.lane.apply(&rules, &mut scene.outcome);
        scene
    }

    fn subscribe(&mut self, session: u64, identifier: u32, filters: &[&str]) {
        let options = SubscribeOptions::of(QoS::AtLeastOnce);
        self.subscribe_with(session, false, identifier, filters, options);
    }

    /// A session that `keeps` may outlive its connection.
    fn subscribe_with(
        &mut self,
        session: u64,
        keeps: bool,
        identifier: u32,
        filters: &[&str],
        options: SubscribeOptions,
    ) {
        let filters = (0..).zip(filters).map(|(position, filter)| FilterEntry {
            position,
            filter,
            options,
            mount: None,
            guarded: false,
            proof: &[],
        });
        let entry = Entry::Subscribe(SubscribeEntry {
            who: Actor {
                session: SessionId {
                    term: 1,
                    n: session,
                },
                connection: 1,
                user: "u",
            },
            request_id: 1,
            keeps,
            identifier,
            filters: filters.collect(),
        });
        self.lane.apply(&entry, &mut self.outcome);
    }

    /// The slots and the identifiers that a message reaches, by one act.
    fn publish(&mut self, topic: &str) -> Vec<(Slot, &[u32])> {
        let entry = Entry::Publish(PublishEntry::of_server(topic, b"m"));
        self.lane.apply(&entry, &mut self.outcome);
        let [Act::Deliver { targets, .. }] = &self.outcome.acts[..] else {
            panic!("{:?}", self.outcome.acts);
        };
        let forms = &self.outcome.forms;
        let shown = |t: &Target| (t.slot, forms.get(t.form).0);
        let targets = &self.outcome.targets[targets.clone()];
        targets.iter().map(shown).collect()
    }
}

#[test]
fn a_message_to_many_is_one_act_and_uses_the_memory_of_the_one_before() {
    let mut s = Scene::new();
    for session in 0..100 {
        s.subscribe(session, 0, &["t", "#"]);
    }
    let all: Vec<(Slot, &[u32])> = (0..100).map(|slot| (slot, &[][..])).collect();
    assert_eq!(s.publish("t"), all, "one copy for each");
    let before = (s.outcome.targets.as_ptr(), s.outcome.acts.as_ptr());
    assert_eq!(s.publish("t").len(), 100);
    let after = (s.outcome.targets.as_ptr(), s.outcome.acts.as_ptr());
    assert_eq!(before, after);
}

#[test]
fn a_target_has_the_identifiers_of_all_filters_that_match() {
    let mut s = Scene::new();
    s.subscribe(1, 7, &["t/a"]);
    s.subscribe(2, 0, &["t/a"]);
    s.subscribe(3, 7, &["t/a"]);
    for (identifier, filter) in [(9, "t/+"), (0, "#"), (9, "t/#")] {
        s.subscribe(3, identifier, &[filter]);
    }
    let mut reached = s.publish("t/a");
    let last = reached.pop();
    assert_eq!(reached, [(0, &[7][..]), (1, &[][..])]);
    let (slot, identifiers) = last.unwrap();
    let mut identifiers = identifiers.to_vec();
    identifiers.sort_unstable();
    assert_eq!((slot, identifiers), (2, vec![7, 9, 9]));
    assert_eq!(s.publish("t/b"), [(2, &[9, 9][..])]);
}

#[test]
fn a_session_is_linked_before_its_first_answer_and_no_more_once_it_has_no_filter() {
    let mut s = Scene::new();
    s.subscribe(1, 0, &["a", "$share/g/a"]);
    let acts = &s.outcome.acts;
    let [Act::Linked { slot: 0, .. }, Act::Answer { .. }] = &acts[..] else {
        panic!("{acts:?}");
    };
    s.subscribe(1, 0, &["b"]);
    assert!(matches!(s.outcome.acts[..], [Act::Answer { .. }]));
    s.subscribe(2, 0, &[]);
    let acts = &s.outcome.acts;
    let [
        Act::Linked { slot: 1, .. },
        Act::Answer { .. },
        Act::Unlinked { slot: 1, .. },
    ] = &acts[..]
    else {
        panic!("{acts:?}");
    };
}

/// More sets of identifiers than a queue can tell apart. The last messages are delivered and are not in
/// the queue, so that nothing but their numbers tells them apart for the session.
#[test]
fn messages_that_no_queue_takes_have_numbers_of_their_own() {
    let mut s = Scene::new();
    let mut numbers = std::collections::BTreeSet::new();
    let last = u32::from(super::super::pending::LAST_FORM) + 2;
    for n in 1..=last {
        let topic = format!("t/{n}");
        s.subscribe_with(
            1,
            true,
            n,
            &[&topic],
            SubscribeOptions::of(QoS::AtLeastOnce),
        );
        let entry = Entry::Publish(PublishEntry {
            qos: QoS::AtLeastOnce,
            ..PublishEntry::of_server(&topic, b"m")
        });
        s.lane.apply(&entry, &mut s.outcome);
        let [Act::Deliver { message, .. }, dropped @ ..] = &s.outcome.acts[..] else {
            panic!("{:?}", s.outcome.acts);
        };
        assert!(numbers.insert(message.number), "message {n}");
        assert_eq!(dropped.len(), usize::from(n > last - 2));
    }
    assert_eq!(s.lane.stored_messages(), last as usize - 2);
}

/// A batch of the writer with this number, at these times.
fn begin(lane: &mut Lane, number: u64, at: u64, wall: u64) {
    let header = BatchHeader {
        writer: 0,
        term: 1,
        number,
        at,
        wall: WallTime(wall),
    };
    assert_eq!(lane.begin(&header), BatchTurn::Take);
    assert_eq!((lane.now(), lane.wall()), (at, WallTime(wall)));
}

/// A message that expires after 10 s, and a clock that is set a year ahead and a day back.
#[test]
fn a_clock_that_is_set_does_not_expire_a_retained_message() {
    const YEAR: u64 = 365 * 24 * 3_600 * 1_000;
    let mut s = Scene::new();
    begin(&mut s.lane, 1, 1_000, 1_000);
    let properties = PropertiesEntry {
        payload_format_indicator: None,
        message_expiry: Some(10),
        content_type: None,
        response_topic: None,
        correlation_data: None,
        user_properties: (&[]).into(),
    };
    let entry = Entry::Publish(PublishEntry {
        retain: true,
        properties: Some(Box::new(properties)),
        ..PublishEntry::of_server("t", b"m")
    });
    s.lane.apply(&entry, &mut s.outcome);
    let [
        Act::Wake {
            key,
            generation,
            at: 11_000,
        },
    ] = &s.outcome.acts[..]
    else {
        panic!("{:?}", s.outcome.acts);
    };
    let timer = Entry::Timer {
        key: &key.clone(),
        generation: *generation,
    };
    for (number, at, wall, retained) in
        [(2, 2_000, YEAR, 1), (3, 10_999, 0, 1), (4, 11_000, YEAR, 0)]
    {
        begin(&mut s.lane, number, at, wall);
        s.lane.apply(&timer, &mut s.outcome);
        assert_eq!(s.lane.counts()[0], retained, "at {at}");
    }
}

#[path = "cursor_tests.rs"]
mod cursor;
