//! The full-screen client of `roommq join`, on a terminal.
//!
//! ```text
//!            keys        actions
//! terminal ------> Chat ---------> ChatRunner <-----> server
//!     ^             |  <---------          messages, answers, losses
//!     '--- draw ----'
//! ```
//!
//! [`Chat`] is what is shown; it knows no terminal and no connection. The runner connects again when
//! the connection is lost, and joins the rooms again.

mod commands;
mod draw;
mod state;

use crate::client::{
    ClientError, ClientEvent, ConnectOptions, MqttClient, RequestId, SubscribeRequest, WINDOW,
};
use crate::signals::Signals;
use draw::{Palette, draw};
use futures_util::{FutureExt, StreamExt};
use jiff::{Timestamp, tz::TimeZone};
use ratatui::DefaultTerminal;
use ratatui::crossterm::event::{DisableBracketedPaste, EnableBracketedPaste, Event, EventStream};
use ratatui::crossterm::execute;
use roommq_bridge::topics;
use state::{Chat, ChatAction, ChatLink};
use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::io;
use std::pin::Pin;
use std::time::Duration;
use tokio::time::{Instant, sleep_until};

/// The longest time between two attempts to connect, in seconds.
const LONGEST_WAIT: u64 = 30;
/// The most events that are handled between two pictures.
const EVENTS_A_PICTURE: usize = 256;

type ConnectAttempt = Pin<Box<dyn Future<Output = Result<MqttClient, ClientError>>>>;

/// What was asked of the server.
enum ChatRequest {
    Inbox,
    Join(String),
    Leave,
    Send(String),
}

/// The connection.
enum ChatConnection {
    Up(MqttClient),
    Connecting(ConnectAttempt),
    /// The next attempt is at this time.
    Waiting(Instant),
}

/// What the loop waits for.
enum ChatEvent {
    Key(Option<io::Result<Event>>),
    Server(Result<ClientEvent, ClientError>),
    Connected(Result<MqttClient, ClientError>),
    Tick,
    Stopped,
}

struct ChatRunner<'a> {
    chat: Chat,
    options: &'a ConnectOptions,
    qos: u8,
    connection: ChatConnection,
    asked: HashMap<RequestId, ChatRequest>,
    /// Attempts to connect since the connection was lost.
    attempts: u32,
    /// Whether a room was ever joined.
    was_in: bool,
}

/// Joins the rooms and stays until the user leaves. `client` is connected.
///
/// # Errors
/// The terminal failed, or the server refused all rooms.
pub(crate) async fn stay(
    client: MqttClient,
    options: &ConnectOptions,
    rooms: &[String],
    qos: u8,
    mut stop: Signals,
) -> anyhow::Result<()> {
    let me = crate::connect::own_name(options);
    let chat = Chat::new(&me, &options.server.to_string(), rooms, TimeZone::system());
    let mut runner = ChatRunner {
        chat,
        options,
        qos,
        connection: ChatConnection::Up(client),
        asked: HashMap::new(),
        attempts: 0,
        was_in: false,
    };
    runner.ask_for_all()?;
    let mut terminal = ratatui::try_init()?;
    // A terminal that does not know it pastes as if the text were typed.
    let _ = execute!(io::stdout(), EnableBracketedPaste);
    let outcome = runner.run(&mut terminal, &mut stop).await;
    let _ = execute!(io::stdout(), DisableBracketedPaste);
    ratatui::restore();
    if let ChatConnection::Up(client) = runner.connection {
        client.disconnect().await;
    }
    outcome
}

impl ChatRunner<'_> {
    async fn run(
        &mut self,
        terminal: &mut DefaultTerminal,
        stop: &mut Signals,
    ) -> anyhow::Result<()> {
        let no_colour = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        let palette = Palette {
            colours: !no_colour,
        };
        let mut keys = EventStream::new();
        loop {
            terminal.draw(|frame| draw(frame, &self.chat, palette))?;
            let event = tokio::select! {
                key = keys.next() => ChatEvent::Key(key),
                event = self.connection.next() => event,
                _ = stop.end() => ChatEvent::Stopped,
            };
            if !self.take(event)? {
                return Ok(());
            }
            // A burst of messages becomes one picture.
            for _ in 0..EVENTS_A_PICTURE {
                let ChatConnection::Up(client) = &mut self.connection else {
                    break;
                };
                let Some(event) = client.next().now_or_never() else {
                    break;
                };
                self.take(ChatEvent::Server(event))?;
            }
        }
    }

    /// Returns whether the client goes on.
    fn take(&mut self, event: ChatEvent) -> anyhow::Result<bool> {
        let now = Timestamp::now();
        match event {
            ChatEvent::Stopped | ChatEvent::Key(None) => return Ok(false),
            ChatEvent::Key(Some(event)) => {
                for action in self.chat.handle(&event?, now) {
                    if action == ChatAction::Quit {
                        return Ok(false);
                    }
                    self.perform(action, now);
                }
            }
            ChatEvent::Server(Ok(ClientEvent::Message(message))) => {
                self.chat.receive(&message, now);
            }
            ChatEvent::Server(Ok(ClientEvent::Answered(request, outcome))) => {
                let refused = outcome.err();
                match self.asked.remove(&request) {
                    Some(ChatRequest::Join(room)) => {
                        let refused = refused.map(|refusal| refusal.joining(&room));
                        self.was_in |= refused.is_none();
                        self.chat.answer_join(&room, refused.clone(), now);
                        let more = self
                            .asked
                            .values()
                            .any(|a| matches!(a, ChatRequest::Join(_)));
                        if let Some(text) = refused.filter(|_| !self.was_in && !more) {
                            anyhow::bail!(text);
                        }
                    }
                    Some(ChatRequest::Send(topic)) => {
                        if let Some(refusal) = refused {
                            self.chat.complain(refusal.sending(&topic), now);
                        }
                    }
                    // A server without inboxes may refuse.
                    Some(ChatRequest::Inbox | ChatRequest::Leave) | None => {}
                }
            }
            ChatEvent::Server(Err(error)) => self.lose(error, now)?,
            ChatEvent::Connected(Ok(client)) => {
                self.connection = ChatConnection::Up(client);
                self.chat.link = ChatLink::Up;
                self.attempts = 0;
                self.ask_for_all()?;
            }
            ChatEvent::Connected(Err(error)) => self.wait(error)?,
            ChatEvent::Tick => self.tick(),
        }
        Ok(true)
    }

    fn perform(&mut self, action: ChatAction, now: Timestamp) {
        let ChatConnection::Up(client) = &mut self.connection else {
            if action == ChatAction::Retry {
                self.connect();
            }
            return;
        };
        if client.outstanding() >= WINDOW {
            self.chat
                .complain("the server is slow to answer: not done", now);
            return;
        }
        let (request, asked) = match action {
            ChatAction::Join(room) => {
                let filter = topics::room_filter(&room);
                (
                    client.subscribe(&subscription(filter, self.qos)),
                    ChatRequest::Join(room),
                )
            }
            ChatAction::Leave(room) => (
                client.unsubscribe(&topics::room_filter(&room)),
                ChatRequest::Leave,
            ),
            ChatAction::Send { topic, text } => {
                let request = client.publish(&topic, text.into_bytes(), self.qos, false);
                (request, ChatRequest::Send(topic))
            }
            ChatAction::Retry | ChatAction::Quit => return,
        };
        match request {
            Ok(request) => {
                self.asked.insert(request, asked);
            }
            Err(error) => self.chat.complain(error.to_string(), now),
        }
    }

    /// Subscribes to the inbox and to all rooms.
    fn ask_for_all(&mut self) -> Result<(), ClientError> {
        let ChatConnection::Up(client) = &mut self.connection else {
            return Ok(());
        };
        // Before the rooms, so that no message to the inbox is missed.
        let inbox = client.subscribe(&subscription(topics::inbox_prefix("me") + "#", self.qos))?;
        self.asked.insert(inbox, ChatRequest::Inbox);
        for room in self.chat.rooms() {
            let filter = topics::room_filter(&room);
            let request = client.subscribe(&subscription(filter, self.qos))?;
            self.asked.insert(request, ChatRequest::Join(room));
        }
        Ok(())
    }

    /// The connection has ended.
    fn lose(&mut self, error: ClientError, now: Timestamp) -> anyhow::Result<()> {
        self.asked.clear();
        self.chat.lose(&error.to_string(), now);
        self.wait(error)
    }

    /// Waits for the next attempt to connect.
    ///
    /// # Errors
    /// Another attempt would fail as well, or do harm.
    fn wait(&mut self, error: ClientError) -> anyhow::Result<()> {
        if !error.may_pass() {
            return Err(error.into());
        }
        let wait = LONGEST_WAIT.min(1 << self.attempts.min(5));
        // Clients of one server do not come back at the same moment.
        let random = RandomState::new().hash_one(self.attempts) % 500;
        let wait = Duration::from_secs(wait) + Duration::from_millis(random);
        self.attempts += 1;
        self.connection = ChatConnection::Waiting(Instant::now() + wait);
        let (why, seconds) = (error.to_string(), wait.as_secs());
        self.chat.link = ChatLink::Down { why, seconds };
        Ok(())
    }

    /// A second has passed while the client waits.
    fn tick(&mut self) {
        let ChatConnection::Waiting(until) = self.connection else {
            return;
        };
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            self.connect();
        } else if let ChatLink::Down { seconds, .. } = &mut self.chat.link {
            *seconds = left.as_secs() + 1;
        }
    }

    fn connect(&mut self) {
        if !matches!(self.connection, ChatConnection::Waiting(_)) {
            return;
        }
        let options = self.options.clone();
        let connecting = async move { MqttClient::connect(&options).await };
        self.connection = ChatConnection::Connecting(Box::pin(connecting));
        self.chat.link = ChatLink::Connecting;
    }
}

impl ChatConnection {
    async fn next(&mut self) -> ChatEvent {
        match self {
            ChatConnection::Up(client) => ChatEvent::Server(client.next().await),
            ChatConnection::Connecting(connecting) => ChatEvent::Connected(connecting.await),
            ChatConnection::Waiting(until) => {
                sleep_until((*until).min(Instant::now() + Duration::from_secs(1))).await;
                ChatEvent::Tick
            }
        }
    }
}

/// The client's own messages come back, in the order of the room.
fn subscription(filter: String, qos: u8) -> SubscribeRequest {
    SubscribeRequest {
        filter,
        qos,
        no_local: false,
    }
}
