//! Random entries against a simple model: the published roster must be the model's roster.

#![allow(clippy::unwrap_used, clippy::expect_used)]
use super::super::hook_keys::user_key;
use super::super::room_policy::RoomPolicies;
use super::super::room_policy::tests::{open, rules_of};
use super::tests::{LOST, Lane, who};
use super::*;
use proptest::prelude::*;
use serde_json::Value;
use std::collections::BTreeMap;

const USERS: [&str; 3] = ["al", "bob", "~c"];
const ROOMS: [&str; 2] = ["a", "b"];
/// Clients 2u and 2u + 1 belong to user u.
const CLIENTS: usize = 2 * USERS.len();

#[derive(Debug, Clone)]
enum Step {
    /// A new connection of the client. The end of its earlier one follows later, or never.
    Connect(usize),
    Join(usize, usize, bool),
    Leave(usize, usize, bool),
    Gone(usize, bool),
    /// The late end of the connection before the client's last.
    StaleGone(usize),
    /// One of the requested timers fires, in time or stale.
    Timer(prop::sample::Index),
    Retain(usize, usize, bool),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let (client, room) = (0..CLIENTS, 0..ROOMS.len());
    let step = prop_oneof![
        2 => client.clone().prop_map(Step::Connect),
        5 => (client.clone(), room.clone(), any::<bool>()).prop_map(|(c, r, x)| Step::Join(c, r, x)),
        3 => (client.clone(), room.clone(), any::<bool>()).prop_map(|(c, r, x)| Step::Leave(c, r, x)),
        2 => (client.clone(), any::<bool>()).prop_map(|(c, lost)| Step::Gone(c, lost)),
        2 => client.clone().prop_map(Step::StaleGone),
        3 => any::<prop::sample::Index>().prop_map(Step::Timer),
        1 => (client, room, any::<bool>()).prop_map(|(c, r, x)| Step::Retain(c, r, x)),
    ];
    prop::collection::vec(step, 1..120)
}

fn filter(room: usize, wide: bool) -> String {
    format!("rooms/{}/{}", ROOMS[room], if wide { "#" } else { "x" })
}

/// By client: connection and filters.
type Devices = BTreeMap<usize, (u32, Vec<bool>)>;

/// The expected state.
#[derive(Default)]
struct Model {
    /// By room and user.
    members: BTreeMap<(usize, usize), Devices>,
    /// Lost members, with the generation of their timers.
    lost: BTreeMap<(usize, usize), u64>,
    retained: BTreeMap<usize, bool>,
}

/// The state that the effects published.
#[derive(Default)]
struct Published {
    retained: BTreeMap<String, Value>,
    /// The last event of a room and user.
    events: BTreeMap<(String, String), String>,
    wakes: Vec<(String, u64)>,
}

impl Published {
    fn take(&mut self, effects: &[Effect]) {
        for effect in effects {
            match effect {
                Effect::Publish {
                    topic,
                    payload,
                    retain: true,
                } if payload.is_empty() => {
                    assert!(
                        self.retained.remove(topic).is_some(),
                        "cleared and was not retained: {topic}"
                    );
                }
                Effect::Publish {
                    topic,
                    payload,
                    retain: true,
                } => {
                    let entry = serde_json::from_slice(payload).unwrap();
                    let before = self.retained.insert(topic.clone(), entry);
                    assert_ne!(
                        before.as_ref(),
                        self.retained.get(topic),
                        "published without a change"
                    );
                }
                Effect::Publish {
                    topic,
                    payload,
                    retain: false,
                } => {
                    let json: Value = serde_json::from_slice(payload).unwrap();
                    let text = |name: &str| json[name].as_str().unwrap().to_owned();
                    let (event, key) = (text("event"), (topic.clone(), text("user")));
                    let before = self.events.insert(key, event.clone());
                    let before = before.as_deref().unwrap_or("left");
                    let order = match event.as_str() {
                        "joined" => before == "left",
                        "back" => before == "lost",
                        "lost" => before == "joined" || before == "back",
                        "left" => before != "left",
                        _ => false,
                    };
                    assert!(order, "{event} after {before}");
                }
                Effect::Wake {
                    key, generation, ..
                } if key.ends_with('/') => {
                    assert!(*generation > 0, "the end of an empty room");
                }
                Effect::Wake {
                    key, generation, ..
                } => {
                    self.wakes.push((key.clone(), *generation));
                }
                Effect::Refuse(_)
                | Effect::ClearBelow { .. }
                | Effect::Count(_)
                | Effect::Tell(_) => {
                    panic!("nothing to tell here")
                }
            }
        }
    }

    fn check(&self, model: &Model) {
        let mut expected = BTreeMap::new();
        for (&(room, user), devices) in &model.members {
            expected.insert((room, user), ("online", devices.len()));
        }
        for &at in model.lost.keys() {
            assert!(expected.insert(at, ("lost", 0)).is_none());
        }
        let mut entries = 0;
        for ((room, user), (state, devices)) in &expected {
            let topic = topics::presence(ROOMS[*room], USERS[*user]);
            let entry = &self.retained[&topic];
            assert_eq!(entry["state"], *state, "{topic}");
            assert_eq!(entry["devices"], *devices, "{topic}");
            assert_eq!(entry.get("reason").is_some(), *state == "lost");
            entries += 1;
        }
        for (n, room) in ROOMS.iter().enumerate() {
            let count = expected.keys().filter(|(room, _)| *room == n).count();
            let alive = count > 0 || model.retained.get(&n) == Some(&true);
            let info = self.retained.get(&topics::info(room));
            assert_eq!(
                info.map(|info| &info["count"]),
                alive.then_some(&count.into())
            );
            entries += usize::from(alive);
        }
        assert_eq!(
            self.retained.len(),
            entries,
            "no entry without a member or room"
        );
    }
}

struct Run {
    lane: Lane,
    model: Model,
    published: Published,
    /// The last connection of each client, and whether it has not ended. Each client has one session.
    live: [(u32, bool); CLIENTS],
    /// Connections that were taken over and whose end has not been handled.
    stale: [Option<u32>; CLIENTS],
    next: u32,
    all: Vec<Effect>,
}

impl Run {
    fn new() -> Run {
        Run {
            lane: Lane::new(RoomPolicies::new(rules_of(vec![], open()))),
            model: Model::default(),
            published: Published::default(),
            live: [(0, false); CLIENTS],
            stale: [None; CLIENTS],
            next: 0,
            all: Vec::new(),
        }
    }

    fn step(&mut self, step: &Step) {
        self.lane.now += 7;
        let effects = match *step {
            Step::Connect(client) => {
                let (connection, lives) = self.live[client];
                let mut effects = Vec::new();
                if lives {
                    // Only the last waits: an earlier one is handled first.
                    if let Some(old) = self.stale[client].replace(connection) {
                        effects = self.end(client, old, true);
                    }
                }
                self.next += 1;
                self.live[client] = (self.next, true);
                effects
            }
            Step::Join(client, room, wide) => self.join(client, room, wide),
            Step::Leave(client, room, wide) => self.leave(client, room, wide),
            Step::Gone(client, lost) => match self.live[client] {
                (connection, true) => {
                    self.live[client].1 = false;
                    self.end(client, connection, lost)
                }
                _ => Vec::new(),
            },
            Step::StaleGone(client) => match self.stale[client].take() {
                Some(connection) => self.end(client, connection, true),
                None => Vec::new(),
            },
            Step::Timer(ref index) if !self.published.wakes.is_empty() => {
                let (key, generation) = index.get(&self.published.wakes).clone();
                self.model.lost.retain(|_, own| *own != generation);
                self.lane.timer(&key, generation)
            }
            Step::Timer(_) => Vec::new(),
            Step::Retain(client, room, keep) => {
                let replaces = self.model.retained.insert(room, keep) == Some(true);
                let topic = topics::room(ROOMS[room]);
                let message = Message {
                    topic: &topic,
                    payload: if keep { b"x" } else { b"" },
                    retain: true,
                    replaces,
                };
                let sender = who(USERS[client / 2], client as u64, self.next);
                let (verdict, effects) = self
                    .lane
                    .entry(|hook, cx| hook.publish(cx, sender, message));
                assert!(verdict.unwrap().keep);
                effects
            }
        };
        self.published.take(&effects);
        self.published.check(&self.model);
        self.all.extend(effects);
    }

    fn join(&mut self, client: usize, room: usize, wide: bool) -> Vec<Effect> {
        let (connection, true) = self.live[client] else {
            return Vec::new();
        };
        let at = (room, client / 2);
        self.model.lost.remove(&at);
        let device = self
            .model
            .members
            .entry(at)
            .or_default()
            .entry(client)
            .or_default();
        if device.0 != connection {
            *device = (connection, Vec::new());
        }
        if !device.1.contains(&wide) {
            device.1.push(wide);
        }
        let user = who(USERS[client / 2], client as u64, connection);
        self.lane.join(user, &[filter(room, wide).as_str()])
    }

    fn leave(&mut self, client: usize, room: usize, wide: bool) -> Vec<Effect> {
        let (connection, true) = self.live[client] else {
            return Vec::new();
        };
        let at = (room, client / 2);
        if let Some(devices) = self.model.members.get_mut(&at) {
            if let Some((own, filters)) = devices.get_mut(&client)
                && *own == connection
            {
                filters.retain(|held| *held != wide);
                if filters.is_empty() {
                    devices.remove(&client);
                }
            }
            if devices.is_empty() {
                self.model.members.remove(&at);
            }
        }
        let user = who(USERS[client / 2], client as u64, connection);
        self.lane.unsubscribe(user, &[filter(room, wide).as_str()])
    }

    /// The end of the client's last connection, or of one that was taken over.
    fn end(&mut self, client: usize, connection: u32, lost: bool) -> Vec<Effect> {
        let user = who(USERS[client / 2], client as u64, connection);
        let effects = if lost {
            self.lane.lose(user)
        } else {
            self.lane.orderly(user)
        };
        let mut wakes = effects.iter().filter_map(|effect| match effect {
            Effect::Wake {
                key, generation, ..
            } if !key.ends_with('/') => Some((key.as_str(), *generation)),
            _ => None,
        });
        for (room, name) in ROOMS.iter().enumerate() {
            let at = (room, client / 2);
            let Some(devices) = self.model.members.get_mut(&at) else {
                continue;
            };
            if devices
                .get(&client)
                .is_none_or(|(own, _)| *own > connection)
            {
                continue;
            }
            devices.remove(&client);
            if devices.is_empty() {
                self.model.members.remove(&at);
                if lost {
                    let (key, generation) = wakes.next().expect("a timer for each loss");
                    assert_eq!(key, user_key(name, user.user));
                    self.model.lost.insert(at, generation);
                }
            }
        }
        assert!(wakes.next().is_none());
        effects
    }
}

proptest! {
    #[test]
    fn the_published_roster_is_the_expected_roster(steps in steps()) {
        let mut run = Run::new();
        for step in &steps {
            run.step(step);
        }
        // All sessions end and all timers fire: nothing is left.
        for client in 0..CLIENTS {
            run.step(&Step::StaleGone(client));
            run.step(&Step::Gone(client, client % 2 == 0));
        }
        for (key, generation) in run.published.wakes.clone() {
            run.model.lost.retain(|_, own| *own != generation);
            let effects = run.lane.timer(&key, generation);
            run.published.take(&effects);
            run.published.check(&run.model);
        }
        for room in 0..ROOMS.len() {
            run.step(&Step::Retain(0, room, false));
        }
        prop_assert!(run.lane.hook.rooms.is_empty() && run.lane.hook.sessions.is_empty());
        prop_assert!(run.published.retained.is_empty());
    }

    #[test]
    fn the_same_entries_have_the_same_effects(steps in steps()) {
        let effects = || {
            let mut run = Run::new();
            for step in &steps {
                run.step(step);
            }
            run.all
        };
        prop_assert_eq!(effects(), effects());
    }
}

#[test]
fn the_model_has_a_loss() {
    let mut run = Run::new();
    for step in [
        Step::Connect(0),
        Step::Join(0, 0, true),
        Step::Gone(0, true),
    ] {
        run.step(&step);
    }
    let entry = &run.published.retained[&topics::presence("a", "al")];
    assert_eq!(entry["reason"], LOST);
    assert_eq!(run.model.lost.len(), 1);
}
