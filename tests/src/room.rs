//! The messages that a member of a room receives, from `docs/reference`.

use crate::wire::{Client, Message};
use serde_json::Value as Json;

/// Waits for the notice of this `kind` (`joined`, `left`, `lost`, `back`) about `user`.
pub fn event(client: &mut Client, kind: &str, user: &str) -> Json {
    client.message_where(|m| is_event(m, kind, user)).json()
}

/// Whether a message is the notice of this `kind` about `user`.
pub fn is_event(message: &Message, kind: &str, user: &str) -> bool {
    message.topic.starts_with("rooms/")
        && message.topic.ends_with("/_events")
        && message.field("event") == kind
        && message.field("user") == user
}

/// Waits for the roster's entry of `user` to have this state and number of devices.
pub fn presence(client: &mut Client, user: &str, state: &str, devices: u64) -> Json {
    client
        .message_where(|m| {
            is_presence(m, user)
                && !m.payload.is_empty()
                && m.field("state") == state
                && m.json()["devices"] == devices
        })
        .json()
}

/// Waits for the roster's entry of `user` to be cleared.
pub fn presence_cleared(client: &mut Client, user: &str) {
    client.message_where(|m| is_presence(m, user) && m.payload.is_empty());
}

/// Whether a message is the roster's entry of `user`.
pub fn is_presence(message: &Message, user: &str) -> bool {
    message.topic.starts_with("rooms/") && message.topic.ends_with(&format!("/_presence/{user}"))
}

/// Whether the server wrote it: a level starts with `_`.
pub fn is_reserved(message: &Message) -> bool {
    message.topic.split('/').any(|level| level.starts_with('_'))
}

/// All messages on application topics, up to the one with this payload.
pub fn said_until(client: &mut Client, payload: &str) -> Vec<Message> {
    let mut all = client.messages_until(payload);
    all.retain(|message| !is_reserved(message));
    all
}
