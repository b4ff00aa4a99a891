//! `roommq rooms`: the rooms that may be seen, read by a peek.

use crate::options::ClientArgs;
use crate::room_view::{object, text};
use crate::{connect, peek, shown, table};
use anyhow::bail;
use clap::Args;
use roommq_bridge::topics::{self, TopicKind};
use serde_json::{Map, Value};
use std::io::Write;

/// What a room says about itself.
type InfoObject = Map<String, Value>;

/// `roommq rooms`
#[derive(Debug, Args)]
pub(crate) struct RoomsArgs {
    #[command(flatten)]
    pub client: ClientArgs,
}

pub(crate) fn run(args: &RoomsArgs, json: bool, out: &mut impl Write) -> anyhow::Result<()> {
    let endpoint = connect::endpoint(&args.client)?;
    let filter = topics::info("+");
    let qos = args.client.qos.unwrap_or(0); // as in `who`
    let found = connect::converse(async { Ok(peek::retained(&endpoint, &filter, qos).await?) })?;
    let cards = match found {
        Ok(kept) => kept
            .iter()
            .map(|(topic, message)| card(topic, &message.payload))
            .collect::<Vec<_>>(),
        Err(refusal) => bail!(refusal.looking("the list of rooms")),
    };
    if json {
        writeln!(out, "{}", serde_json::to_string(&cards)?)?;
    } else if cards.is_empty() {
        writeln!(
            out,
            "no rooms to see; `roommq join NAME` opens one where that is allowed"
        )?;
    } else {
        table::write(out, &rows(&cards))?;
    }
    out.flush()?;
    Ok(())
}

/// What the server says, and the room from the topic where it does not.
fn card(topic: &str, payload: &[u8]) -> InfoObject {
    let mut card = object(payload).unwrap_or_default();
    if !card.contains_key("room")
        && let TopicKind::Room { room, .. } = topics::kind(topic)
    {
        card.insert("room".to_owned(), room.into());
    }
    card
}

fn rows(cards: &[InfoObject]) -> Vec<[String; 5]> {
    let heading = ["ROOM", "MEMBERS", "LIMIT", "ACCESS", "SUBJECT"].map(str::to_owned);
    let row = |card: &InfoObject| {
        let word = |key| shown::line(text(card, key).unwrap_or("-")).into_owned();
        let number = |key| {
            card.get(key)
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
    };
    std::iter::once(heading)
        .chain(cards.iter().map(row))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rooms_as_a_table() {
        let cards = [
            card(
                "rooms/a/_info",
                br#"{"room":"a","subject":null,"access":"open","count":3,"limit":null}"#,
            ),
            card(
                "rooms/b/_info",
                br#"{"room":"b","subject":"x\u0007","access":"list","count":1,"limit":50}"#,
            ),
            card("rooms/c/_info", b"garbage"),
        ];
        let rows = rows(&cards);
        assert_eq!(rows[1], ["a", "3", "-", "open", "-"]);
        assert_eq!(rows[2], ["b", "1", "50", "list", "x\\u{7}"]);
        assert_eq!(rows[3], ["c", "-", "-", "-", "-"]);
    }
}
