//! Messages: senders, offsets, retained messages, stamps.

use super::super::super::room_policy::RoomLimits;
use super::*;

#[test]
fn each_message_has_the_next_offset_and_its_stamps() {
    let (mut lane, al) = (open(), who("al", 1, 1));
    lane.join(al, &["rooms/a/#"]);
    let mark = |lane: &mut Lane| lane.send(al, "rooms/a", "x", false, false).0.unwrap().mark;
    let (first, second) = (mark(&mut lane), mark(&mut lane));
    assert_eq!((first.0, first.1, second.1), (second.0, 1, 2));
    let stamps = lane.hook.stamps(al, "rooms/a/x", second, WallTime(1_500));
    let seq = epoch::seq(second).unwrap();
    assert!(seq.ends_with(":2"));
    assert_eq!(
        stamps,
        [
            ("from", Some("al".to_owned())),
            ("at", Some("1970-01-01T00:00:01.500Z".to_owned())),
            ("seq", Some(seq)),
            ("replay", None),
        ]
    );
    let names = |topic| {
        let stamps = lane
            .hook
            .stamps(al, topic, Mark::default(), WallTime(0))
            .into_iter();
        stamps
            .map(|(name, value)| (name, value.is_some()))
            .collect::<Vec<_>>()
    };
    let unborn = [
        ("from", true),
        ("at", true),
        ("seq", false),
        ("replay", false),
    ];
    assert_eq!(names("rooms/b"), unborn);
    assert_eq!(names("inbox/bob/dm/al"), [("from", true), ("at", true)]);
    assert_eq!(names("sensors/1"), []);
}

#[test]
fn members_only_counts_any_device_of_the_user() {
    let (mut lane, al) = (open(), who("al", 1, 1));
    let refused = |lane: &mut Lane, who| {
        let refusal = lane
            .send(who, "rooms/talk-1", "x", true, false)
            .0
            .unwrap_err();
        assert_eq!(refusal.code, ReasonCode::NotAuthorized);
        assert_eq!(
            refusal.reason,
            "join the room first: SUBSCRIBE to rooms/talk-1/#"
        );
    };
    refused(&mut lane, al);
    assert!(lane.is_empty());
    lane.join(al, &["rooms/talk-1/#"]);
    refused(&mut lane, who("bob", 2, 2));
    let verdict = lane
        .send(who("al", 9, 9), "rooms/talk-1/y", "x", false, false)
        .0
        .unwrap();
    assert_eq!(verdict.mark.1, 1, "a refused message takes no offset");
}

#[test]
fn retained_messages_create_and_keep_a_room() {
    let (mut lane, al) = (open(), who("al", 1, 1));
    let (passing, effects) = lane.send(al, "rooms/a/x", "1", false, false);
    assert_eq!((passing.unwrap().mark, effects), (Mark::default(), vec![]));
    assert!(lane.is_empty(), "no retained message, no room");
    let (cleared, effects) = lane.send(al, "rooms/a/x", "", true, false);
    assert_eq!((cleared.unwrap().mark, effects), (Mark::default(), vec![]));
    assert!(lane.is_empty());

    let (kept, effects) = lane.send(al, "rooms/a/x", "1", true, false);
    assert!(kept.unwrap().keep);
    assert_eq!(
        brief(&effects),
        ["rooms/a/_info! count=0", "wake a/ 1300000"]
    );
    let (replaced, effects) = lane.send(al, "rooms/a/x", "2", true, true);
    let verdict = replaced.unwrap();
    assert_eq!((verdict.keep, verdict.mark.1, effects), (true, 2, vec![]));
    // Members join and leave; the room stays.
    lane.join(al, &["rooms/a/#"]);
    let left = brief(&lane.orderly(al));
    assert_eq!(left[left.len() - 2], "rooms/a/_info! count=0");
    assert_eq!(left.last().unwrap(), "wake a/ 1300000");
    let (cleared, effects) = lane.send(al, "rooms/a/x", "", true, true);
    assert!(cleared.unwrap().keep);
    assert_eq!(brief(&effects), ["rooms/a/_info! -"]);
    assert!(lane.is_empty());
}

#[test]
fn each_life_of_a_room_has_its_own_epoch() {
    let (mut lane, al) = (open(), who("al", 1, 1));
    let mut epochs = Vec::new();
    for _ in 0..3 {
        lane.join(al, &["rooms/a/#"]);
        epochs.push(
            lane.send(al, "rooms/a", "x", false, false)
                .0
                .unwrap()
                .mark
                .0,
        );
        lane.orderly(al);
    }
    epochs.dedup();
    assert_eq!(epochs.len(), 3);
}

#[test]
fn retained_messages_above_the_limit_are_delivered_and_reported() {
    let keeping = |retained| {
        let limits = RoomLimits { retained, ..LIMITS };
        Lane::new(policies(Creators::Anyone, limits))
    };
    let (mut lane, al) = (keeping(2), who("al", 1, 1));
    let keep = |lane: &mut Lane, topic: &str, payload: &str, replaces| {
        let (verdict, effects) = lane.send(al, topic, payload, true, replaces);
        let told = effects
            .iter()
            .any(|effect| matches!(effect, Effect::Refuse(_)));
        (verdict.unwrap().keep, told)
    };
    assert_eq!(keep(&mut lane, "rooms/a", "1", false), (true, false));
    assert_eq!(keep(&mut lane, "rooms/a/2", "1", false), (true, false));
    assert_eq!(keep(&mut lane, "rooms/a/3", "1", false), (false, true));
    assert_eq!(keep(&mut lane, "rooms/a/4", "1", false), (false, true));
    assert_eq!(keep(&mut lane, "rooms/a/2", "2", true), (true, false));
    assert_eq!(keep(&mut lane, "rooms/a/2", "", true), (true, false));
    assert_eq!(keep(&mut lane, "rooms/a/3", "1", false), (true, false));
    let effects = lane.send(al, "rooms/a/4", "1", true, false).1;
    let [Effect::Refuse(refusal)] = &effects[..] else {
        panic!("{effects:?}");
    };
    assert_eq!(refusal.code, ReasonCode::RetainNotSupported);
    assert_eq!(
        refusal.reason,
        "delivered but not kept: a room keeps 2 retained messages"
    );

    let mut lane = keeping(0);
    assert_eq!(keep(&mut lane, "rooms/a", "1", false), (false, true));
    assert!(lane.is_empty());
}

#[test]
fn a_message_creates_no_room_that_its_sender_may_not_create() {
    let mut lane = Lane::new(policies(Creators::Authenticated, LIMITS));
    let (guest, al) = (who("~g", 1, 1), who("al", 2, 2));
    for retain in [false, true] {
        let refusal = lane
            .send(guest, "rooms/a", "x", retain, false)
            .0
            .unwrap_err();
        assert_eq!(refusal.code, ReasonCode::NotAuthorized);
        assert!(
            lane.send(guest, "rooms/duo", "x", false, false).0.is_ok(),
            "named by a rule"
        );
    }
    assert!(lane.is_empty());
    assert!(lane.send(al, "rooms/a", "x", true, false).0.unwrap().keep);
    assert!(
        lane.send(guest, "rooms/a", "x", false, false).0.is_ok(),
        "it exists now"
    );
}

#[test]
fn inboxes_retain_nothing_and_other_topics_everything() {
    let (mut lane, al) = (open(), who("al", 1, 1));
    let (dm, effects) = lane.send(al, "inbox/bob/dm/al", "x", true, false);
    assert!(!dm.unwrap().keep);
    assert_eq!(brief(&effects), ["refuse RetainNotSupported"]);
    let (dm, effects) = lane.send(al, "inbox/bob/dm/al", "x", false, false);
    assert_eq!((dm.unwrap().mark, effects), (Mark::default(), vec![]));
    let (other, effects) = lane.send(al, "sensors/1", "x", true, false);
    assert!(other.unwrap().keep && effects.is_empty());
}

#[test]
fn expired_retained_messages_do_not_count() {
    let (mut lane, al) = (open(), who("al", 1, 1));
    lane.send(al, "rooms/a/x", "1", true, false).0.unwrap();
    lane.send(al, "rooms/a/y", "1", true, false).0.unwrap();
    let mut end = |topic: &str| {
        let ((), effects) = lane.entry(|hook, cx| hook.expired(cx, topic));
        (brief(&effects), lane.is_empty())
    };
    assert_eq!(end("rooms/a/x"), (vec![], false));
    assert_eq!(
        end("rooms/a/y"),
        (vec!["rooms/a/_info! -".to_owned()], true)
    );
    assert_eq!(end("outside"), (vec![], true));
}
