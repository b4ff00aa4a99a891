//! What the full-screen client shows, and what each key and each message changes in it. No terminal
//! and no connection is in it.

use super::commands::{self, COMMANDS, Completion, Typed};
use crate::client::ReceivedMessage;
use crate::room_view::{LineKind, RoomLine, RoomView};
use jiff::{Timestamp, tz::TimeZone};
use ratatui::crossterm::event::{Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers};
use roommq_bridge::topics::{self, TopicKind};
use std::collections::VecDeque;
use tui_input::Input;
use tui_input::backend::crossterm::EventHandler;

/// The most lines that a tab remembers.
const LINES: usize = 5_000;
/// The most typed lines that the Up key brings back.
const HISTORY: usize = 500;
/// How many lines `PageUp` and `PageDown` move.
const PAGE: usize = 10;

/// What the client has to do.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum ChatAction {
    Join(String),
    Leave(String),
    Send {
        topic: String,
        text: String,
    },
    /// Connect now, and do not wait longer.
    Retry,
    Quit,
}

/// The connection, as it is shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum ChatLink {
    Up,
    Connecting,
    /// Not connected, and why. The next attempt is in so many seconds.
    Down {
        why: String,
        seconds: u64,
    },
}

/// One room.
pub(crate) struct Tab {
    pub room: String,
    pub view: RoomView,
    pub lines: VecDeque<RoomLine>,
    /// Messages that came while another tab was shown.
    pub unread: usize,
    /// A line above which all had been seen: as many lines are below.
    pub seen_above: Option<usize>,
    /// How many lines are below the shown ones.
    pub scrolled: usize,
    pub joined: bool,
}

/// All that is shown.
pub(crate) struct Chat {
    /// The user's own name.
    pub me: String,
    /// The address of the server.
    pub server: String,
    pub zone: TimeZone,
    /// At least one.
    pub tabs: Vec<Tab>,
    pub active: usize,
    pub input: Input,
    pub link: ChatLink,
    /// What Tab found, or what a key could not do. Shown until the next key.
    pub hint: Option<String>,
    typed: VecDeque<String>,
    /// How far the Up key has gone back, and the line that was being typed.
    recalled: Option<(usize, String)>,
}

impl Tab {
    fn new(room: &str, me: &str, zone: &TimeZone) -> Tab {
        Tab {
            room: room.to_owned(),
            view: RoomView::new(room, me, false, zone.clone()),
            lines: VecDeque::new(),
            unread: 0,
            seen_above: None,
            scrolled: 0,
            joined: false,
        }
    }

    fn push(&mut self, line: RoomLine, shown: bool) {
        if self.lines.len() == LINES {
            self.lines.pop_front();
        }
        if !shown {
            let counts = matches!(line.kind, LineKind::Message | LineKind::Private);
            self.unread += usize::from(counts && !line.retained);
            self.seen_above.get_or_insert(0);
        }
        self.seen_above = self.seen_above.map(|below| below + 1);
        if self.scrolled > 0 {
            self.scrolled += 1;
        }
        self.lines.push_back(line);
    }

    fn scroll(&mut self, up: bool) {
        let most = self.lines.len().saturating_sub(1);
        self.scrolled = if up {
            (self.scrolled + PAGE).min(most)
        } else {
            self.scrolled.saturating_sub(PAGE)
        };
    }
}

impl Chat {
    /// The state before the first SUBACK. `rooms` are one or more.
    pub(crate) fn new(me: &str, server: &str, rooms: &[String], zone: TimeZone) -> Chat {
        let tab = |room: &String| Tab::new(room, me, &zone);
        Chat {
            me: me.to_owned(),
            server: server.to_owned(),
            tabs: rooms.iter().map(tab).collect(),
            zone,
            active: 0,
            input: Input::default(),
            link: ChatLink::Up,
            hint: None,
            typed: VecDeque::new(),
            recalled: None,
        }
    }

    /// The tab that is shown.
    pub(crate) fn tab(&self) -> Option<&Tab> {
        self.tabs.get(self.active)
    }

    /// A message came.
    pub(crate) fn receive(&mut self, message: &ReceivedMessage, now: Timestamp) {
        let of_room = match topics::kind(&message.topic) {
            TopicKind::Room { room, .. } => self.tabs.iter().position(|tab| tab.room == room),
            // A message to the inbox is shown where the user looks.
            _ => Some(self.active),
        };
        let Some(index) = of_room else { return };
        let shown = index == self.active;
        let Some(tab) = self.tabs.get_mut(index) else {
            return;
        };
        if let Some(line) = tab.view.line(message, now) {
            tab.push(line, shown);
        }
    }

    /// A SUBSCRIBE to a room was answered. `refused` is the text of its refusal.
    pub(crate) fn answer_join(&mut self, room: &str, refused: Option<String>, now: Timestamp) {
        let Some(tab) = self.tabs.iter_mut().find(|tab| tab.room == room) else {
            return;
        };
        let line = match refused {
            None => {
                tab.joined = true;
                RoomLine::own(LineKind::Notice, format!("you are in {room}"), now)
            }
            Some(text) => RoomLine::own(LineKind::Error, text, now),
        };
        tab.push(line, true);
    }

    /// Something else was refused or went wrong.
    pub(crate) fn complain(&mut self, text: impl Into<String>, now: Timestamp) {
        self.say(LineKind::Error, text, now);
    }

    fn say(&mut self, kind: LineKind, text: impl Into<String>, now: Timestamp) {
        if let Some(tab) = self.tabs.get_mut(self.active) {
            tab.push(RoomLine::own(kind, text, now), true);
        }
    }

    /// The connection was lost. Nobody is known to be in the rooms until they are joined again.
    pub(crate) fn lose(&mut self, why: &str, now: Timestamp) {
        for (index, tab) in self.tabs.iter_mut().enumerate() {
            tab.joined = false;
            tab.view = RoomView::new(&tab.room, &self.me, false, self.zone.clone());
            tab.push(
                RoomLine::own(LineKind::Error, why, now),
                index == self.active,
            );
        }
    }

    /// The rooms to join, again after a loss.
    pub(crate) fn rooms(&self) -> Vec<String> {
        self.tabs.iter().map(|tab| tab.room.clone()).collect()
    }

    /// A key, or pasted text.
    pub(crate) fn handle(&mut self, event: &Event, now: Timestamp) -> Vec<ChatAction> {
        match event {
            Event::Key(key) if key.kind != KeyEventKind::Release => {
                self.hint = None;
                self.key(*key, event, now)
            }
            Event::Paste(text) => {
                for c in text.chars() {
                    let c = if c.is_control() { ' ' } else { c };
                    self.input.handle(tui_input::InputRequest::InsertChar(c));
                }
                Vec::new()
            }
            _ => Vec::new(),
        }
    }

    fn key(&mut self, key: KeyEvent, event: &Event, now: Timestamp) -> Vec<ChatAction> {
        let control = key.modifiers.contains(KeyModifiers::CONTROL);
        let alt = key.modifiers.contains(KeyModifiers::ALT);
        match key.code {
            KeyCode::Char('c') if control => return vec![ChatAction::Quit],
            KeyCode::Char('d') if control && self.input.value().is_empty() => {
                return vec![ChatAction::Quit];
            }
            KeyCode::Char('n') if control => self.show_next(1),
            KeyCode::Char('p') if control => self.show_next(self.tabs.len().saturating_sub(1)),
            KeyCode::Char(digit @ '1'..='9') if alt => {
                self.show(usize::from(digit as u8 - b'1'));
            }
            KeyCode::Enter => return self.enter(now),
            KeyCode::Tab => self.complete(),
            KeyCode::PageUp | KeyCode::PageDown => {
                if let Some(tab) = self.tabs.get_mut(self.active) {
                    tab.scroll(key.code == KeyCode::PageUp);
                }
            }
            KeyCode::Up => self.recall(true),
            KeyCode::Down => self.recall(false),
            KeyCode::Esc => self.input.reset(),
            _ => {
                self.input.handle_event(event);
            }
        }
        Vec::new()
    }

    fn show_next(&mut self, steps: usize) {
        if let Some(next) = (self.active + steps).checked_rem(self.tabs.len()) {
            self.show(next);
        }
    }

    fn show(&mut self, index: usize) {
        if index >= self.tabs.len() || index == self.active {
            return;
        }
        if let Some(tab) = self.tabs.get_mut(self.active) {
            tab.seen_above = None;
        }
        self.active = index;
        if let Some(tab) = self.tabs.get_mut(index) {
            tab.unread = 0;
        }
    }

    /// The line is done. It stays if it cannot be sent now.
    fn enter(&mut self, now: Timestamp) -> Vec<ChatAction> {
        let line = self.input.value().to_owned();
        let meaning = match commands::typed(&line) {
            Ok(meaning) => meaning,
            Err(wrong) => {
                self.hint = Some(wrong);
                return Vec::new();
            }
        };
        let online = self.link == ChatLink::Up;
        if !online && meaning == Typed::Nothing {
            return vec![ChatAction::Retry];
        }
        let needs_server = matches!(
            meaning,
            Typed::Text(_) | Typed::Private { .. } | Typed::Join(_) | Typed::Leave(_)
        );
        if needs_server && !online {
            self.hint = Some("not connected: the line stays until it can be sent".to_owned());
            return Vec::new();
        }
        let actions = match meaning {
            Typed::Nothing => return Vec::new(),
            Typed::Quit => return vec![ChatAction::Quit],
            Typed::Text(text) => match self.send(text) {
                Some(action) => vec![action],
                None => return Vec::new(),
            },
            Typed::Private { user, text } => {
                let topic = topics::inbox_dm(user, &self.me);
                let text = text.to_owned();
                self.say(LineKind::Notice, format!("to {user} alone: {text}"), now);
                vec![ChatAction::Send { topic, text }]
            }
            Typed::Join(room) => self.open(room),
            Typed::Leave(room) => match self.close(room) {
                Some(action) => vec![action],
                None => return Vec::new(),
            },
            Typed::Who => {
                let who = self.tab().map(|tab| tab.view.who());
                let who = who.unwrap_or_default();
                self.say(LineKind::Notice, who.trim_start_matches("* "), now);
                Vec::new()
            }
            Typed::Clear => {
                if let Some(tab) = self.tabs.get_mut(self.active) {
                    (tab.scrolled, tab.seen_above) = (0, None);
                    tab.lines.clear();
                }
                Vec::new()
            }
            Typed::Help => {
                for command in &COMMANDS {
                    let usage = [command.name, command.arguments].join(" ");
                    self.say(
                        LineKind::Notice,
                        format!("{usage:<16} {}", command.help),
                        now,
                    );
                }
                let keys = "Ctrl-N and Ctrl-P change the tab, PageUp and PageDown scroll, Tab completes, Ctrl-C ends";
                self.say(LineKind::Notice, keys, now);
                Vec::new()
            }
        };
        self.remember(line);
        actions
    }

    /// The action for a message to the room. None: the tab's room is not joined.
    fn send(&mut self, text: &str) -> Option<ChatAction> {
        let tab = self.tabs.get_mut(self.active)?;
        if !tab.joined {
            self.hint = Some(format!(
                "you are not in {}: /join {0} tries again",
                tab.room
            ));
            return None;
        }
        (tab.scrolled, tab.seen_above) = (0, None);
        Some(ChatAction::Send {
            topic: topics::room(&tab.room),
            text: text.to_owned(),
        })
    }

    /// Shows the tab of a room, a new one if there is none.
    fn open(&mut self, room: &str) -> Vec<ChatAction> {
        let found = self.tabs.iter().position(|tab| tab.room == room);
        let index = found.unwrap_or(self.tabs.len());
        if found.is_none() {
            self.tabs.push(Tab::new(room, &self.me, &self.zone));
        }
        self.show(index);
        match self.tabs.get(index) {
            Some(tab) if !tab.joined => vec![ChatAction::Join(room.to_owned())],
            _ => Vec::new(),
        }
    }

    /// Closes the tab of a room. Leaving the last room ends the client.
    fn close(&mut self, room: Option<&str>) -> Option<ChatAction> {
        let index = match room {
            None => self.active,
            Some(room) => {
                let found = self.tabs.iter().position(|tab| tab.room == room);
                if found.is_none() {
                    self.hint = Some(format!("you are not in {room}"));
                }
                found?
            }
        };
        if self.tabs.len() == 1 {
            return Some(ChatAction::Quit);
        }
        let tab = self.tabs.remove(index);
        if index < self.active || self.active == self.tabs.len() {
            self.active = self.active.saturating_sub(1);
        }
        if let Some(shown) = self.tabs.get_mut(self.active) {
            shown.unread = 0;
        }
        Some(ChatAction::Leave(tab.room))
    }

    fn remember(&mut self, line: String) {
        self.recalled = None;
        self.input.reset();
        if self.typed.back() != Some(&line) {
            if self.typed.len() == HISTORY {
                self.typed.pop_front();
            }
            self.typed.push_back(line);
        }
    }

    fn recall(&mut self, older: bool) {
        let (back, draft) = match self.recalled.take() {
            Some(recalled) => recalled,
            None => (0, self.input.value().to_owned()),
        };
        let back = if older {
            (back + 1).min(self.typed.len())
        } else {
            back.saturating_sub(1)
        };
        let index = self.typed.len() - back;
        let line = self.typed.get(index).filter(|_| back > 0);
        self.input = Input::new(line.unwrap_or(&draft).clone());
        self.recalled = (back > 0).then_some((back, draft));
    }

    fn complete(&mut self) {
        let value = self.input.value();
        let at = value.char_indices().nth(self.input.cursor());
        let (before, after) = value.split_at(at.map_or(value.len(), |(byte, _)| byte));
        let users = self.tab().into_iter().flat_map(|tab| tab.view.roster());
        let completion = commands::complete(before, users.map(|(user, _)| user));
        let (becomes, several) = match completion {
            Completion::Nothing => return,
            Completion::Becomes(text) => (text, None),
            Completion::Several(text, all) => (text, Some(all.join("  "))),
        };
        let cursor = becomes.chars().count();
        self.input = Input::new(becomes + after).with_cursor(cursor);
        self.hint = several;
    }
}

#[cfg(test)]
#[path = "state_tests.rs"]
pub(in crate::chat) mod tests;
