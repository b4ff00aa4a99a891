//! Rules that change while rooms exist.

use super::super::super::room_policy::RoomPolicy;
use super::super::super::room_policy::tests::{open, rules_of};
use super::*;

/// A lane that follows the first of these policies for all rooms. Topics outside rooms are seen by
/// the first and the third rules.
fn lane_of(policies: Vec<RoomPolicy>) -> Lane {
    let compiled = policies.into_iter().enumerate().map(|(n, policy)| {
        let rooms = RoomPolicies::new(rules_of(vec![], policy));
        (Outside(n % 2 == 0), rooms)
    });
    Lane::by_first(compiled.collect())
}

fn limited(limit: u32) -> RoomPolicy {
    RoomPolicy {
        limit: Some(limit),
        ..open()
    }
}

#[test]
fn rules_that_change_between_two_joins_decide_the_second_only() {
    let mut lane = lane_of(vec![limited(2), limited(1), open()]);
    lane.join(who("al", 1, 1), &["rooms/a/#"]);
    lane.rules(2, 1).unwrap();
    let (refusals, _) = lane.subscribe(who("bob", 2, 2), &["rooms/a/#"]);
    assert_eq!(refusals[0].reason, "full, 1 of 1");
    // Al is a member still.
    lane.join(who("al", 3, 3), &["rooms/a/#"]);
    lane.rules(3, 2).unwrap();
    let effects = lane.join(who("bob", 2, 2), &["rooms/a/#"]);
    let Some(Effect::Publish { payload, .. }) = effects.last() else {
        panic!("{effects:?}");
    };
    let info: Value = serde_json::from_slice(payload).unwrap();
    assert_eq!((&info["count"], &info["limit"]), (&2.into(), &Value::Null));
}

#[test]
fn a_room_that_exists_follows_new_rules() {
    let list = RoomPolicy {
        members: Some([Box::from("al")].into()),
        members_publish: true,
        ..open()
    };
    let mut lane = lane_of(vec![open(), list]);
    let (al, bob) = (who("al", 1, 1), who("bob", 2, 2));
    lane.join(al, &["rooms/a/#"]);
    assert!(lane.hook.may_see(bob, "rooms/a/_info") && lane.hook.may_see(bob, "other"));
    assert!(lane.send(bob, "rooms/a", "x", false, false).0.is_ok());
    lane.rules(2, 1).unwrap();
    assert!(!lane.hook.may_see(bob, "rooms/a/_info") && !lane.hook.may_see(bob, "other"));
    assert!(lane.send(bob, "rooms/a", "x", false, false).0.is_err());
    assert!(!lane.hook.may_see(bob, "rooms/a/_info"));
    assert!(lane.send(al, "rooms/a", "x", false, false).0.is_ok());
}

#[test]
fn the_limits_and_the_grace_period_are_those_of_the_last_rules() {
    let rules = |limits| {
        RoomPolicies::new(RoomRules {
            limits,
            ..rules_of(vec![], open())
        })
    };
    let (mut longer, al) = (LIMITS, who("al", 1, 1));
    (longer.grace, longer.lane_rooms) = (20_000, 1);
    let mut lane = Lane::by_first(vec![
        (Outside(true), rules(LIMITS)),
        (Outside(true), rules(longer)),
    ]);
    let ends_after = |lane: &mut Lane| match lane.lose(al).last() {
        Some(Effect::Wake { at, .. }) => at - lane.now,
        other => panic!("{other:?}"),
    };
    lane.join(al, &["rooms/a/#"]);
    assert_eq!(ends_after(&mut lane), 10_000);
    lane.join(al, &["rooms/a/#"]);
    lane.rules(2, 1).unwrap();
    assert_eq!(ends_after(&mut lane), 20_000);
    assert_eq!(lane.subscribe(al, &["rooms/b/#"]).0.len(), 1);
}

#[test]
fn unknown_rules_change_nothing() {
    let mut lane = lane_of(vec![limited(1)]);
    lane.join(who("al", 1, 1), &["rooms/a/#"]);
    assert!(lane.rules(2, 7).is_err());
    assert_eq!(lane.subscribe(who("bob", 2, 2), &["rooms/a/#"]).0.len(), 1);
    assert!(lane.hook.may_see(who("bob", 2, 2), "other"));
}

#[test]
fn a_hook_without_rules_lets_nobody_do_anything() {
    let mut hook = LaneRooms::new(Arc::new(Known(BTreeMap::new())));
    assert!(!hook.may_see(who("al", 1, 1), "other"));
    assert_eq!(hook.rules.rooms.limits.lane_rooms, 0);
    let mut effects = Vec::new();
    let mut cx = HookContext {
        now: 1,
        wall: WallTime(0),
        position: 1,
        effects: &mut effects,
    };
    let request = Request {
        filter: "rooms/a/#",
        proof: MAY,
        resumed: false,
    };
    assert!(hook.judge(&mut cx, who("al", 1, 1), &[request])[0].is_err());
}
