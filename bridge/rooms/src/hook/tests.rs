#![allow(clippy::unwrap_used, clippy::expect_used)]
use super::super::compiled_rules::OutsideTopics;
use super::super::room_policy::tests::{LIMITS, policies};
use super::super::room_policy::{Creators, RoomPolicies, RoomRules};
use super::*;
use serde_json::Value;
use std::collections::BTreeMap;

/// The rooms of a lane, with its own time and log position.
pub(super) struct Lane {
    pub hook: LaneRooms,
    pub now: u64,
    pub wall: WallTime,
    position: u64,
}

pub(super) const LOST: &str = "connection lost";
const MAY: &[u8] = &[1];

pub(super) fn who(user: &str, n: u64, connection: u32) -> Actor<'_> {
    Actor {
        session: SessionId { term: 1, n },
        connection,
        user,
    }
}

/// Whether all topics outside rooms are shown.
#[derive(Debug)]
struct Outside(bool);

impl OutsideTopics for Outside {
    fn may_see(&self, _: &str, _: &str) -> bool {
        self.0
    }
}

/// Rules by their names, which are one byte each.
#[derive(Debug)]
struct Known(BTreeMap<u8, CompiledRules>);

impl RulesReader for Known {
    fn read(&self, rules: &[u8]) -> Result<CompiledRules, RulesError> {
        let known = rules.first().and_then(|name| self.0.get(name));
        known.cloned().ok_or_else(|| RulesError::new("unknown"))
    }
}

impl Lane {
    pub fn new(policies: RoomPolicies) -> Lane {
        Lane::beside(Outside(true), policies)
    }

    fn beside(outside: Outside, policies: RoomPolicies) -> Lane {
        Lane::by_first(vec![(outside, policies)])
    }

    /// A lane that follows the first of these rules. They are named from 0 on.
    fn by_first(rules: Vec<(Outside, RoomPolicies)>) -> Lane {
        let compiled = rules.into_iter().map(|(outside, rooms)| CompiledRules {
            rooms: Arc::new(rooms),
            outside: Arc::new(outside),
        });
        let mut lane = Lane {
            hook: LaneRooms::new(Arc::new(Known((0..).zip(compiled).collect()))),
            now: 1_000_000,
            wall: WallTime(1_000_000),
            position: 0,
        };
        lane.rules(1, 0).unwrap();
        lane
    }

    /// An entry that brings the rules of this name.
    fn rules(&mut self, version: u64, name: u8) -> Result<(), RulesError> {
        let (read, effects) = self.entry(|hook, cx| hook.rules(cx, version, &[name]));
        assert_eq!(effects, []);
        read
    }

    /// Applies one entry. Returns the answer and the effects.
    pub fn entry<T>(
        &mut self,
        apply: impl FnOnce(&mut LaneRooms, &mut HookContext<'_>) -> T,
    ) -> (T, Vec<Effect>) {
        self.position += 1;
        let mut effects = Vec::new();
        let mut cx = HookContext {
            now: self.now,
            wall: self.wall,
            position: self.position,
            effects: &mut effects,
        };
        let answer = apply(&mut self.hook, &mut cx);
        (answer, effects)
    }

    /// A SUBSCRIBE by a client that may create rooms. Returns the refusals, and the effects of the
    /// grants.
    pub fn subscribe(&mut self, who: Actor<'_>, filters: &[&str]) -> (Vec<Refusal>, Vec<Effect>) {
        self.subscribe_with(MAY, who, filters)
    }

    fn subscribe_with(
        &mut self,
        proof: &[u8],
        who: Actor<'_>,
        filters: &[&str],
    ) -> (Vec<Refusal>, Vec<Effect>) {
        let ask: Vec<_> = filters
            .iter()
            .map(|filter| Request {
                filter,
                proof,
                resumed: false,
            })
            .collect();
        self.entry(|hook, cx| {
            let answers = hook.judge(cx, who, &ask);
            assert_eq!(answers.len(), ask.len());
            let counts = cx.effects.iter().all(|e| matches!(e, Effect::Count(_)));
            assert!(counts, "no other effect before `subscribed`");
            let pairs = ask.iter().zip(&answers);
            let granted: Vec<_> = pairs.filter(|(_, a)| a.is_ok()).map(|(r, _)| *r).collect();
            hook.subscribed(cx, who, &granted);
            answers.into_iter().filter_map(Result::err).collect()
        })
    }

    pub fn join(&mut self, who: Actor<'_>, filters: &[&str]) -> Vec<Effect> {
        let (refusals, effects) = self.subscribe(who, filters);
        assert_eq!(refusals, []);
        effects
    }

    pub fn unsubscribe(&mut self, who: Actor<'_>, filters: &[&str]) -> Vec<Effect> {
        self.entry(|hook, cx| hook.unsubscribed(cx, who, filters)).1
    }

    pub fn orderly(&mut self, who: Actor<'_>) -> Vec<Effect> {
        self.entry(|hook, cx| hook.disconnected(cx, who, &EndReason::Orderly))
            .1
    }

    pub fn lose(&mut self, who: Actor<'_>) -> Vec<Effect> {
        let reason = EndReason::Lost(LOST.to_owned());
        self.entry(|hook, cx| hook.disconnected(cx, who, &reason)).1
    }

    pub fn timer(&mut self, key: &str, generation: u64) -> Vec<Effect> {
        self.entry(|hook, cx| hook.timer(cx, key, generation)).1
    }

    fn send(
        &mut self,
        who: Actor<'_>,
        topic: &str,
        payload: &str,
        retain: bool,
        replaces: bool,
    ) -> (Result<Verdict, Refusal>, Vec<Effect>) {
        let payload = payload.as_bytes();
        let message = Message {
            topic,
            payload,
            retain,
            replaces,
        };
        self.entry(|hook, cx| hook.publish(cx, who, message))
    }

    fn is_empty(&self) -> bool {
        self.hook.rooms.is_empty() && self.hook.sessions.is_empty() && self.hook.creators.is_empty()
    }
}

/// Effects as text: `topic! field=value …`, with `!` for retained and `-` for cleared.
fn brief(effects: &[Effect]) -> Vec<String> {
    let short = |effect: &Effect| match effect {
        Effect::Publish {
            topic,
            payload,
            retain,
        } => {
            let json: Value = serde_json::from_slice(payload).unwrap_or(Value::Null);
            let field = |name: &str| Some(format!(" {name}={}", json.get(name)?));
            let fields = ["event", "state", "devices", "reason", "count"];
            let fields: String = fields.into_iter().filter_map(field).collect();
            let mark = if *retain { "!" } else { "" };
            let cleared = if payload.is_empty() { " -" } else { "" };
            format!("{topic}{mark}{cleared}{}", fields.replace('"', ""))
        }
        Effect::Wake { key, at, .. } => format!("wake {key} {at}"),
        Effect::Refuse(refusal) => format!("refuse {:?}", refusal.code),
        Effect::ClearBelow { topic } => format!("clear {topic}"),
        Effect::Count(limit) => format!("count {limit}"),
        Effect::Tell(notice) => format!("tell {}", notice.topic),
    };
    effects.iter().map(short).collect()
}

fn wake(effects: &[Effect]) -> (String, u64) {
    let found = effects.iter().find_map(|effect| match effect {
        Effect::Wake {
            key, generation, ..
        } => Some((key.clone(), *generation)),
        _ => None,
    });
    found.expect("a wake")
}

fn open() -> Lane {
    Lane::new(policies(Creators::Anyone, LIMITS))
}

#[test]
fn the_first_filter_joins_and_the_last_leaves() {
    let (mut lane, al) = (open(), who("al", 1, 1));
    assert_eq!(
        brief(&lane.join(al, &["rooms/a/#", "rooms/a/x"])),
        [
            "rooms/a/_presence/al! state=online devices=1",
            "rooms/a/_events event=joined",
            "rooms/a/_info! count=1",
        ]
    );
    assert_eq!(lane.join(al, &["rooms/a/#"]), []);
    assert_eq!(lane.unsubscribe(al, &["rooms/a/#"]), []);
    assert_eq!(
        brief(&lane.unsubscribe(al, &["rooms/a/x"])),
        [
            "rooms/a/_presence/al! -",
            "rooms/a/_events event=left reason=left",
            "rooms/a/_info! -",
        ]
    );
    assert!(lane.is_empty());
}

#[test]
fn payloads_are_as_in_the_reference() {
    let mut lane = open();
    let effects = lane.join(who("al", 1, 1), &["rooms/duo"]);
    let text = |n: usize| match &effects[n] {
        Effect::Publish { payload, .. } => serde_json::from_slice::<Value>(payload).unwrap(),
        other => panic!("{other:?}"),
    };
    let (presence, event, info) = (text(0), text(1), text(2));
    let epoch = info["epoch"].as_str().unwrap().to_owned();
    assert_eq!(
        presence,
        serde_json::json!({
            "user": "al", "state": "online", "devices": 1, "role": "member",
            "since": "1970-01-01T00:16:40.000Z", "seq": format!("{epoch}:1"), "meta": {},
        })
    );
    assert_eq!(
        event,
        serde_json::json!({
            "event": "joined", "user": "al", "at": "1970-01-01T00:16:40.000Z",
        })
    );
    assert_eq!(
        info,
        serde_json::json!({
            "room": "duo", "subject": null, "access": "open", "count": 1, "limit": 2,
            "epoch": epoch, "last": 0,
        })
    );
}

#[test]
fn peeks_and_spanning_filters_join_nothing() {
    let mut lane = open();
    let filters = [
        "rooms/a/_info",
        "rooms/a/_presence/#",
        "rooms/+/_info",
        "rooms/#",
        "#",
        "x",
    ];
    assert_eq!(lane.join(who("al", 1, 1), &filters), []);
    assert!(lane.is_empty());
}

#[test]
fn rooms_are_joined_in_the_order_of_the_packet_and_left_in_the_order_of_names() {
    let (mut lane, al) = (open(), who("al", 1, 1));
    let events = |effects: &[Effect]| -> Vec<String> {
        let brief = brief(effects).into_iter();
        brief.filter(|line| line.contains("_events")).collect()
    };
    let effects = lane.join(al, &["rooms/z/#", "rooms/a/#"]);
    assert_eq!(
        events(&effects),
        [
            "rooms/z/_events event=joined",
            "rooms/a/_events event=joined",
        ]
    );
    assert_eq!(
        events(&lane.orderly(al)),
        [
            "rooms/a/_events event=left reason=left",
            "rooms/z/_events event=left reason=left",
        ]
    );
    assert!(lane.is_empty());
}

#[test]
fn further_devices_cause_no_event() {
    let mut lane = open();
    let (one, two) = (who("al", 1, 1), who("al", 2, 2));
    lane.join(one, &["rooms/a/#"]);
    let second = lane.join(two, &["rooms/a"]);
    assert_eq!(
        brief(&second),
        ["rooms/a/_presence/al! state=online devices=2"]
    );
    assert_eq!(
        brief(&lane.lose(one)),
        ["rooms/a/_presence/al! state=online devices=1"]
    );
    assert_eq!(brief(&lane.orderly(two)).len(), 3);
    assert!(lane.is_empty());
}

/// The operator sets the clock a year ahead, then a day back. The grace period is 10 s of lane time.
#[test]
fn a_clock_that_is_set_does_not_end_a_grace_period() {
    const DAY: u64 = 24 * 3_600 * 1_000;
    let shown = |effects: &[Effect]| {
        let Some(Effect::Publish { payload, .. }) = effects.get(1) else {
            panic!("{effects:?}");
        };
        serde_json::from_slice::<Value>(payload).unwrap()["at"].clone()
    };
    let (mut lane, al) = (open(), who("al", 1, 1));
    lane.wall = WallTime(2 * DAY);
    lane.join(al, &["rooms/a/#"]);
    lane.wall = WallTime(367 * DAY);
    let lost = lane.lose(al);
    assert_eq!(shown(&lost), "1971-01-03T00:00:00.000Z");
    assert_eq!(brief(&lost)[2], "wake a/al 1010000");
    lane.wall = WallTime(DAY);
    lane.now += 9_999;
    let back = lane.join(who("al", 1, 2), &["rooms/a/#"]);
    assert_eq!(brief(&back)[1], "rooms/a/_events event=back");
    assert_eq!(shown(&back), "1970-01-02T00:00:00.000Z");
    let lost = lane.lose(who("al", 1, 2));
    assert_eq!(brief(&lost)[2], "wake a/al 1019999");
}

#[test]
fn a_loss_is_published_at_once_and_becomes_a_leave_after_the_grace_period() {
    let (mut lane, al) = (open(), who("al", 1, 1));
    lane.join(al, &["rooms/a/#"]);
    lane.now += 5;
    let lost = lane.lose(al);
    assert_eq!(
        brief(&lost),
        [
            "rooms/a/_presence/al! state=lost devices=0 reason=connection lost",
            "rooms/a/_events event=lost reason=connection lost",
            "wake a/al 1010005",
        ]
    );
    let (key, generation) = wake(&lost);
    assert_eq!(lane.timer(&key, generation + 1), []);
    assert_eq!(lane.timer("a/bob", generation), []);
    assert_eq!(lane.timer("nonsense", generation), []);
    assert_eq!(
        brief(&lane.timer(&key, generation)),
        [
            "rooms/a/_presence/al! -",
            "rooms/a/_events event=left reason=lost",
            "rooms/a/_info! -",
        ]
    );
    assert_eq!(lane.timer(&key, generation), []);
    assert!(lane.is_empty());
}

#[test]
fn a_return_within_the_grace_period_is_published_and_makes_the_timer_stale() {
    let mut lane = open();
    lane.join(who("al", 1, 1), &["rooms/a/#"]);
    let (key, first) = wake(&lane.lose(who("al", 1, 1)));
    assert_eq!(
        brief(&lane.join(who("al", 1, 2), &["rooms/a/#"])),
        [
            "rooms/a/_presence/al! state=online devices=1",
            "rooms/a/_events event=back",
        ]
    );
    assert_eq!(lane.timer(&key, first), []);
    let (_, second) = wake(&lane.lose(who("al", 1, 2)));
    assert_ne!(first, second);
    assert_eq!(
        lane.timer(&key, first),
        [],
        "the timer of the first loss is stale"
    );
    assert_eq!(lane.timer(&key, second).len(), 3);
}

#[test]
fn a_room_created_again_ignores_timers_of_its_earlier_life() {
    let mut lane = open();
    lane.join(who("al", 1, 1), &["rooms/a/#"]);
    let (key, old) = wake(&lane.lose(who("al", 1, 1)));
    lane.timer(&key, old);
    lane.join(who("al", 1, 2), &["rooms/a/#"]);
    lane.lose(who("al", 1, 2));
    assert_eq!(lane.timer(&key, old), []);
}

#[test]
fn a_stale_session_changes_nothing() {
    let mut lane = open();
    let (old, new) = (who("al", 1, 3), who("al", 1, 5));
    lane.join(old, &["rooms/a/#", "rooms/b/#"]);
    assert_eq!(lane.join(new, &["rooms/a/x"]), []);
    let (refusals, effects) = lane.subscribe(old, &["rooms/c/#", "x"]);
    assert_eq!((refusals.len(), effects), (2, vec![]));
    assert_eq!(lane.unsubscribe(old, &["rooms/a/x", "rooms/a/#"]), []);
    assert!(lane.hook.may_see(new, "rooms/a/x") && !lane.hook.may_see(old, "rooms/a/x"));
    // It leaves `b`. Its device in `a` belongs to the newer session.
    assert_eq!(brief(&lane.orderly(old)).len(), 3);
    assert!(lane.hook.may_see(new, "rooms/a/x"));
    assert_eq!(lane.orderly(old), []);
    assert_eq!(brief(&lane.orderly(new)).len(), 3);
    assert!(lane.is_empty());
}

#[test]
fn a_full_room_counts_lost_members_and_reports_its_numbers() {
    let mut lane = open();
    lane.join(who("al", 1, 1), &["rooms/duo/#"]);
    lane.join(who("bob", 2, 2), &["rooms/duo/#"]);
    let lost = lane.lose(who("bob", 2, 2));
    let (refusals, effects) = lane.subscribe(who("eve", 3, 3), &["rooms/duo/#", "rooms/duo/x"]);
    assert_eq!(refusals.len(), 2);
    assert_eq!(refusals[0].code, ReasonCode::QuotaExceeded);
    assert_eq!(refusals[0].reason, "full, 2 of 2");
    assert_eq!(effects, []);
    // A member is never refused: neither a further device nor a return.
    lane.join(who("al", 4, 4), &["rooms/duo"]);
    lane.join(who("bob", 5, 5), &["rooms/duo"]);
    lane.orderly(who("bob", 5, 5));
    let (key, generation) = wake(&lost);
    assert_eq!(lane.timer(&key, generation), []);
    lane.join(who("eve", 3, 3), &["rooms/duo/#", "rooms/duo/x"]);
    // A peek does not need capacity.
    lane.join(who("joe", 6, 6), &["rooms/duo/_info"]);
}

#[test]
fn a_client_that_may_not_create_joins_only_rooms_that_exist() {
    let mut lane = open();
    let guest = who("~g", 1, 1);
    let (refusals, _) = lane.subscribe_with(&[0], guest, &["rooms/a/#", "rooms/a/_info"]);
    assert_eq!(refusals.len(), 1);
    assert_eq!(refusals[0].code, ReasonCode::NotAuthorized);
    assert!(refusals[0].reason.contains("no room `a` yet"));
    lane.join(who("al", 2, 2), &["rooms/a/#"]);
    assert_eq!(lane.subscribe_with(&[], guest, &["rooms/a/#"]).0, []);
}

mod budgets;
mod changes;
mod crowd;
mod messages;
mod sight;
