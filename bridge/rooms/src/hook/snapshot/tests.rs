#![allow(clippy::unwrap_used)]
use super::super::super::room_policy::tests::{LIMITS, policies};
use super::super::super::room_policy::{Creators, RoomLimits};
use super::super::super::topics;
use super::super::tests::{Lane, who};
use super::*;
use proptest::prelude::*;
use roommq_lane::{LaneHook, Message};

fn empty() -> Lane {
    Lane::new(policies(Creators::Anyone, LIMITS))
}

/// Members with one and two devices, one with a device of an earlier connection, a lost member, and
/// a room with a retained message alone.
fn lane() -> Lane {
    let mut lane = empty();
    let both = ["rooms/duo/#", "rooms/talk-1/#", "rooms/talk-1/x"];
    lane.join(who("al", 1, 1), &both);
    lane.join(who("al", 2, 1), &both);
    lane.join(who("bob", 3, 1), &both[..1]);
    lane.join(who("al", 1, 2), &both[..1]);
    lane.lose(who("bob", 3, 1));
    let topic = topics::room("lobby");
    let message = Message {
        topic: &topic,
        payload: b"x",
        retain: true,
        replaces: false,
    };
    let (verdict, _) = lane.entry(|hook, cx| hook.publish(cx, who("bob", 4, 1), message));
    assert!(verdict.unwrap().keep);
    lane
}

fn snapshot(lane: &Lane) -> Vec<u8> {
    let mut bytes = Vec::new();
    assert_eq!(lane.hook.snapshot(&mut bytes), VERSION);
    bytes
}

#[test]
fn a_restored_hook_has_the_same_snapshot_and_the_same_effects() {
    let mut lane = lane();
    let mut restored = empty();
    let bytes = snapshot(&lane);
    restored.hook.restore(VERSION, &bytes).unwrap();
    assert_eq!(snapshot(&restored), bytes);
    for lane in [&mut lane, &mut restored] {
        assert!(lane.hook.may_see(who("al", 2, 1), "rooms/talk-1/x"));
    }
    for user in [who("al", 1, 2), who("al", 2, 1)] {
        assert_eq!(lane.lose(user), restored.lose(user));
    }
    assert_eq!(snapshot(&restored), snapshot(&lane));
}

#[test]
fn a_restored_room_has_the_policy_of_its_lanes_rules() {
    let bytes = snapshot(&lane());
    let smaller = RoomLimits {
        lane_rooms: 0,
        ..LIMITS
    };
    let mut restored = Lane::new(policies(Creators::Anyone, smaller));
    restored.hook.restore(VERSION, &bytes).unwrap();
    // The rules allow no more rooms, and two members of `duo`.
    let (refusals, _) = restored.subscribe(who("carol", 5, 1), &["rooms/new/#", "rooms/duo/#"]);
    assert_eq!(refusals.len(), 2);
    let (refusals, _) = restored.subscribe(who("carol", 5, 1), &["rooms/talk-1/#"]);
    assert_eq!(refusals, []);
}

#[test]
fn a_state_of_a_newer_version_is_refused() {
    let mut lane = lane();
    let bytes = snapshot(&lane);
    let error = RestoreError::NeedsReader {
        needed: 3,
        known: 2,
    };
    assert_eq!(lane.hook.restore(3, &bytes), Err(error));
    assert_eq!(snapshot(&lane), bytes);
}

proptest! {
    #[test]
    fn a_damaged_state_is_restored_in_whole_or_not_at_all(
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
        length: prop::sample::Index,
    ) {
        let mut bytes = snapshot(&lane());
        for (at, value) in changes {
            let at = at.index(bytes.len());
            bytes[at] = value;
        }
        bytes.truncate(length.index(2 * bytes.len()));
        let mut restored = empty();
        let before = snapshot(&restored);
        if restored.hook.restore(VERSION, &bytes).is_err() {
            prop_assert_eq!(snapshot(&restored), before);
        } else {
            let bytes = snapshot(&restored);
            let mut again = empty();
            again.hook.restore(VERSION, &bytes).unwrap();
            prop_assert_eq!(snapshot(&again), bytes);
            restored.lose(who("al", 2, 1));
        }
    }
}
