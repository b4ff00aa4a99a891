//! The JSON of `_events` and `_info`, and refusals that more than one file makes.

use super::refusal::{not_authorized, refused};
use super::time::rfc3339;
use bytes::Bytes;
use roommq_lane::WallTime;
use roommq_mqtt::Refusal;
use roommq_mqtt::packet::ReasonCode;
use serde::{Deserialize, Serialize};
use std::borrow::Cow;

/// One message at `rooms/<room>/_events`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RoomEvent<'a> {
    /// What happened.
    pub event: EventKind,
    /// The user, as in a topic level.
    #[serde(borrow)]
    pub user: Cow<'a, str>,
    /// For `lost`: why the connection was lost. For `left`: `left` or `lost`.
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<Cow<'a, str>>,
    /// When it happened, RFC 3339.
    #[serde(borrow)]
    pub at: Cow<'a, str>,
}

/// The kinds of events.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum EventKind {
    /// A user joined with its first device.
    Joined,
    /// A member left: it unsubscribed or disconnected, or its grace period ended.
    Left,
    /// A member lost its last device. It stays a member for the grace period.
    Lost,
    /// A lost member returned within the grace period.
    Back,
}

/// The retained message at `rooms/<room>/_info`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RoomInfo<'a> {
    /// The room.
    #[serde(borrow)]
    pub room: Cow<'a, str>,
    /// What the room is about. Always null today.
    #[serde(borrow)]
    pub subject: Option<Cow<'a, str>>,
    /// `open` or `list`.
    #[serde(borrow)]
    pub access: Cow<'a, str>,
    /// Members: online, or lost within the grace period.
    pub count: usize,
    /// The most members. None: no limit.
    pub limit: Option<u32>,
    /// The epoch that the room's offsets belong to.
    #[serde(borrow)]
    pub epoch: Cow<'a, str>,
    /// The offset of the room's last message when this was published. 0: none yet.
    pub last: u64,
}

/// `value` as JSON. The types of this crate always serialize. If one did not, the payload would be
/// an empty object: an empty payload would clear a retained message.
pub fn json(value: &impl Serialize) -> Bytes {
    serde_json::to_vec(value).map_or_else(|_| Bytes::from_static(b"{}"), Bytes::from)
}

impl<'a> RoomEvent<'a> {
    pub(crate) fn new(
        event: EventKind,
        user: &'a str,
        reason: Option<&'a str>,
        at: WallTime,
    ) -> Self {
        RoomEvent {
            event,
            user: user.into(),
            reason: reason.map(Cow::Borrowed),
            at: rfc3339(at).into(),
        }
    }
}

/// The refusal if there is no room of this name and the client may not create it.
#[must_use]
pub fn no_room(room: &str, nobody_creates: bool) -> Refusal {
    not_authorized(if nobody_creates {
        format!("there is no room `{room}`; only rooms that the server's config names exist here")
    } else {
        format!("there is no room `{room}` yet; connect with a user name and password to open it")
    })
}

/// The refusal of a join or message that would create a room above `limits.rooms`.
pub(crate) fn too_many_rooms(limit: usize) -> Refusal {
    let reason =
        format!("full: the server has {limit} rooms; join one that is there, or try later");
    refused(ReasonCode::QuotaExceeded, reason)
}

/// The refusal of a join or message that would create more rooms of one user than it may have.
pub(crate) fn too_many_of_user(limit: usize) -> Refusal {
    let reason = format!(
        "full: a user may create {limit} rooms; clear the retained messages of one that nobody needs, or leave it"
    );
    refused(ReasonCode::QuotaExceeded, reason)
}

/// The refusal of a join of a user who has joined and left the room too often.
pub(crate) fn too_many_changes(limit: u32) -> Refusal {
    let reason = format!("too fast: a user may join and leave a room {limit} times in 10 s");
    refused(ReasonCode::QuotaExceeded, reason)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn events_are_as_in_the_protocol() {
        let lost = RoomEvent::new(EventKind::Lost, "al", Some("connection lost"), WallTime(1));
        let text = serde_json::to_string(&lost).unwrap();
        assert_eq!(
            text,
            r#"{"event":"lost","user":"al","reason":"connection lost","at":"1970-01-01T00:00:00.001Z"}"#
        );
        assert_eq!(serde_json::from_str::<RoomEvent<'_>>(&text).unwrap(), lost);
    }
}
