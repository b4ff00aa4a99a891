//! The limits on joins and leaves, on `_info`, and on the rooms of one user.

use super::super::super::room_policy::RoomLimits;
use super::*;

/// A lane with these limits instead of some usual ones.
fn lane_with(change: impl FnOnce(&mut RoomLimits)) -> Lane {
    let mut limits = LIMITS;
    change(&mut limits);
    Lane::new(policies(Creators::Anyone, limits))
}

const AL: &str = "al";

#[test]
fn joins_and_leaves_of_a_user_in_a_room_are_limited_and_leaves_never_refused() {
    let (mut lane, al) = (lane_with(|limits| limits.changes = 3), who(AL, 1, 1));
    lane.join(al, &["rooms/a/#"]);
    lane.unsubscribe(al, &["rooms/a/#"]);
    lane.join(al, &["rooms/a/#"]);
    assert_ne!(lane.unsubscribe(al, &["rooms/a/#"]), []);
    lane.now += 9_999;
    let (refusals, effects) = lane.subscribe(al, &["rooms/a/#"]);
    assert_eq!(refusals.len(), 1);
    assert_eq!(refusals[0].code, ReasonCode::QuotaExceeded);
    assert_eq!(
        refusals[0].reason,
        "too fast: a user may join and leave a room 3 times in 10 s"
    );
    assert_eq!(effects, [Effect::Count("room_changes")]);
    // The limit is of this user in this room.
    lane.join(al, &["rooms/b/#", "rooms/a/_info"]);
    lane.join(who("bob", 2, 1), &["rooms/a/#"]);
    lane.now += 1;
    lane.join(al, &["rooms/a/#"]);
}

#[test]
fn a_user_joins_with_any_number_of_devices_and_each_of_them_is_limited() {
    let mut lane = lane_with(|limits| limits.changes = 3);
    for session in 1..50 {
        lane.join(who(AL, session, 1), &["rooms/a/#", "rooms/a/x"]);
    }
    let tablet = who(AL, 7, 1);
    lane.unsubscribe(tablet, &["rooms/a/#", "rooms/a/x"]);
    lane.join(tablet, &["rooms/a/#"]);
    lane.unsubscribe(tablet, &["rooms/a/#"]);
    let (refusals, _) = lane.subscribe(tablet, &["rooms/a/#"]);
    assert_eq!(refusals.len(), 1);
    assert_eq!(lane.join(who(AL, 8, 1), &["rooms/a/y"]), []);
}

#[test]
fn a_lost_member_may_always_return() {
    let mut lane = lane_with(|limits| limits.changes = 1);
    lane.join(who(AL, 1, 1), &["rooms/a/#"]);
    for connection in 2..20 {
        lane.lose(who(AL, 1, connection - 1));
        lane.join(who(AL, 1, connection), &["rooms/a/#"]);
    }
}

fn cards(effects: &[Effect]) -> Vec<String> {
    let mut all = brief(effects);
    all.retain(|effect| effect.contains("_info") || effect.starts_with("wake a "));
    all
}

#[test]
fn the_card_is_published_once_an_interval_and_the_last_is_exact() {
    let mut lane = lane_with(|limits| limits.info_interval = 1_000);
    let join = |lane: &mut Lane, n: u64| {
        let user = format!("u{n}");
        cards(&lane.join(who(&user, n, 1), &["rooms/a/#"]))
    };
    assert_eq!(join(&mut lane, 1), ["rooms/a/_info! count=1"]);
    lane.now += 10;
    let user = "u2".to_owned();
    let effects = lane.join(who(&user, 2, 1), &["rooms/a/#"]);
    assert_eq!(cards(&effects), ["wake a 1001000"]);
    let (key, generation) = wake(&effects);
    for n in 3..50 {
        assert_eq!(join(&mut lane, n), Vec::<String>::new());
    }
    assert_eq!(lane.timer(&key, generation - 1), [], "a stale timer");
    lane.now += 990;
    let effects = lane.timer(&key, generation);
    assert_eq!(cards(&effects), ["rooms/a/_info! count=49"]);
    assert_eq!(lane.timer(&key, generation), []);
    lane.now += 1_000;
    assert_eq!(join(&mut lane, 50), ["rooms/a/_info! count=50"]);
}

#[test]
fn the_card_of_a_room_that_ends_is_cleared_at_once() {
    let mut lane = lane_with(|limits| limits.info_interval = 1_000);
    let al = who(AL, 1, 1);
    lane.join(al, &["rooms/a/#"]);
    let effects = lane.unsubscribe(al, &["rooms/a/#"]);
    assert_eq!(cards(&effects), ["rooms/a/_info! -"]);
    assert!(lane.is_empty());
}

fn is_full(refusal: &Refusal) -> bool {
    refusal.code == ReasonCode::QuotaExceeded
        && refusal
            .reason
            .starts_with("full: a user may create 2 rooms")
}

#[test]
fn a_user_creates_so_many_rooms_and_others_do_not_notice() {
    let mut lane = lane_with(|limits| (limits.user_rooms, limits.lane_user_rooms) = (2, 2));
    let (al, bob) = (who(AL, 1, 1), who("bob", 2, 1));
    lane.send(al, "rooms/a/x", "1", true, false).0.unwrap();
    let (refusals, effects) = lane.subscribe(al, &["rooms/b/#", "rooms/c/#"]);
    assert!(refusals.len() == 1 && refusals.iter().all(is_full));
    assert!(effects.contains(&Effect::Count("rooms_per_user")));
    let (refused, _) = lane.send(al, "rooms/d/x", "1", true, false);
    assert!(is_full(&refused.unwrap_err()));
    // A room that a rule names in full does not count.
    lane.join(al, &["rooms/duo/#"]);
    lane.join(bob, &["rooms/c/#", "rooms/d/#"]);
    lane.join(al, &["rooms/c/#"]);
    lane.send(al, "rooms/c/x", "1", true, false).0.unwrap();
    // A room counts until it is removed, though its creator has left it.
    lane.send(bob, "rooms/b/x", "1", true, false).0.unwrap();
    lane.unsubscribe(al, &["rooms/b/#"]);
    assert_eq!(lane.subscribe(al, &["rooms/e/#"]).0.len(), 1);
    lane.send(al, "rooms/a/x", "", true, true).0.unwrap();
    lane.join(al, &["rooms/e/#"]);
}

const MINUTES_5: u64 = 300_000;

#[test]
fn a_room_without_members_ends_and_its_retained_messages_with_it() {
    let mut lane = lane_with(|_| {});
    let al = who(AL, 1, 1);
    let (_, effects) = lane.send(al, "rooms/a/x", "1", true, false);
    assert_eq!(
        brief(&effects),
        ["rooms/a/_info! count=0", "wake a/ 1300000"]
    );
    let (key, generation) = wake(&effects);
    // The creator's messages put it off.
    lane.now += MINUTES_5 - 1;
    lane.send(al, "rooms/a/x", "2", false, false).0.unwrap();
    lane.now += 1;
    let effects = lane.timer(&key, generation);
    assert_eq!(brief(&effects), ["wake a/ 1599999"]);
    // Others do not.
    lane.now += MINUTES_5 - 1;
    lane.send(who("bob", 2, 1), "rooms/a/x", "3", true, true)
        .0
        .unwrap();
    let effects = lane.timer(&key, generation);
    assert_eq!(
        brief(&effects),
        ["count rooms_ended", "rooms/a/_info! -", "clear rooms/a"]
    );
    assert!(lane.is_empty());
}

#[test]
fn a_room_with_members_does_not_end() {
    let (mut lane, al) = (lane_with(|_| {}), who(AL, 1, 1));
    let (_, effects) = lane.send(al, "rooms/a/x", "1", true, false);
    let (key, stale) = wake(&effects);
    lane.join(al, &["rooms/a/#"]);
    lane.now += 2 * MINUTES_5;
    assert_eq!(lane.timer(&key, stale), []);
    let effects = lane.unsubscribe(al, &["rooms/a/#"]);
    let (key, generation) = wake(&effects);
    assert_eq!(lane.timer(&key, stale), []);
    lane.now += MINUTES_5;
    assert_eq!(lane.timer(&key, generation).len(), 3);
    // A rule names this one in full.
    let (_, effects) = lane.send(al, "rooms/duo/x", "1", true, false);
    assert_eq!(brief(&effects), ["rooms/duo/_info! count=0"]);
}

#[test]
fn a_new_room_replaces_one_without_members() {
    let mut lane = lane_with(|limits| limits.lane_rooms = 3);
    let (al, eve) = (who(AL, 1, 1), who("~eve", 2, 1));
    lane.join(al, &["rooms/a/#"]);
    for room in ["rooms/b/x", "rooms/c/x"] {
        lane.now += 1;
        lane.send(eve, room, "1", true, false).0.unwrap();
    }
    let (refusals, effects) = lane.subscribe(al, &["rooms/d/#"]);
    assert_eq!(refusals, []);
    assert_eq!(
        brief(&effects)[..3],
        ["count rooms_replaced", "rooms/b/_info! -", "clear rooms/b"]
    );
    lane.send(al, "rooms/e/x", "1", true, false).0.unwrap();
    assert_eq!(lane.hook.rooms.len(), 3);
    // A stranger replaces no room of a user.
    assert!(lane.send(eve, "rooms/f/x", "1", true, false).0.is_err());
    lane.join(who("bob", 3, 1), &["rooms/g/#"]);
    assert_eq!(
        lane.subscribe(al, &["rooms/h/#"]).0.len(),
        1,
        "all have members"
    );
}

#[test]
fn limits_hold_in_a_restored_lane() {
    let limits = |limits: &mut RoomLimits| {
        (limits.changes, limits.info_interval) = (1, 1_000);
        limits.lane_user_rooms = 2;
    };
    let (mut lane, al) = (lane_with(limits), who(AL, 1, 1));
    lane.join(al, &["rooms/a/#", "rooms/b/#"]);
    let (_, effects) = lane.send(who("bob", 2, 1), "rooms/c/x", "1", true, false);
    let (empty, ends) = wake(&effects);
    let effects = lane.join(who("bob", 2, 1), &["rooms/a/#"]);
    let (info, due) = wake(&effects);
    let mut bytes = Vec::new();
    let version = lane.hook.snapshot(&mut bytes);
    let mut restored = lane_with(limits);
    restored.hook.restore(version, &bytes).unwrap();
    for lane in [&mut lane, &mut restored] {
        assert_eq!(lane.subscribe(al, &["rooms/d/#"]).0.len(), 1);
        lane.unsubscribe(al, &["rooms/a/#"]);
        assert_eq!(lane.subscribe(al, &["rooms/a/#"]).0.len(), 1);
        lane.now += MINUTES_5;
        assert_eq!(brief(&lane.timer(&info, due)), ["rooms/a/_info! count=1"]);
        assert_eq!(lane.timer(&empty, ends).len(), 3);
    }
}
