//! `roommq send`: sends one message, or each line of stdin as a message.

use crate::client::{
    ANSWER_TIME, ClientEvent, MqttClient, ReceivedMessage, RequestId, SubscribeRequest, WINDOW,
};
use crate::options::{ClientArgs, room};
use crate::typed::InputLines;
use crate::{connect, shown, typed};
use anyhow::{Context, bail};
use clap::Args;
use roommq_bridge::topics;
use serde_json::{Value as Json, json};
use std::io::Write;
use std::time::Duration;

/// How long the server may take to say in the inbox why a message reached nobody.
const REASON_TIME: Duration = Duration::from_millis(500);

/// `roommq send`
#[derive(Debug, Args)]
pub(crate) struct SendArgs {
    /// The room
    #[arg(value_parser = room)]
    pub room: String,
    /// The message; words are joined by a space. Without it each line of stdin is one message
    pub text: Vec<String>,
    /// Retain the message on the server, in place of the one retained so far
    #[arg(long)]
    pub retain: bool,
    /// Send below the room, to rooms/ROOM/LEVELS
    #[arg(long, value_name = "LEVELS", value_parser = levels)]
    pub topic: Option<String>,
    #[command(flatten)]
    pub client: ClientArgs,
}

pub(crate) fn run(args: &SendArgs, json: bool, out: &mut impl Write) -> anyhow::Result<()> {
    let topic = topic(&args.room, args.topic.as_deref());
    let options = connect::options(&args.client)?;
    let sent = connect::block_on(async {
        let mut client = MqttClient::connect(&options).await?;
        let qos = args.client.qos.unwrap_or(1);
        // Some refusals come by the inbox alone. But a subscriber of anything gets PUBREC before its
        // message is delivered, and that cannot tell whether it reaches anybody.
        let inbox = SubscribeRequest {
            filter: topics::inbox_prefix("me") + "error",
            qos: 1,
            no_local: false,
        };
        let inbox = (qos < 2).then(|| client.subscribe(&inbox)).transpose()?;
        let target = SendTarget {
            room: &args.room,
            below: args.topic.is_some(),
            inbox,
            topic: &topic,
            qos,
            retain: args.retain,
        };
        let outcome = if args.text.is_empty() {
            target.lines(&mut client, typed::piped()).await
        } else {
            target
                .one(&mut client, args.text.join(" ").into_bytes())
                .await
        };
        let outcome = match outcome {
            Ok(sent) => target.reached(&mut client, sent).await.map(|()| sent),
            Err(error) => Err(error),
        };
        client.disconnect().await;
        outcome
    })?;
    if json {
        writeln!(out, "{}", json!({"topic": topic, "sent": sent}))?;
        out.flush()?;
    }
    Ok(())
}

/// The topic and the options of the messages.
struct SendTarget<'a> {
    room: &'a str,
    /// The topic is below that of the room.
    below: bool,
    /// The subscription of the inbox, whose refusal does not matter: a server may have no inboxes.
    inbox: Option<RequestId>,
    topic: &'a str,
    qos: u8,
    retain: bool,
}

impl SendTarget<'_> {
    async fn one(&self, client: &mut MqttClient, payload: Vec<u8>) -> anyhow::Result<usize> {
        client.publish(self.topic, payload, self.qos, self.retain)?;
        self.acknowledged(client, 0).await?;
        Ok(1)
    }

    /// Sends lines until they end or the server refuses one. Several are in flight; their order is
    /// kept.
    async fn lines(&self, client: &mut MqttClient, mut lines: InputLines) -> anyhow::Result<usize> {
        let mut sent = 0;
        while let Some(line) = self.line(client, &mut lines).await? {
            client.publish(self.topic, line, self.qos, self.retain)?;
            sent += 1;
            self.acknowledged(client, WINDOW - 1).await?;
        }
        self.acknowledged(client, 0).await?;
        Ok(sent)
    }

    /// The next line. Meanwhile it handles events of the connection.
    async fn line(
        &self,
        client: &mut MqttClient,
        lines: &mut InputLines,
    ) -> anyhow::Result<Option<Vec<u8>>> {
        loop {
            tokio::select! {
                line = lines.recv() => return line.transpose().context("stdin cannot be read"),
                event = client.next() => self.check(event?)?,
            }
        }
    }

    /// Waits until at most `open` messages are unanswered.
    async fn acknowledged(&self, client: &mut MqttClient, open: usize) -> anyhow::Result<()> {
        while client.outstanding() > open {
            let Ok(event) = tokio::time::timeout(ANSWER_TIME, client.next()).await else {
                bail!(
                    "the server does not acknowledge; whether the last messages arrived is not known"
                );
            };
            self.check(event?)?;
        }
        Ok(())
    }

    fn check(&self, event: ClientEvent) -> anyhow::Result<()> {
        match event {
            ClientEvent::Answered(id, Err(refusal)) if Some(id) != self.inbox => {
                bail!(refusal.sending(self.topic))
            }
            ClientEvent::Answered(..) => Ok(()),
            ClientEvent::Message(message) => match error_about(self.topic, &message) {
                Some(reason) => bail!("not sent to {}: {}", self.topic, shown::line(&reason)),
                None => Ok(()),
            },
        }
    }

    /// Fails if messages reached nobody. One that is retained has reached its topic.
    async fn reached(&self, client: &mut MqttClient, sent: usize) -> anyhow::Result<()> {
        let unmatched = client.unmatched();
        if unmatched == 0 {
            return Ok(());
        }
        let reason = async {
            loop {
                self.check(client.next().await?)?;
            }
        };
        if let Ok(refused) = tokio::time::timeout(REASON_TIME, reason).await {
            return refused;
        }
        if self.retain {
            return Ok(());
        }
        let nobody = if self.below {
            format!("nobody in {} subscribes to {}", self.room, self.topic)
        } else {
            format!("nobody is in {}", self.room)
        };
        if sent == 1 {
            bail!("{nobody}: the message reached nobody");
        }
        bail!("{nobody}: {unmatched} of {sent} messages reached nobody")
    }
}

/// The reason of an error in the inbox, if it is about this topic.
fn error_about(topic: &str, message: &ReceivedMessage) -> Option<String> {
    let error: Json = serde_json::from_slice(&message.payload).ok()?;
    let of = |key: &str| error.get(key).and_then(Json::as_str);
    let reason = of("reason").or_else(|| of("error"))?;
    (of("topic")? == topic).then(|| reason.to_owned())
}

/// The room's main topic, or a topic below it.
fn topic(room: &str, below: Option<&str>) -> String {
    let main = topics::room(room);
    match below {
        Some(levels) => format!("{main}/{levels}"),
        None => main,
    }
}

/// Checks the levels of a topic below a room.
fn levels(text: &str) -> Result<String, String> {
    if text.is_empty() || text.contains(['+', '#', '\0']) {
        return Err("it is one or more levels without + and #, like game/moves".to_owned());
    }
    Ok(text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn topics_of_a_room() {
        assert_eq!(topic("lobby", None), "rooms/lobby");
        let below = topic("lobby", Some("game/moves"));
        assert_eq!(below, "rooms/lobby/game/moves");
    }
}
