#![allow(clippy::unwrap_used, clippy::expect_used)]
use super::*;
use crate::chat::state::tests::{chat, message};
use crate::client::ReceivedMessage;
use ratatui::Terminal;
use ratatui::backend::TestBackend;

fn picture(chat: &Chat, width: u16, height: u16) -> Vec<String> {
    let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
    terminal
        .draw(|frame| draw(frame, chat, Palette { colours: true }))
        .unwrap();
    let buffer = terminal.backend().buffer();
    let row = |y| {
        (0..width)
            .map(|x| buffer[(x, y)].symbol())
            .collect::<String>()
    };
    (0..height).map(|y| row(y).trim_end().to_owned()).collect()
}

fn scene() -> Chat {
    let mut chat = chat(&["lobby", "dev"]);
    let now = "2026-03-01T12:00:00Z".parse().unwrap();
    for (user, state) in [("alice", "online"), ("bob", "lost"), ("me", "online")] {
        let entry = format!(r#"{{"state":"{state}"}}"#);
        let topic = format!("rooms/lobby/_presence/{user}");
        chat.receive(&message(&topic, "", &entry), now);
    }
    let old = ReceivedMessage {
        retain: true,
        ..message("rooms/lobby/topic", "alice", "the plan")
    };
    chat.receive(&old, now);
    chat.receive(&message("rooms/lobby", "alice", "hello \u{1b}[2J"), now);
    chat.receive(&message("rooms/dev", "bob", "elsewhere"), now);
    chat.receive(&message("inbox/me/dm/bob", "bob", "psst"), now);
    chat
}

#[test]
fn the_whole_picture() {
    let chat = scene();
    let picture = picture(&chat, 78, 10);
    assert_eq!(picture[0], " lobby  dev (1)");
    let text = picture.join("\n");
    for part in [
        "12:00:00 * you are in lobby",
        "12:03:04 (retained) alice [topic]: the plan",
        "12:03:04 alice: hello \\u{1b}[2J",
        "12:03:04 bob (to you): psst",
        "│ HERE 3",
        "│ bob (lost)",
        "me on 127.0.0.1:1883  /help",
        "lobby>",
    ] {
        assert!(text.contains(part), "{part}\n{text}");
    }
}

#[test]
fn a_narrow_terminal_has_no_roster_and_wraps_at_words() {
    let mut chat = scene();
    let now = "2026-03-01T12:00:00Z".parse().unwrap();
    let long = "one two three four five six seven";
    chat.receive(&message("rooms/lobby", "alice", long), now);
    let picture = picture(&chat, 30, 8);
    assert_eq!(picture[4], "12:03:04 alice: one two three");
    assert_eq!(picture[5], "         four five six seven");
    assert!(!picture.join("\n").contains("HERE"));
}

#[test]
fn the_newest_lines_are_at_the_bottom_and_scrolling_shows_older_ones() {
    let mut chat = chat(&["lobby"]);
    let now = "2026-03-01T12:00:00Z".parse().unwrap();
    for n in 0..100 {
        chat.receive(&message("rooms/lobby", "bob", &format!("n{n}")), now);
    }
    assert_eq!(picture(&chat, 40, 10)[7], "12:03:04 bob: n99");
    chat.tabs[0].scrolled = 50;
    let picture = picture(&chat, 40, 10);
    assert_eq!(picture[7], "12:03:04 bob: n49");
    assert!(
        picture[8].starts_with("50 newer lines below"),
        "{picture:?}"
    );
}

#[test]
fn new_lines_are_marked_and_days_separated() {
    let mut chat = chat(&["lobby", "dev"]);
    let now = "2026-03-01T12:00:00Z".parse().unwrap();
    chat.receive(&message("rooms/dev", "bob", "unread"), now);
    chat.active = 1;
    let picture = picture(&chat, 40, 8);
    assert!(picture[2].starts_with("── 2026-03-01"), "{picture:?}");
    assert!(picture[3].contains("you are in dev"), "{picture:?}");
    assert!(picture[4].starts_with("── new"), "{picture:?}");
    assert_eq!(picture[5], "12:03:04 bob: unread");
}

#[test]
fn a_loss_is_shown_with_the_time_of_the_next_attempt() {
    let mut chat = chat(&["lobby"]);
    chat.link = ChatLink::Down {
        why: "the connection was lost".to_owned(),
        seconds: 4,
    };
    let picture = picture(&chat, 70, 5);
    assert_eq!(
        picture[3],
        "again in 4 s, Enter: now; the connection was lost"
    );
}

#[test]
fn any_size_can_be_drawn() {
    let chat = scene();
    for width in [1, 2, 5, 19, 59, 60, 200] {
        for height in [1, 2, 3, 4, 50] {
            picture(&chat, width, height);
        }
    }
}

#[test]
fn without_colours_nothing_has_one() {
    let chat = scene();
    let mut terminal = Terminal::new(TestBackend::new(80, 12)).unwrap();
    let palette = Palette { colours: false };
    terminal.draw(|frame| draw(frame, &chat, palette)).unwrap();
    let cells = terminal.backend().buffer().content();
    assert!(
        cells
            .iter()
            .all(|cell| cell.fg == Color::Reset && cell.bg == Color::Reset)
    );
}
