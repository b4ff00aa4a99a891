use super::*;
use proptest::prelude::*;

#[test]
fn topics_have_the_kind_of_their_first_levels() {
    let room = |room, rest| TopicKind::Room { room, rest };
    let inbox = |user, rest| TopicKind::Inbox { user, rest };
    for (topic, expected) in [
        ("rooms", TopicKind::Rooms),
        ("rooms/", room("", None)),
        ("rooms/a", room("a", None)),
        ("rooms/a/", room("a", Some(""))),
        ("rooms/a/b/c", room("a", Some("b/c"))),
        ("roomsy/a", TopicKind::Outside),
        ("/rooms/a", TopicKind::Outside),
        ("inbox", TopicKind::Inboxes),
        ("inbox/al", inbox("al", None)),
        ("inbox/al/dm/bob", inbox("al", Some("dm/bob"))),
        ("inboxes/al", TopicKind::Outside),
        ("$SYS/rooms", TopicKind::Outside),
    ] {
        assert_eq!(kind(topic), expected, "{topic}");
    }
}

#[test]
fn filters_have_the_scope_of_what_they_match() {
    let join = |room| FilterScope::Room { room, peek: false };
    let peek = |room| FilterScope::Room { room, peek: true };
    for (filter, expected) in [
        ("#", FilterScope::Spanning),
        ("+", FilterScope::Spanning),
        ("+/lobby/x", FilterScope::Spanning),
        ("rooms/#", FilterScope::Spanning),
        ("rooms/+", FilterScope::Spanning),
        ("rooms/+/_info", FilterScope::Spanning),
        ("inbox/+/error", FilterScope::Spanning),
        ("inbox/#", FilterScope::Spanning),
        ("rooms", FilterScope::Nothing),
        ("inbox", FilterScope::Nothing),
        ("rooms/a", join("a")),
        ("rooms/a/#", join("a")),
        ("rooms/a/+", join("a")),
        ("rooms/a/+/alice", join("a")),
        ("rooms/a/_events", join("a")),
        ("rooms/a/_information", join("a")),
        ("rooms/a/_info", peek("a")),
        ("rooms/a/_presence", peek("a")),
        ("rooms/a/_presence/#", peek("a")),
        ("rooms/a/_presence/+", peek("a")),
        ("inbox/al/#", FilterScope::Inbox { user: "al" }),
        ("a/rooms/#", FilterScope::Outside),
        ("$SYS/#", FilterScope::Outside),
    ] {
        assert_eq!(scope(filter), expected, "{filter}");
    }
}

#[test]
fn room_names_are_what_the_protocol_allows() {
    let longest = "a".repeat(64);
    for good in ["a", "Lobby-1", "a.b_c~d", "~x", ".", longest.as_str()] {
        assert_eq!(room_name(good), Ok(good));
    }
    let too_long = "a".repeat(65);
    for bad in ["", "_a", "a b", "é", "a$", "a%", too_long.as_str()] {
        assert!(room_name(bad).is_err(), "{bad}");
    }
}

#[test]
fn reserved_user_names_are_refused() {
    for bad in ["", "me", "~a", "_a"] {
        assert_eq!(user_name(bad), Err(BadUserName::Reserved));
    }
    for good in ["alice", "mel", "a/b", "Zoë", "a~"] {
        assert_eq!(user_name(good), Ok(good));
    }
}

#[test]
fn characters_that_a_level_cannot_contain_are_encoded() {
    assert_eq!(user_level("Zoë b"), "Zoë b");
    assert_eq!(user_level("a/b+c#d%e\n"), "a%2Fb%2Bc%23d%25e%0A");
    assert_eq!(user_level("\u{85}"), "%C2%85");
    assert_eq!(anonymous_level("x/1").as_deref(), Ok("~x%2F1"));
    assert!(is_anonymous("~x") && !is_anonymous("x~"));
}

#[test]
fn names_that_are_too_long_for_a_level_are_refused() {
    for (c, bytes, most) in [("a", 1, 128), ("é", 2, 64), ("/", 3, 42)] {
        let (longest, longer) = (c.repeat(most), c.repeat(most + 1));
        assert_eq!(user_name(&longest), Ok(&*longest));
        assert_eq!(user_level(&longest).len(), most * bytes);
        let too_long = BadUserName::TooLong((most + 1) * bytes);
        assert_eq!(user_name(&longer), Err(too_long));
        // The `~` of an anonymous user counts.
        let most = (USER_NAME_BYTES - 1) / bytes;
        assert!(anonymous_level(&c.repeat(most)).is_ok());
        let refused = anonymous_level(&c.repeat(most + 1));
        assert_eq!(refused, Err(LongClientId((most + 1) * bytes)));
    }
}

#[test]
fn me_is_the_callers_own_inbox() {
    assert_eq!(own_inbox("inbox/me", "al").as_deref(), Some("inbox/al"));
    assert_eq!(own_inbox("inbox/me/#", "al").as_deref(), Some("inbox/al/#"));
    assert_eq!(own_inbox("inbox/mel/#", "al"), None);
    assert_eq!(own_inbox("x/inbox/me", "al"), None);
    assert!(is_direct_message("dm/al", "al"));
    assert!(!is_direct_message("dm/al/x", "al"));
    assert!(!is_direct_message("dm/bob", "al"));
    assert!(!is_direct_message("reply", "al"));
}

proptest! {
    #[test]
    fn a_user_level_is_one_level_of_known_length(name in any::<String>()) {
        let level = user_level(&name);
        prop_assert_eq!(level.len(), level_bytes(&name));
        prop_assert!(!level.contains(['/', '+', '#', '\0']));
        prop_assert!(!level.chars().any(char::is_control));
    }

    #[test]
    fn user_levels_stay_different(a in "[ab/%+25F]{0,8}", b in "[ab/%+25F]{0,8}") {
        prop_assert_eq!(a == b, user_level(&a) == user_level(&b));
    }

    #[test]
    fn built_topics_are_parsed(room in "[A-Za-z0-9.~-]{1,64}", user in any::<String>()) {
        let user = user_level(&user);
        let (entry, all, error) =
            (presence(&room, &user), room_filter(&room), inbox_error(&user));
        let rest = format!("_presence/{user}");
        let room = room.as_str();
        prop_assert_eq!(kind(&entry), TopicKind::Room { room, rest: Some(&rest) });
        prop_assert_eq!(scope(&all), FilterScope::Room { room, peek: false });
        let (user, rest) = (user.as_str(), Some("error"));
        prop_assert_eq!(kind(&error), TopicKind::Inbox { user, rest });
    }
}

proptest! {
    #[test]
    fn names_are_decoded_from_their_levels(name in any::<String>()) {
        let level = user_level(&name);
        prop_assert_eq!(name_of_level(&level), name);
    }
}
