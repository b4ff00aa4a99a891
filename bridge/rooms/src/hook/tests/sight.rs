//! What a subscriber with a spanning filter may see.

use super::*;

#[test]
fn rooms_are_seen_by_sessions_of_members() {
    let mut lane = open();
    let (phone, laptop, bob) = (who("al", 1, 1), who("al", 2, 2), who("bob", 3, 3));
    let all = [
        "rooms/staff-1",
        "rooms/staff-1/x",
        "rooms/staff-1/_events",
        "rooms/staff-1/_info",
    ];
    let seen = |lane: &Lane, who, topics: &[&str]| {
        topics
            .iter()
            .filter(|topic| lane.hook.may_see(who, topic))
            .count()
    };
    lane.join(phone, &["rooms/staff-1/#"]);
    assert_eq!(seen(&lane, phone, &all), 4);
    assert_eq!(
        seen(&lane, laptop, &all),
        0,
        "another session of the user is not in"
    );
    assert_eq!(seen(&lane, bob, &all), 0);
    lane.lose(phone);
    assert_eq!(seen(&lane, phone, &all), 0);
}

#[test]
fn the_info_of_open_rooms_is_seen_by_all_even_when_it_is_cleared() {
    let (mut lane, bob) = (open(), who("bob", 3, 3));
    lane.join(who("al", 1, 1), &["rooms/a/#"]);
    assert!(lane.hook.may_see(bob, "rooms/a/_info"));
    assert!(!lane.hook.may_see(bob, "rooms/a/_info/x"));
    assert!(!lane.hook.may_see(bob, "rooms/a/_presence/al"));
    lane.orderly(who("al", 1, 1));
    assert!(lane.hook.may_see(bob, "rooms/a/_info"));
    assert!(!lane.hook.may_see(bob, "rooms/staff-1/_info"));
    assert!(!lane.hook.may_see(bob, "rooms/a"));
}

#[test]
fn inboxes_are_seen_by_their_owner_and_the_rest_by_other_rules() {
    let (lane, bob) = (open(), who("bob", 3, 3));
    assert!(lane.hook.may_see(bob, "inbox/bob/error"));
    assert!(!lane.hook.may_see(bob, "inbox/al/error"));
    assert!(!lane.hook.may_see(bob, "inbox"));
    assert!(!lane.hook.may_see(bob, "rooms"));
    assert!(lane.hook.may_see(bob, "sensors/1"));
    let lane = Lane::beside(Outside(false), policies(Creators::Anyone, LIMITS));
    assert!(!lane.hook.may_see(bob, "sensors/1"));
    assert!(lane.hook.may_see(bob, "inbox/bob/error"));
}
