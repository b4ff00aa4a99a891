#![allow(clippy::unwrap_used)]
use crate::entry::{Entry, FilterEntry, PublishEntry, SubscribeEntry, UnsubscribeEntry};
use crate::pending::QueueLimits;
use crate::rules::LaneRules;
use crate::{
    Act, Actor, AllowAll, HookContext, Lane, LaneHook, Message, Outcome, Refusal, Request,
    RestoreError, RetainedLimits, SessionId, Verdict,
};
use roommq_mqtt::packet::{QoS, SubscribeOptions};

/// Session `n` may see the topics of room `n % 100`; `knows` who that is.
struct Hundred {
    knows: bool,
}

impl LaneHook for Hundred {
    fn judge(
        &mut self,
        cx: &mut HookContext<'_>,
        who: Actor<'_>,
        requests: &[Request<'_>],
    ) -> Vec<Result<(), Refusal>> {
        AllowAll.judge(cx, who, requests)
    }

    fn publish(
        &mut self,
        cx: &mut HookContext<'_>,
        who: Actor<'_>,
        message: Message<'_>,
    ) -> Result<Verdict, Refusal> {
        AllowAll.publish(cx, who, message)
    }

    fn may_see(&self, who: Actor<'_>, topic: &str) -> bool {
        let room: u64 = topic.split('/').nth(1).unwrap().parse().unwrap();
        who.session.n % 100 == room
    }

    fn audience(&self, topic: &str, most: usize, each: &mut dyn FnMut(SessionId)) -> bool {
        let room: u64 = topic.split('/').nth(1).unwrap().parse().unwrap();
        let few = self.knows && most > 0;
        // In no order, with one that has no subscription.
        let sessions = [300, 100, 200, 900].map(|n| room + n).into_iter();
        sessions.filter(|_| few).for_each(|n| each(session(n)));
        few
    }

    fn snapshot(&self, out: &mut Vec<u8>) -> u16 {
        AllowAll.snapshot(out)
    }

    fn restore(&mut self, version: u16, bytes: &[u8]) -> Result<(), RestoreError> {
        AllowAll.restore(version, bytes)
    }
}

fn session(n: u64) -> SessionId {
    SessionId { term: 1, n }
}

fn who(n: u64) -> Actor<'static> {
    Actor {
        session: session(n),
        connection: 1,
        user: "u",
    }
}

struct Scene {
    lane: Lane,
    outcome: Outcome,
}

impl Scene {
    fn new(knows: bool) -> Scene {
        let mut scene = Scene {
            lane: Lane::new(0, 1, Box::new(Hundred { knows })),
            outcome: Outcome::default(),
        };
        let rules = LaneRules {
            retained: RetainedLimits {
                messages: 1,
                bytes: 1,
            },
            queue: QueueLimits::default(),
            offline_bytes: 0,
            hook: b"",
        };
        let body = &rules.to_bytes().unwrap();
        scene.apply(&Entry::Rules { version: 1, body });
        scene
    }

    fn apply(&mut self, entry: &Entry<'_>) {
        self.lane.apply(entry, &mut self.outcome);
    }

    fn subscribe(&mut self, n: u64, filters: &[&str], guarded: bool) {
        let filters = (0..).zip(filters).map(|(position, filter)| FilterEntry {
            position,
            filter,
            options: SubscribeOptions::of(QoS::AtMostOnce),
            mount: None,
            guarded,
            proof: b"",
        });
        self.apply(&Entry::Subscribe(SubscribeEntry {
            who: who(n),
            request_id: 1,
            keeps: false,
            identifier: 0,
            filters: filters.collect(),
        }));
    }

    /// How many receive a message, and the steps that it takes.
    fn publish(&mut self, topic: &str) -> (usize, usize) {
        self.apply(&Entry::Publish(PublishEntry::of_server(topic, b"m")));
        let deliver = |act: &Act| match act {
            Act::Deliver { targets, .. } => targets.len(),
            _ => 0,
        };
        let reached = self.outcome.acts.iter().map(deliver).sum();
        (reached, self.outcome.work)
    }
}

/// 300 sessions with 18 filters that match messages of all rooms; 3 of them are in each room.
#[test]
fn a_filter_of_all_rooms_costs_the_rooms_of_its_holder() {
    let filters: Vec<String> = (0..18).map(|n| "+/".repeat(1 + n % 2) + "#").collect();
    let filters: Vec<String> = filters
        .iter()
        .enumerate()
        .map(|(n, filter)| {
            if n < 2 {
                filter.clone()
            } else {
                format!("+/+/{n}")
            }
        })
        .collect();
    let filters: Vec<&str> = filters.iter().map(String::as_str).collect();
    let mut work = Vec::new();
    for knows in [true, false] {
        let mut s = Scene::new(knows);
        for n in 100..400 {
            s.subscribe(n, &filters, true);
        }
        for room in [0, 42, 99] {
            let (reached, steps) = s.publish(&format!("rooms/{room}/17"));
            assert_eq!(reached, 3);
            work.push(steps);
        }
    }
    assert!(work[..3].iter().all(|steps| *steps < 100), "{work:?}");
    // The hook is asked once for each session.
    assert!(work[3..].iter().all(|steps| *steps < 500), "{work:?}");
}

#[test]
fn guarded_subscriptions_come_and_go_as_others_do() {
    let mut s = Scene::new(true);
    // Four sessions, so that the hook says who they are.
    for n in [100, 200, 300, 400] {
        s.subscribe(n, &["+/+/x"], true);
    }
    assert_eq!(
        s.publish("rooms/0/x").0,
        3,
        "not 400, which the hook does not name"
    );
    // Another filter that matches is no second copy, guarded or not.
    s.subscribe(100, &["#"], true);
    s.subscribe(200, &["rooms/0/x"], false);
    assert_eq!(s.publish("rooms/0/x").0, 3);
    // Rules have changed: the same filter is guarded no more.
    s.subscribe(300, &["+/+/x"], false);
    assert_eq!(s.publish("rooms/7/x").0, 1);
    let image = |lane: &Lane| {
        let mut bytes = Vec::new();
        lane.snapshot(&mut bytes);
        bytes
    };
    let bytes = image(&s.lane);
    s.lane = Lane::restore(&bytes, 1, Box::new(Hundred { knows: true })).unwrap();
    assert_eq!(image(&s.lane), bytes);
    assert_eq!(s.publish("rooms/0/x").0, 3);
    for (n, filter) in [(100, "#"), (100, "+/+/x"), (300, "+/+/x")] {
        s.apply(&Entry::Unsubscribe(UnsubscribeEntry {
            who: who(n),
            request_id: 2,
            filters: vec![(0, filter)],
        }));
    }
    assert_eq!(s.publish("rooms/0/x").0, 1);
    assert_eq!(s.publish("rooms/7/x").0, 0);
}
