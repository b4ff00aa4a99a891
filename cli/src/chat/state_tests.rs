#![allow(clippy::unwrap_used, clippy::expect_used)]
use super::*;

pub(super) fn now() -> Timestamp {
    "2026-03-01T12:00:00Z".parse().unwrap()
}

pub(in crate::chat) fn chat(rooms: &[&str]) -> Chat {
    let rooms: Vec<String> = rooms.iter().map(|room| (*room).to_owned()).collect();
    let mut chat = Chat::new("me", "127.0.0.1:1883", &rooms, TimeZone::UTC);
    for room in &rooms {
        chat.answer_join(room, None, now());
    }
    chat
}

pub(in crate::chat) fn message(topic: &str, from: &str, payload: &str) -> ReceivedMessage {
    let pairs = [("from", from), ("at", "2026-03-01T12:03:04.567Z")];
    ReceivedMessage {
        topic: topic.to_owned(),
        payload: payload.to_owned().into(),
        user_properties: pairs.map(|(k, v)| (k.to_owned(), v.to_owned())).to_vec(),
        ..ReceivedMessage::default()
    }
}

fn key(code: KeyCode, modifiers: KeyModifiers) -> Event {
    Event::Key(KeyEvent::new(code, modifiers))
}

fn press(chat: &mut Chat, code: KeyCode) -> Vec<ChatAction> {
    chat.handle(&key(code, KeyModifiers::NONE), now())
}

fn control(chat: &mut Chat, c: char) -> Vec<ChatAction> {
    chat.handle(&key(KeyCode::Char(c), KeyModifiers::CONTROL), now())
}

fn write(chat: &mut Chat, text: &str) {
    for c in text.chars() {
        press(chat, KeyCode::Char(c));
    }
}

fn enter(chat: &mut Chat, line: &str) -> Vec<ChatAction> {
    write(chat, line);
    press(chat, KeyCode::Enter)
}

fn sent(topic: &str, text: &str) -> Vec<ChatAction> {
    let (topic, text) = (topic.to_owned(), text.to_owned());
    vec![ChatAction::Send { topic, text }]
}

fn texts(chat: &Chat) -> Vec<&str> {
    let lines = &chat.tab().unwrap().lines;
    lines.iter().map(|line| line.text.as_str()).collect()
}

#[test]
fn lines_go_to_the_room_of_the_tab() {
    let mut chat = chat(&["lobby", "dev"]);
    assert_eq!(enter(&mut chat, "hello"), sent("rooms/lobby", "hello"));
    control(&mut chat, 'n');
    assert_eq!(enter(&mut chat, "//x"), sent("rooms/dev", "/x"));
    assert_eq!(
        enter(&mut chat, "/msg bob hi there"),
        sent("inbox/bob/dm/me", "hi there")
    );
    assert_eq!(chat.input.value(), "");
}

#[test]
fn a_room_is_joined_and_left_in_a_tab_of_its_own() {
    let mut chat = chat(&["lobby"]);
    assert_eq!(
        enter(&mut chat, "/join dev"),
        [ChatAction::Join("dev".to_owned())]
    );
    assert_eq!(chat.rooms(), ["lobby", "dev"]);
    // Not joined yet: the line stays.
    assert_eq!(enter(&mut chat, "too early"), []);
    assert_eq!(chat.input.value(), "too early");
    chat.answer_join("dev", None, now());
    assert_eq!(
        press(&mut chat, KeyCode::Enter),
        sent("rooms/dev", "too early")
    );
    assert_eq!(enter(&mut chat, "/join lobby"), []);
    assert_eq!(chat.active, 0);
    assert_eq!(
        enter(&mut chat, "/leave dev"),
        [ChatAction::Leave("dev".to_owned())]
    );
    assert_eq!(enter(&mut chat, "/leave"), [ChatAction::Quit]);
}

#[test]
fn messages_of_another_tab_are_counted() {
    let mut chat = chat(&["lobby", "dev"]);
    chat.receive(&message("rooms/dev", "bob", "one"), now());
    chat.receive(&message("rooms/dev/sub", "bob", "two"), now());
    let old = ReceivedMessage {
        retain: true,
        ..message("rooms/dev/old", "bob", "three")
    };
    chat.receive(&old, now());
    chat.receive(&message("rooms/other", "bob", "of no tab"), now());
    assert_eq!(chat.tabs[1].unread, 2);
    control(&mut chat, 'n');
    assert_eq!((chat.active, chat.tabs[1].unread), (1, 0));
    assert_eq!(chat.tabs[1].seen_above, Some(3));
    // Who writes has seen all of it.
    enter(&mut chat, "hello");
    assert_eq!(chat.tabs[1].seen_above, None);
    // A private message is shown in the tab that the user looks at.
    chat.receive(&message("inbox/me/dm/bob", "bob", "psst"), now());
    assert_eq!(texts(&chat).last(), Some(&"psst"));
}

#[test]
fn a_loss_keeps_the_typed_line() {
    let mut chat = chat(&["lobby"]);
    let online = r#"{"user":"bob","state":"online"}"#;
    chat.receive(&message("rooms/lobby/_presence/bob", "", online), now());
    assert_eq!(chat.tab().unwrap().view.roster().count(), 1);
    write(&mut chat, "half a sen");
    chat.lose("the connection was lost", now());
    chat.link = ChatLink::Down {
        why: "gone".to_owned(),
        seconds: 1,
    };
    assert_eq!(chat.tab().unwrap().view.roster().count(), 0);
    assert_eq!(press(&mut chat, KeyCode::Enter), []);
    assert!(chat.hint.as_deref().unwrap().starts_with("not connected"));
    assert_eq!(chat.input.value(), "half a sen");
    write(&mut chat, "tence");
    chat.link = ChatLink::Up;
    chat.answer_join("lobby", None, now());
    let all = sent("rooms/lobby", "half a sentence");
    assert_eq!(press(&mut chat, KeyCode::Enter), all);
    chat.link = ChatLink::Down {
        why: "gone".to_owned(),
        seconds: 30,
    };
    assert_eq!(press(&mut chat, KeyCode::Enter), [ChatAction::Retry]);
    // What needs no server works.
    assert_eq!(enter(&mut chat, "/who"), []);
    assert_eq!(chat.hint, None);
}

#[test]
fn a_wrong_command_stays_and_says_what_would_be_right() {
    let mut chat = chat(&["lobby"]);
    assert_eq!(enter(&mut chat, "/jion dev"), []);
    assert_eq!(
        chat.hint.as_deref(),
        Some("there is no command /jion: is it /join?")
    );
    assert_eq!(chat.input.value(), "/jion dev");
    press(&mut chat, KeyCode::Esc);
    assert_eq!((chat.input.value(), chat.hint.as_deref()), ("", None));
}

#[test]
fn typed_lines_come_back() {
    let mut chat = chat(&["lobby"]);
    for line in ["one", "two", "two"] {
        enter(&mut chat, line);
    }
    write(&mut chat, "draft");
    for line in ["two", "one", "one"] {
        press(&mut chat, KeyCode::Up);
        assert_eq!(chat.input.value(), line);
    }
    for line in ["two", "draft", "draft"] {
        press(&mut chat, KeyCode::Down);
        assert_eq!(chat.input.value(), line);
    }
}

#[test]
fn tab_completes_before_the_cursor() {
    let mut chat = chat(&["lobby"]);
    for user in ["alice", "alfred"] {
        let entry = r#"{"state":"online"}"#;
        let topic = format!("rooms/lobby/_presence/{user}");
        chat.receive(&message(&topic, "", entry), now());
    }
    write(&mut chat, "ask a");
    press(&mut chat, KeyCode::Tab);
    assert_eq!(chat.input.value(), "ask al");
    assert_eq!(chat.hint.as_deref(), Some("alfred  alice"));
    write(&mut chat, "i");
    press(&mut chat, KeyCode::Tab);
    assert_eq!(chat.input.value(), "ask alice ");
}

#[test]
fn a_tab_forgets_its_oldest_lines_and_stays_where_it_was_scrolled_to() {
    let mut chat = chat(&["lobby"]);
    for n in 0..LINES {
        chat.receive(&message("rooms/lobby", "bob", &n.to_string()), now());
    }
    assert_eq!(chat.tab().unwrap().lines.len(), LINES);
    assert_eq!(texts(&chat)[0], "0");
    press(&mut chat, KeyCode::PageUp);
    chat.receive(&message("rooms/lobby", "bob", "new"), now());
    assert_eq!(chat.tab().unwrap().scrolled, PAGE + 1);
    for _ in 0..2 {
        press(&mut chat, KeyCode::PageDown);
    }
    assert_eq!(chat.tab().unwrap().scrolled, 0);
}

#[test]
fn pasted_text_is_one_line() {
    let mut chat = chat(&["lobby"]);
    chat.handle(&Event::Paste("one\ntwo\x1b[2J".to_owned()), now());
    assert_eq!(chat.input.value(), "one two [2J");
}

#[test]
fn keys_that_end_it() {
    let mut chat = chat(&["lobby"]);
    assert_eq!(control(&mut chat, 'c'), [ChatAction::Quit]);
    write(&mut chat, "x");
    assert_eq!(control(&mut chat, 'd'), []);
    press(&mut chat, KeyCode::Backspace);
    assert_eq!(control(&mut chat, 'd'), [ChatAction::Quit]);
    assert_eq!(enter(&mut chat, "/quit"), [ChatAction::Quit]);
}
