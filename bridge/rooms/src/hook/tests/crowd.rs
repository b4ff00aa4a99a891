//! The limit of rooms.

use super::super::super::room_policy::RoomLimits;
use super::*;

const FULL: &str = "full: the server has 3 rooms; join one that is there, or try later";

/// A lane with a limit of `rooms`.
fn lane_of(rooms: usize) -> Lane {
    let limits = RoomLimits {
        rooms,
        lane_rooms: rooms,
        ..LIMITS
    };
    Lane::new(policies(Creators::Anyone, limits))
}

fn is_full(refusal: &Refusal) -> bool {
    refusal.code == ReasonCode::QuotaExceeded && refusal.reason == FULL
}

#[test]
fn a_join_creates_no_room_above_the_limit() {
    let (mut lane, al) = (lane_of(3), who("al", 1, 1));
    lane.join(al, &["rooms/a/#", "rooms/b/#", "rooms/c"]);
    let (refusals, effects) = lane.subscribe(who("bob", 2, 2), &["rooms/d/#"]);
    assert!(refusals.iter().all(is_full) && refusals.len() == 1);
    assert_eq!(effects, [Effect::Count("rooms")]);
    // Existing rooms accept members, and a peek creates no room.
    lane.join(who("bob", 2, 2), &["rooms/a/#", "rooms/d/_info"]);
    // A room that is removed makes capacity for another.
    lane.unsubscribe(al, &["rooms/c"]);
    lane.join(who("bob", 2, 2), &["rooms/d/#"]);
}

#[test]
fn one_packet_creates_no_rooms_above_the_limit() {
    let (mut lane, al) = (lane_of(3), who("al", 1, 1));
    lane.join(al, &["rooms/a/#"]);
    let filters = [
        "rooms/b/#",
        "rooms/b/x",
        "rooms/c/#",
        "rooms/d/#",
        "rooms/b/y",
        "rooms/a/x",
    ];
    let (refusals, _) = lane.subscribe(al, &filters);
    assert!(refusals.iter().all(is_full) && refusals.len() == 1);
    assert_eq!(lane.hook.rooms.len(), 3);
}

#[test]
fn a_retained_message_creates_no_room_above_the_limit() {
    let (mut lane, al) = (lane_of(3), who("al", 1, 1));
    lane.join(al, &["rooms/a/#", "rooms/b/#", "rooms/c/#"]);
    let (refused, effects) = lane.send(al, "rooms/d/x", "1", true, false);
    assert!(is_full(&refused.unwrap_err()));
    assert_eq!(effects, [Effect::Count("rooms")]);
    // Messages that create no room are accepted, and so are retained messages in existing rooms.
    assert!(lane.send(al, "rooms/d/x", "1", false, false).0.is_ok());
    assert!(lane.send(al, "rooms/d/x", "", true, false).0.is_ok());
    assert!(lane.send(al, "rooms/a/y", "1", true, false).0.unwrap().keep);
    lane.unsubscribe(al, &["rooms/c/#"]);
    assert!(lane.send(al, "rooms/d/x", "1", true, false).0.unwrap().keep);
}

#[test]
fn a_room_that_a_rule_names_in_full_can_always_be_created() {
    let (mut lane, al) = (lane_of(3), who("al", 1, 1));
    lane.join(al, &["rooms/a/#", "rooms/b/#", "rooms/c/#", "rooms/duo/#"]);
    assert!(
        lane.send(al, "rooms/staff-open/x", "1", true, false)
            .0
            .unwrap()
            .keep
    );
    // A glob could match any number of rooms.
    let (refusals, _) = lane.subscribe(al, &["rooms/talk-1/#"]);
    assert!(is_full(&refusals[0]));
}

#[test]
fn a_lost_member_keeps_its_room() {
    let (mut lane, al) = (lane_of(3), who("al", 1, 1));
    lane.join(al, &["rooms/a/#", "rooms/b/#", "rooms/c/#"]);
    let (key, generation) = wake(&lane.lose(al));
    assert_eq!(lane.subscribe(who("bob", 2, 2), &["rooms/d/#"]).0.len(), 1);
    lane.timer(&key, generation);
    lane.join(who("bob", 2, 2), &["rooms/d/#"]);
}
