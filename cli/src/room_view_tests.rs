#![allow(clippy::unwrap_used, clippy::expect_used)]
use super::*;

fn view(json: bool) -> RoomView {
    RoomView::new("lobby", "me", json, TimeZone::UTC)
}

fn now() -> Timestamp {
    "2026-03-01T12:00:00Z".parse().unwrap()
}

fn live(topic: &str, payload: &str) -> ReceivedMessage {
    ReceivedMessage {
        topic: topic.to_owned(),
        payload: payload.to_owned().into(),
        ..ReceivedMessage::default()
    }
}

fn retained(topic: &str, payload: &str) -> ReceivedMessage {
    ReceivedMessage {
        retain: true,
        ..live(topic, payload)
    }
}

fn stamped(topic: &str, payload: &str) -> ReceivedMessage {
    let pairs = [
        ("from", "alice"),
        ("at", "2026-03-01T12:03:04.567Z"),
        ("seq", "e:7"),
    ];
    ReceivedMessage {
        user_properties: pairs.map(|(k, v)| (k.to_owned(), v.to_owned())).to_vec(),
        ..live(topic, payload)
    }
}

fn settled() -> RoomView {
    let mut view = view(false);
    view.settle();
    view
}

#[test]
fn the_roster_is_one_line_before_live_messages() {
    let mut view = view(false);
    let online = r#"{"user":"x","state":"online"}"#;
    let lost = r#"{"user":"x","state":"lost"}"#;
    assert!(
        view.take(&retained("rooms/lobby/_presence/alice", online), now())
            .is_empty()
    );
    assert!(
        view.take(&retained("rooms/lobby/_presence/bob", lost), now())
            .is_empty()
    );
    assert!(
        view.take(&retained("rooms/lobby/_info", "{}"), now())
            .is_empty()
    );
    assert!(view.take(&live("inbox/me/error", "{}"), now()).len() == 1);
    assert_eq!(
        view.take(&live("rooms/lobby/_presence/me", online), now()),
        ["* here: alice, bob (lost), me"]
    );
    assert!(
        view.take(&live("rooms/lobby/_presence/alice", ""), now())
            .is_empty()
    );
    assert_eq!(view.who(), "* here: bob (lost), me");
    assert_eq!(view.settle(), None);
}

#[test]
fn a_roster_without_live_messages_is_shown_on_request() {
    let mut view = view(false);
    assert_eq!(view.settle().as_deref(), Some("* here: me"));
    assert_eq!(view.settle(), None);
}

#[test]
fn messages_have_time_name_and_text() {
    let mut view = settled();
    assert_eq!(
        view.take(&stamped("rooms/lobby", "hi"), now()),
        ["12:03:04 alice: hi"]
    );
    assert_eq!(
        view.take(&stamped("rooms/lobby/a/b", "1"), now()),
        ["12:03:04 alice [a/b]: 1"]
    );
    assert_eq!(
        view.take(&live("rooms/lobby", "\x1b[2J"), now()),
        ["12:00:00 ?: \\u{1b}[2J"]
    );
    assert!(view.take(&live("rooms/other", "x"), now()).is_empty());
}

#[test]
fn control_characters_from_the_network_are_escaped() {
    let mut view = settled();
    let mut message = stamped("rooms/lobby/\u{1b}c", "x");
    message.user_properties[0].1 = "al\rice".to_owned();
    message.user_properties[1].1 = "\u{1b}]0;".to_owned();
    let presence = retained(
        "rooms/lobby/_presence/\u{1b}[1m",
        r#"{"state":"on\u001bline"}"#,
    );
    let event = live(
        "rooms/lobby/_events",
        r#"{"event":"\u001b","user":"\u001b","reason":"\u001b"}"#,
    );
    let error = live("inbox/me/error", r#"{"reason":"\u001b","topic":"\u001b"}"#);
    let direct = live("inbox/me/dm/\u{1b}", "\u{7}");
    let mut lines: Vec<String> = [message, presence, event, error, direct]
        .iter()
        .flat_map(|message| view.take(message, now()))
        .collect();
    lines.push(view.who());
    assert_eq!(lines.len(), 5);
    for line in lines {
        assert!(!line.contains(char::is_control), "{line:?}");
    }
}

#[test]
fn notices() {
    let mut view = settled();
    for (payload, line) in [
        (r#"{"event":"joined","user":"bob"}"#, "* bob joined"),
        (
            r#"{"event":"lost","user":"bob","reason":"connection lost"}"#,
            "* bob lost (connection lost)",
        ),
        (r#"{"event":"back","user":"bob"}"#, "* bob is back"),
        (
            r#"{"event":"left","user":"bob","reason":"lost"}"#,
            "* bob left",
        ),
        (
            r#"{"event":"kicked","user":"bob","reason":"rude"}"#,
            "* bob kicked (rude)",
        ),
    ] {
        assert_eq!(
            view.take(&live("rooms/lobby/_events", payload), now()),
            [line]
        );
    }
    for silent in [r#"{"event":"joined","user":"me"}"#, "no json", "[]", "{}"] {
        assert!(
            view.take(&live("rooms/lobby/_events", silent), now())
                .is_empty(),
            "{silent}"
        );
    }
}

#[test]
fn the_inbox_is_shown() {
    let mut view = settled();
    let error = r#"{"error":"full","reason":"full, 2 of 2","topic":"rooms/duo"}"#;
    assert_eq!(
        view.take(&live("inbox/me/error", error), now()),
        ["! rooms/duo: full, 2 of 2"]
    );
    assert_eq!(
        view.take(&stamped("inbox/me/dm/bob", "psst"), now()),
        ["12:03:04 bob (to you): psst"]
    );
}

#[test]
fn json_is_one_object_for_each_message() {
    let mut view = view(true);
    let mut one = |message: &ReceivedMessage| -> Value {
        let lines = view.take(message, now());
        assert_eq!(lines.len(), 1);
        assert!(!lines[0].contains('\n'));
        serde_json::from_str(&lines[0]).unwrap()
    };
    assert_eq!(
        one(&stamped("rooms/lobby", "a\nb")),
        json!({"type": "message", "room": "lobby", "topic": "rooms/lobby", "from": "alice",
            "at": "2026-03-01T12:03:04.567Z", "seq": "e:7", "retained": false, "text": "a\nb"})
    );
    assert_eq!(
        one(&retained(
            "rooms/lobby/_presence/bob",
            r#"{"state":"online"}"#
        ))["value"],
        json!({"state": "online"})
    );
    assert_eq!(
        one(&live("rooms/lobby/_presence/bob", ""))["value"],
        Value::Null
    );
    assert_eq!(one(&live("rooms/lobby/_events", "{}"))["type"], "event");
    assert_eq!(one(&live("inbox/me/error", "{}"))["type"], "error");
    let mut binary = live("rooms/lobby", "");
    binary.payload = vec![0xff, 0x00].into();
    assert_eq!(one(&binary)["hex"], "ff00");
    assert!(view.entered().is_some());
    assert_eq!(view.settle(), None);
}
