//! `roommq rooms`: lists the rooms that the user may see, without joining them.

use crate::options::ClientArgs;
use crate::room_view::{object, text};
use crate::{peek, shown, table};
use anyhow::bail;
use clap::Args;
use roommq_bridge::topics::{self, TopicKind};
use serde_json::{Map, Value};
use std::io::Write;

/// The `_info` of a room.
type InfoObject = Map<String, Value>;

/// `roommq rooms`
#[derive(Debug, Args)]
pub(crate) struct RoomsArgs {
    #[command(flatten)]
    pub client: ClientArgs,
}

pub(crate) fn run(args: &RoomsArgs, json: bool, out: &mut impl Write) -> anyhow::Result<()> {
    let infos = match peek::retained(&args.client, &topics::info("+"))? {
        Ok(retained) => retained
            .iter()
            .map(|(topic, message)| info(topic, &message.payload))
            .collect::<Vec<_>>(),
        Err(refusal) => bail!(refusal.looking("the list of rooms")),
    };
    if json {
        writeln!(out, "{}", serde_json::to_string(&infos)?)?;
    } else if infos.is_empty() {
        writeln!(
            out,
            "no rooms to see; `roommq join NAME` opens one where that is allowed"
        )?;
    } else {
        let heading = ["ROOM", "MEMBERS", "LIMIT", "ACCESS", "SUBJECT"];
        table::write(out, heading, infos.iter().map(row))?;
    }
    out.flush()?;
    Ok(())
}

/// The server's object. The room is taken from the topic if the object does not have it.
fn info(topic: &str, payload: &[u8]) -> InfoObject {
    let mut info = object(payload).unwrap_or_default();
    if !info.contains_key("room")
        && let TopicKind::Room { room, .. } = topics::kind(topic)
    {
        info.insert("room".to_owned(), room.into());
    }
    info
}

fn row(info: &InfoObject) -> [String; 5] {
    let word = |key| shown::line(text(info, key).unwrap_or("-")).into_owned();
    let number = |key| {
        info.get(key)
            .and_then(Value::as_u64)
            .map_or_else(|| "-".to_owned(), |n| n.to_string())
    };
    [
        word("room"),
        number("count"),
        number("limit"),
        word("access"),
        word("subject"),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rooms_as_a_table() {
        let infos = [
            info(
                "rooms/a/_info",
                br#"{"room":"a","subject":null,"access":"open","count":3,"limit":null}"#,
            ),
            info(
                "rooms/b/_info",
                br#"{"room":"b","subject":"x\u0007","access":"list","count":1,"limit":50}"#,
            ),
            info("rooms/c/_info", b"garbage"),
        ];
        let rows = infos.each_ref().map(row);
        assert_eq!(rows[0], ["a", "3", "-", "open", "-"]);
        assert_eq!(rows[1], ["b", "1", "50", "list", "x\\u{7}"]);
        assert_eq!(rows[2], ["c", "-", "-", "-", "-"]);
    }
}
