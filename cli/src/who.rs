//! `roommq who`: shows the roster of a room without joining it.

use crate::client::ReceivedMessage;
use crate::options::{ClientArgs, room};
use crate::room_view::{object, text};
use crate::{peek, shown, table};
use anyhow::bail;
use clap::Args;
use jiff::Timestamp;
use roommq_bridge::topics;
use serde_json::{Map, Value};
use std::io::Write;

/// One entry of a roster.
type RosterObject = Map<String, Value>;

/// `roommq who`
#[derive(Debug, Args)]
pub(crate) struct WhoArgs {
    /// The room
    #[arg(value_parser = room)]
    pub room: String,
    #[command(flatten)]
    pub client: ClientArgs,
}

pub(crate) fn run(args: &WhoArgs, json: bool, out: &mut impl Write) -> anyhow::Result<()> {
    let room = args.room.as_str();
    let entries = match peek::retained(&args.client, &topics::presence(room, "+"))? {
        Ok(retained) => retained.values().map(entry).collect::<Vec<_>>(),
        Err(refusal) => bail!(refusal.looking(room)),
    };
    if json {
        writeln!(out, "{}", serde_json::to_string(&entries)?)?;
    } else if entries.is_empty() {
        writeln!(out, "nobody is in {room}")?;
    } else {
        let heading = ["USER", "STATE", "DEVICES", "ROLE", "SINCE"];
        let now = Timestamp::now();
        table::write(out, heading, entries.iter().map(|entry| row(entry, now)))?;
    }
    out.flush()?;
    Ok(())
}

/// The server's object. The user is taken from the topic if the object does not have it.
fn entry(message: &ReceivedMessage) -> RosterObject {
    let mut entry = object(&message.payload).unwrap_or_default();
    if !entry.contains_key("user") {
        let user = message.topic.rsplit('/').next().unwrap_or_default();
        entry.insert("user".to_owned(), user.into());
    }
    entry
}

fn row(entry: &RosterObject, now: Timestamp) -> [String; 5] {
    let word = |key| shown::line(text(entry, key).unwrap_or("-")).into_owned();
    let state = match text(entry, "reason") {
        Some(reason) => format!("{} ({})", word("state"), shown::line(reason)),
        None => word("state"),
    };
    let devices = entry.get("devices").and_then(Value::as_u64).unwrap_or(0);
    [
        word("user"),
        state,
        devices.to_string(),
        word("role"),
        text(entry, "since").map_or_else(|| "-".to_owned(), |since| shown::ago(since, now)),
    ]
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;

    fn read(topic: &str, payload: &str) -> RosterObject {
        entry(&ReceivedMessage {
            topic: topic.to_owned(),
            payload: payload.to_owned().into(),
            ..ReceivedMessage::default()
        })
    }

    #[test]
    fn a_roster_as_a_table() {
        let entries = [
            read(
                "rooms/a/_presence/al",
                r#"{"user":"al","state":"online","devices":2,"role":"member","since":"2026-03-01T11:58:00Z"}"#,
            ),
            read(
                "rooms/a/_presence/bob",
                r#"{"user":"b\u001bob","state":"lost","devices":0,"reason":"connection lost"}"#,
            ),
            read("rooms/a/_presence/eve", "garbage"),
        ];
        let now = "2026-03-01T12:00:00Z".parse().unwrap();
        let rows = entries.map(|entry| row(&entry, now));
        assert_eq!(rows[0], ["al", "online", "2", "member", "2 min ago"]);
        assert_eq!(
            rows[1],
            ["b\\u{1b}ob", "lost (connection lost)", "0", "-", "-"]
        );
        assert_eq!(rows[2], ["eve", "-", "0", "-", "-"]);
    }
}
