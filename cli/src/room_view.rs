//! What a member sees: messages, notices and the roster, as lines for people or as JSON.
//!
//! It ignores unknown fields and events, because the server may be newer.

use crate::client::ReceivedMessage;
use crate::shown;
use jiff::{Timestamp, tz::TimeZone};
use roommq_bridge::topics::{self, TopicKind};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::fmt::Write;

/// What a line shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LineKind {
    /// A message of a user to the room.
    Message,
    /// A message of a user to this user alone.
    Private,
    /// What happened in the room.
    Notice,
    /// What was refused or went wrong.
    Error,
}

/// One line that a person sees. Its texts are safe for a terminal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RoomLine {
    pub kind: LineKind,
    /// When the server got it, in RFC 3339.
    pub at: String,
    /// The user who sent it. None: the server, or this program.
    pub speaker: Option<String>,
    /// The levels below the room's topic.
    pub below: Option<String>,
    pub text: String,
    /// It was sent before the subscription: a retained message.
    pub retained: bool,
}

impl RoomLine {
    /// A line of this program.
    pub(crate) fn own(kind: LineKind, text: impl Into<String>, now: Timestamp) -> RoomLine {
        RoomLine {
            kind,
            at: now.to_string(),
            speaker: None,
            below: None,
            text: text.into(),
            retained: false,
        }
    }

    /// The line as text: `12:03:04 alice: hello`, `* alice joined`, `! rooms/x: refused`.
    pub(crate) fn plain(&self, zone: &TimeZone) -> String {
        let mut line = match self.kind {
            LineKind::Notice => "* ".to_owned(),
            LineKind::Error => "! ".to_owned(),
            LineKind::Message | LineKind::Private => shown::clock(&self.at, zone) + " ",
        };
        if let Some(speaker) = &self.speaker {
            line += speaker;
        }
        if let Some(below) = &self.below {
            // Writing to a String cannot fail.
            let _ = write!(line, " [{below}]");
        }
        match self.kind {
            LineKind::Message => line += ": ",
            LineKind::Private => line += " (to you): ",
            LineKind::Notice | LineKind::Error => {}
        }
        line + &self.text
    }
}

/// One room as one member sees it.
pub(crate) struct RoomView {
    room: String,
    /// The member's own name, as in a topic level.
    me: String,
    json: bool,
    zone: TimeZone,
    /// The state of each user.
    roster: BTreeMap<String, String>,
    /// Whether the roster is still being collected. The server sends it first, as retained
    /// messages. It is shown as one line when a live message follows.
    collecting: bool,
}

/// The kind of a message, by its topic.
enum MessageKind<'a> {
    Application { below: Option<&'a str> },
    Presence { user: &'a str },
    Notice,
    Info,
    Private { rest: &'a str },
    Other,
}

impl RoomView {
    pub(crate) fn new(room: &str, me: &str, json: bool, zone: TimeZone) -> RoomView {
        RoomView {
            room: room.to_owned(),
            me: me.to_owned(),
            json,
            zone,
            roster: BTreeMap::new(),
            collecting: true,
        }
    }

    /// The lines to show for a message. `now` is used if the server added no time.
    pub(crate) fn take(&mut self, message: &ReceivedMessage, now: Timestamp) -> Vec<String> {
        if self.json {
            let kind = self.kind_of(&message.topic);
            return vec![self.as_json(&kind, message).to_string()];
        }
        let private = matches!(self.kind_of(&message.topic), MessageKind::Private { .. });
        let line = self.line(message, now);
        let mut lines = Vec::new();
        if !message.retain && !private {
            lines.extend(self.settle());
        }
        lines.extend(line.map(|line| line.plain(&self.zone)));
        lines
    }

    /// Notes who is here, and returns the line to show for a message, if there is one.
    pub(crate) fn line(&mut self, message: &ReceivedMessage, now: Timestamp) -> Option<RoomLine> {
        match self.kind_of(&message.topic) {
            MessageKind::Application { below } => Some(application(below, message, now)),
            MessageKind::Notice => self.notice(message, now),
            MessageKind::Private { rest } => Some(private(rest, message, now)),
            MessageKind::Presence { user } => {
                self.note(user.to_owned(), &message.payload);
                None
            }
            MessageKind::Info | MessageKind::Other => None,
        }
    }

    /// The users who are here, each with a state such as `online` or `lost`.
    pub(crate) fn roster(&self) -> impl Iterator<Item = (&str, &str)> {
        self.roster
            .iter()
            .map(|(user, state)| (user.as_str(), state.as_str()))
    }

    /// The roster line, unless it has been shown. The caller also calls it when no live message has
    /// come for a while.
    pub(crate) fn settle(&mut self) -> Option<String> {
        if !std::mem::take(&mut self.collecting) || self.json {
            return None;
        }
        // We are a member even if our own entry has not arrived.
        self.roster
            .entry(self.me.clone())
            .or_insert_with(|| "online".to_owned());
        Some(self.who())
    }

    /// `* here: alice, bob (lost)`.
    pub(crate) fn who(&self) -> String {
        let names: Vec<String> = self
            .roster
            .iter()
            .map(|(user, state)| match state.as_str() {
                "online" => shown::line(user).into_owned(),
                state => format!("{} ({})", shown::line(user), shown::line(state)),
            })
            .collect();
        format!("* here: {}", names.join(", "))
    }

    /// The line that says that we have joined; only in JSON.
    pub(crate) fn entered(&self) -> Option<String> {
        self.json
            .then(|| json!({"type": "entered", "room": self.room, "user": self.me}).to_string())
    }

    fn kind_of<'a>(&self, topic: &'a str) -> MessageKind<'a> {
        match topics::kind(topic) {
            TopicKind::Room { room, rest } if room == self.room => match rest {
                None => MessageKind::Application { below: None },
                Some("_events") => MessageKind::Notice,
                Some("_info") => MessageKind::Info,
                Some(rest) => match rest.strip_prefix("_presence/") {
                    Some(user) => MessageKind::Presence { user },
                    None if rest.starts_with('_') => MessageKind::Other,
                    None => MessageKind::Application { below: Some(rest) },
                },
            },
            TopicKind::Inbox {
                rest: Some(rest), ..
            } => MessageKind::Private { rest },
            _ => MessageKind::Other,
        }
    }

    fn note(&mut self, user: String, payload: &[u8]) {
        match object(payload) {
            None => {
                self.roster.remove(&user);
            }
            Some(entry) => {
                self.roster
                    .insert(user, text(&entry, "state").unwrap_or("online").to_owned());
            }
        }
    }

    fn notice(&self, message: &ReceivedMessage, now: Timestamp) -> Option<RoomLine> {
        let notice = object(&message.payload)?;
        let event = text(&notice, "event")?;
        let user = text(&notice, "user").unwrap_or_default();
        let own = user == self.me && matches!(event, "joined" | "back");
        if own {
            return None;
        }
        let what = match event {
            "back" => "is back",
            other => &shown::line(other),
        };
        let mut line = format!("{} {what}", shown::line(user));
        // The reason of a loss was shown when the connection was lost.
        if let Some(reason) = text(&notice, "reason").filter(|_| event != "left") {
            let _ = write!(line, " ({})", shown::line(reason));
        }
        Some(RoomLine {
            at: time(message, now),
            ..RoomLine::own(LineKind::Notice, line, now)
        })
    }

    fn as_json(&self, kind: &MessageKind<'_>, message: &ReceivedMessage) -> Value {
        let mut line = Map::new();
        let mut set = |key: &str, value: Value| line.insert(key.to_owned(), value);
        let type_name = match kind {
            MessageKind::Application { .. } => "message",
            MessageKind::Presence { .. } => "presence",
            MessageKind::Notice => "event",
            MessageKind::Info => "info",
            MessageKind::Private { rest } => {
                if *rest == "error" {
                    "error"
                } else {
                    "private"
                }
            }
            MessageKind::Other => "other",
        };
        set("type", type_name.into());
        if !matches!(kind, MessageKind::Private { .. }) {
            set("room", self.room.as_str().into());
        }
        set("topic", message.topic.as_str().into());
        if let MessageKind::Presence { user } = kind {
            set("user", (*user).into());
        }
        for name in ["from", "at", "seq"] {
            if let Some(value) = property(message, name) {
                set(name, value.into());
            }
        }
        set("retained", message.retain.into());
        let (key, value) = body(kind, &message.payload);
        set(key, value);
        Value::Object(line)
    }
}

fn application(below: Option<&str>, message: &ReceivedMessage, now: Timestamp) -> RoomLine {
    let from = property(message, "from").unwrap_or("?");
    RoomLine {
        kind: LineKind::Message,
        at: time(message, now),
        speaker: Some(shown::line(from).into_owned()),
        below: below.map(|below| shown::line(below).into_owned()),
        text: shown::bytes(&message.payload),
        retained: message.retain,
    }
}

/// A message to the inbox: of another user, or what the server refused.
fn private(rest: &str, message: &ReceivedMessage, now: Timestamp) -> RoomLine {
    if let Some(from) = rest.strip_prefix("dm/") {
        return RoomLine {
            kind: LineKind::Private,
            below: None,
            speaker: Some(shown::line(from).into_owned()),
            ..application(None, message, now)
        };
    }
    let error = |text: String| RoomLine {
        at: time(message, now),
        ..RoomLine::own(LineKind::Error, text, now)
    };
    let Some(object) = object(&message.payload).filter(|_| rest == "error") else {
        let payload = shown::bytes(&message.payload);
        return error(format!("{}: {payload}", shown::line(rest)));
    };
    let about = text(&object, "topic").or_else(|| text(&object, "filter"));
    let reason = text(&object, "reason")
        .or_else(|| text(&object, "error"))
        .unwrap_or("refused");
    error(match about {
        Some(about) => format!("{}: {}", shown::line(about), shown::line(reason)),
        None => shown::line(reason).into_owned(),
    })
}

/// The time that the server stamped on a message, else `now`.
fn time(message: &ReceivedMessage, now: Timestamp) -> String {
    property(message, "at").map_or_else(|| now.to_string(), str::to_owned)
}

/// The payload for JSON output. JSON of the server becomes `value`, other text becomes `text`, and
/// other bytes become `hex`. A cleared entry is `null`.
fn body(kind: &MessageKind<'_>, payload: &[u8]) -> (&'static str, Value) {
    let of_server = !matches!(kind, MessageKind::Application { .. } | MessageKind::Other);
    if of_server && payload.is_empty() {
        return ("value", Value::Null);
    }
    if of_server && let Some(object) = object(payload) {
        return ("value", Value::Object(object));
    }
    if let Ok(text) = std::str::from_utf8(payload) {
        return ("text", text.into());
    }
    let hex = payload.iter().fold(String::new(), |mut hex, byte| {
        let _ = write!(hex, "{byte:02x}");
        hex
    });
    ("hex", hex.into())
}

/// The payload as a JSON object. None: it is something else.
pub(crate) fn object(payload: &[u8]) -> Option<Map<String, Value>> {
    serde_json::from_slice(payload).ok()
}

/// A string field of an object.
pub(crate) fn text<'a>(object: &'a Map<String, Value>, key: &str) -> Option<&'a str> {
    object.get(key)?.as_str()
}

fn property<'a>(message: &'a ReceivedMessage, name: &str) -> Option<&'a str> {
    message
        .user_properties
        .iter()
        .find(|(key, _)| key == name)
        .map(|(_, value)| value.as_str())
}

#[cfg(test)]
#[path = "room_view_tests.rs"]
mod tests;
