//! `roommq join`: a member of a room until the user leaves.

use crate::client::{
    ClientEvent, ConnectOptions, MqttClient, ReceivedMessage, RequestId, SubscribeRequest, WINDOW,
};
use crate::options::{ClientArgs, room};
use crate::room_view::RoomView;
use crate::signals::Signals;
use crate::typed::{InputLines, Printer, TerminalGuard};
use crate::{chat, connect, typed};
use anyhow::{Context, bail};
use clap::Args;
use jiff::{Timestamp, tz::TimeZone};
use roommq_bridge::topics;
use serde_json::json;
use std::io::{IsTerminal, Write};
use std::time::Duration;

/// The longest wait for a live message before the roster is shown. The server sends our own roster
/// entry at once.
const ROSTER_TIME: Duration = Duration::from_secs(1);

/// `roommq join`
#[derive(Debug, Args)]
#[command(
    after_help = "On a terminal it takes the whole screen, with a tab for each room; /help shows the commands.\n\
    With --plain, or if TERM is dumb: type lines; /who shows who is here, /quit or Ctrl-D leaves.\n\
    Otherwise: what happens in the room is written to stdout, a line each; lines of a piped stdin are sent.\n\
    After the end of stdin it stays in the room until it is interrupted, unless --leave-at-eof is given."
)]
pub(crate) struct JoinArgs {
    /// The room; on a whole screen, several
    #[arg(value_parser = room, required = true, value_name = "ROOM")]
    pub rooms: Vec<String>,
    /// On a terminal: write lines, and do not take the whole screen
    #[arg(long)]
    pub plain: bool,
    /// Leave when stdin has ended and the server has acknowledged all lines
    #[arg(long)]
    pub leave_at_eof: bool,
    #[command(flatten)]
    pub client: ClientArgs,
}

pub(crate) fn run(args: &JoinArgs, json: bool) -> anyhow::Result<()> {
    let options = connect::options(&args.client)?;
    let interactive = std::io::stdin().is_terminal() && std::io::stdout().is_terminal() && !json;
    if interactive && !args.plain && !is_dumb() {
        return connect::block_on(async {
            let stop = Signals::listen(false).context("signals cannot be handled")?;
            let client = MqttClient::connect(&options).await?;
            let qos = args.client.qos.unwrap_or(1);
            chat::stay(client, &options, &args.rooms, qos, stop).await
        });
    }
    let [room] = args.rooms.as_slice() else {
        bail!("without a whole screen `join` takes one room: run it once for each");
    };
    let _found = interactive.then(TerminalGuard::remember);
    connect::block_on(async {
        // From here on a signal leaves the room in order.
        let stop = Signals::listen(false).context("signals cannot be handled")?;
        let client = MqttClient::connect(&options).await?;
        let mut visit = Visit {
            view: RoomView::new(room, &connect::own_name(&options), json, TimeZone::system()),
            room: topics::room(room),
            name: room,
            qos: args.client.qos.unwrap_or(1),
            leave_at_eof: args.leave_at_eof,
            screen: Screen::Stream,
            json,
            refused: 0,
            client,
            stop,
        };
        let outcome = visit.stay(interactive, &options).await;
        visit.client.disconnect().await;
        outcome
    })
}

/// Whether the terminal can only write lines.
fn is_dumb() -> bool {
    std::env::var_os("TERM").is_none_or(|term| term.is_empty() || term == "dumb")
}

/// Where lines are written to.
enum Screen {
    Stream,
    Edited(Printer),
}

/// One visit to a room.
struct Visit<'a> {
    client: MqttClient,
    stop: Signals,
    view: RoomView,
    screen: Screen,
    name: &'a str,
    /// The room's main topic.
    room: String,
    qos: u8,
    leave_at_eof: bool,
    json: bool,
    /// The number of lines that the server refused.
    refused: usize,
}

/// What the loop waits for.
enum LoopEvent {
    Happened(ClientEvent),
    Typed(Option<std::io::Result<Vec<u8>>>),
    Settled,
    Stopped,
}

impl Visit<'_> {
    async fn stay(&mut self, interactive: bool, options: &ConnectOptions) -> anyhow::Result<()> {
        // Before the room, so that no message to the inbox is missed. A server without inboxes may
        // refuse.
        let _ = self
            .subscribe(&(topics::inbox_prefix("me") + "#"), false)
            .await?;
        let filter = topics::room_filter(self.name);
        self.subscribe(&filter, true)
            .await?
            .map_err(|refusal| anyhow::anyhow!(refusal.joining(self.name)))?;
        if let Some(line) = self.view.entered() {
            self.screen.show(&line)?;
        }
        let mut lines = if interactive {
            // A line cannot be edited on a dumb terminal.
            let lines = if is_dumb() {
                typed::piped()
            } else {
                let (lines, printer) = typed::edited(format!("{}> ", self.name), |line| {
                    command(line) == LineCommand::Quit
                })?;
                self.screen = Screen::Edited(printer);
                lines
            };
            self.screen.show(&format!(
                "* you are in {} on {}; /who, /quit or Ctrl-D",
                self.name, options.server
            ))?;
            Some(lines)
        } else {
            // If only stdin is a terminal (`roommq join lobby | tee log`), nothing is read from it.
            (!std::io::stdin().is_terminal()).then(typed::piped)
        };
        let settle = tokio::time::sleep(ROSTER_TIME);
        tokio::pin!(settle);
        let mut settled = false;
        loop {
            if lines.is_none() && self.leave_at_eof && self.client.outstanding() == 0 {
                break;
            }
            let next = tokio::select! {
                happened = self.client.next() => LoopEvent::Happened(happened?),
                typed = typed_line(&mut lines), if self.client.outstanding() < WINDOW => LoopEvent::Typed(typed),
                () = &mut settle, if !settled => LoopEvent::Settled,
                _ = self.stop.end() => LoopEvent::Stopped,
            };
            match next {
                LoopEvent::Happened(ClientEvent::Message(message)) => self.show(&message)?,
                LoopEvent::Happened(ClientEvent::Answered(_, outcome)) => {
                    if let Err(refusal) = outcome {
                        self.refused += 1;
                        self.complain(&refusal.sending(&self.room))?;
                    }
                }
                LoopEvent::Typed(Some(line)) => {
                    let line = line.context("stdin cannot be read")?;
                    if interactive && !self.obey(&line)? {
                        break;
                    } else if !interactive {
                        self.send(line)?;
                    }
                }
                LoopEvent::Typed(None) if interactive => break,
                LoopEvent::Typed(None) => lines = None,
                LoopEvent::Settled => {
                    settled = true;
                    if let Some(line) = self.view.settle() {
                        self.screen.show(&line)?;
                    }
                }
                LoopEvent::Stopped => break,
            }
        }
        self.leave(&filter).await
    }

    /// Sends UNSUBSCRIBE, and shows the messages that arrive before its answer.
    async fn leave(&mut self, filter: &str) -> anyhow::Result<()> {
        let request = self.client.unsubscribe(filter)?;
        let _ = self.answer(request).await?;
        match self.refused {
            0 => Ok(()),
            1 => bail!("the server refused one line"),
            n => bail!("the server refused {n} lines"),
        }
    }

    async fn subscribe(
        &mut self,
        filter: &str,
        no_local: bool,
    ) -> anyhow::Result<Result<(), crate::refusal::ServerRefusal>> {
        let wanted = SubscribeRequest {
            filter: filter.to_owned(),
            qos: self.qos,
            no_local,
        };
        let request = self.client.subscribe(&wanted)?;
        self.answer(request).await
    }

    async fn answer(
        &mut self,
        request: RequestId,
    ) -> anyhow::Result<Result<(), crate::refusal::ServerRefusal>> {
        let (client, view, screen) = (&mut self.client, &mut self.view, &mut self.screen);
        let show = |message: ReceivedMessage| show(view, screen, &message);
        client.answer::<anyhow::Error>(request, show).await
    }

    fn show(&mut self, message: &ReceivedMessage) -> anyhow::Result<()> {
        show(&mut self.view, &mut self.screen, message)
    }

    /// Handles a line that a person typed. False: the person leaves.
    fn obey(&mut self, line: &[u8]) -> anyhow::Result<bool> {
        match command(line) {
            LineCommand::Nothing => {}
            LineCommand::Quit => return Ok(false),
            LineCommand::Who => {
                let who = self.view.who();
                self.screen.show(&who)?;
            }
            LineCommand::Unknown => self
                .screen
                .show("* /who shows who is here, /quit leaves; a line that begins with // is sent with one /")?,
            LineCommand::Text(text) => self.send(text.to_vec())?,
        }
        Ok(true)
    }

    fn send(&mut self, line: Vec<u8>) -> anyhow::Result<()> {
        self.client.publish(&self.room, line, self.qos, false)?;
        Ok(())
    }

    fn complain(&mut self, text: &str) -> anyhow::Result<()> {
        match &self.screen {
            Screen::Edited(_) => self.screen.show(&format!("! {text}"))?,
            Screen::Stream => {
                let _ = writeln!(std::io::stderr(), "roommq: {text}");
                if self.json {
                    self.screen
                        .show(&json!({"type": "refused", "reason": text}).to_string())?;
                }
            }
        }
        Ok(())
    }
}

fn show(view: &mut RoomView, screen: &mut Screen, message: &ReceivedMessage) -> anyhow::Result<()> {
    for line in view.take(message, Timestamp::now()) {
        screen.show(&line)?;
    }
    Ok(())
}

impl Screen {
    fn show(&mut self, line: &str) -> anyhow::Result<()> {
        match self {
            Screen::Edited(printer) => printer.print(format!("{line}\n"))?,
            Screen::Stream => {
                let mut out = std::io::stdout().lock();
                // The reader waits for each line.
                writeln!(out, "{line}").and_then(|()| out.flush())?;
            }
        }
        Ok(())
    }
}

/// The next line, or None at the end of input. Waits forever after the end.
async fn typed_line(lines: &mut Option<InputLines>) -> Option<std::io::Result<Vec<u8>>> {
    match lines {
        Some(lines) => lines.recv().await,
        None => std::future::pending().await,
    }
}

/// The meaning of a line that a person typed.
#[derive(Debug, PartialEq, Eq)]
enum LineCommand<'a> {
    Nothing,
    Who,
    Quit,
    Unknown,
    Text(&'a [u8]),
}

fn command(line: &[u8]) -> LineCommand<'_> {
    match line.trim_ascii() {
        b"" => LineCommand::Nothing,
        b"/who" => LineCommand::Who,
        b"/quit" => LineCommand::Quit,
        [b'/', text @ ..] if text.starts_with(b"/") => LineCommand::Text(text),
        [b'/', ..] => LineCommand::Unknown,
        _ => LineCommand::Text(line),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_and_their_meanings() {
        for (line, meaning) in [
            ("", LineCommand::Nothing),
            ("  ", LineCommand::Nothing),
            ("/who ", LineCommand::Who),
            ("/quit", LineCommand::Quit),
            ("/whom", LineCommand::Unknown),
            ("/", LineCommand::Unknown),
            ("//etc", LineCommand::Text(b"/etc")),
            (" a /who", LineCommand::Text(b" a /who")),
        ] {
            assert_eq!(command(line.as_bytes()), meaning, "{line:?}");
        }
    }
}
