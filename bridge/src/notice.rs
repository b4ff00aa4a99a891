//! The JSON of `_events`, `_info` and `inbox/<user>/error`.

use crate::epoch::rfc3339;
use crate::refusal::{not_authorized, refused};
use crate::topics::{self, TopicKind};
use bytes::Bytes;
use roommq_broker::packet::ReasonCode;
use roommq_broker::policy::{Attempt, Notice, Refusal};
use roommq_broker::rate_limiter::RateLimiters;
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

/// One message at `inbox/<user>/error`.
#[derive(Serialize)]
struct InboxError<'a> {
    error: &'a str,
    code: u8,
    reason: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    filter: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    topic: Option<&'a str>,
    at: String,
}

/// `value` as JSON. The types of this crate always serialize. If one did not, the payload would be
/// an empty object: an empty payload would clear a retained message.
pub(crate) fn json(value: &impl Serialize) -> Bytes {
    serde_json::to_vec(value).map_or_else(|_| Bytes::from_static(b"{}"), Bytes::from)
}

impl<'a> RoomEvent<'a> {
    pub(crate) fn new(event: EventKind, user: &'a str, reason: Option<&'a str>, at: u64) -> Self {
        RoomEvent {
            event,
            user: user.into(),
            reason: reason.map(Cow::Borrowed),
            at: rfc3339(at).into(),
        }
    }
}

/// The error message to `user`'s inbox about a refusal. `at` is in milliseconds since the Unix
/// epoch.
pub(crate) fn error(user: &str, attempt: Attempt<'_>, refusal: &Refusal, at: u64) -> Notice {
    let (filter, topic) = match attempt {
        Attempt::Subscribe(filter) => (Some(filter), None),
        Attempt::Publish(topic) => (None, Some(topic)),
    };
    Notice {
        topic: topics::inbox_error(user),
        payload: json(&InboxError {
            error: word(refusal.code),
            code: refusal.code as u8,
            reason: &refusal.reason,
            filter,
            topic,
            at: rfc3339(at),
        }),
    }
}

/// The `error` word of a reason code.
fn word(code: ReasonCode) -> &'static str {
    match code {
        ReasonCode::NotAuthorized => "not-authorized",
        ReasonCode::QuotaExceeded => "full",
        ReasonCode::TopicFilterInvalid
        | ReasonCode::TopicNameInvalid
        | ReasonCode::PayloadFormatInvalid => "invalid",
        ReasonCode::SharedSubscriptionsNotSupported
        | ReasonCode::WildcardSubscriptionsNotSupported
        | ReasonCode::QoSNotSupported => "not-supported",
        ReasonCode::RetainNotSupported => "not-kept",
        ReasonCode::PacketTooLarge => "too-large",
        ReasonCode::MessageRateTooHigh => "too-fast",
        _ => "refused",
    }
}

/// The refusal if there is no room of this name and the client may not create it.
pub(crate) fn no_room(room: &str, nobody_creates: bool) -> Refusal {
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

/// Milliseconds between two error messages of one [key](error_key).
const ERROR_INTERVAL: u64 = 1_000;

/// Keys that are remembered. While all of them are younger than the interval, an error with a new key is not sent.
const ERROR_KEYS: usize = 4_096;

/// Limits the error messages in inboxes, by [`error_key`].
pub(crate) fn error_limiters() -> RateLimiters<String> {
    RateLimiters::new(ERROR_INTERVAL, ERROR_KEYS)
}

/// The key by which error messages are limited: reason code, room and user.
///
/// `name` is the topic or filter that was refused. All names outside rooms count as one room.
pub(crate) fn error_key(user: &str, name: &str, code: ReasonCode) -> String {
    let room = match topics::kind(name) {
        TopicKind::Room { room, .. } if topics::room_name(room).is_ok() => room,
        _ => "",
    };
    format!("{}/{room}/{user}", code as u8)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn refusal() -> Refusal {
        Refusal {
            code: ReasonCode::QuotaExceeded,
            reason: "full, 50 of 50".to_owned(),
        }
    }

    #[test]
    fn events_are_as_in_the_protocol() {
        let lost = RoomEvent::new(EventKind::Lost, "al", Some("connection lost"), 1);
        let text = serde_json::to_string(&lost).unwrap();
        assert_eq!(
            text,
            r#"{"event":"lost","user":"al","reason":"connection lost","at":"1970-01-01T00:00:00.001Z"}"#
        );
        assert_eq!(serde_json::from_str::<RoomEvent<'_>>(&text).unwrap(), lost);
    }

    #[test]
    fn an_error_names_the_filter_or_topic() {
        let notice = error("al", Attempt::Subscribe("rooms/a/#"), &refusal(), 0);
        assert_eq!(notice.topic, "inbox/al/error");
        assert_eq!(
            notice.payload,
            r#"{"error":"full","code":151,"reason":"full, 50 of 50","filter":"rooms/a/#","at":"1970-01-01T00:00:00.000Z"}"#
        );
        let notice = error("al", Attempt::Publish("rooms/a"), &refusal(), 0);
        let text = String::from_utf8(notice.payload.to_vec()).unwrap();
        assert!(
            text.contains(r#""topic":"rooms/a""#) && !text.contains("filter"),
            "{text}"
        );
    }

    #[test]
    fn errors_are_limited_by_user_room_and_code() {
        let (full, not) = (ReasonCode::QuotaExceeded, ReasonCode::NotAuthorized);
        let key = error_key("al", "rooms/a", full);
        assert_eq!(key, error_key("al", "rooms/a/#", full));
        assert_eq!(key, error_key("al", "rooms/a/x", full));
        assert_ne!(key, error_key("al", "rooms/b", full));
        assert_ne!(key, error_key("al", "rooms/a", not));
        assert_ne!(key, error_key("bob", "rooms/a", full));
        let outside = error_key("al", "sensors/1", full);
        assert_eq!(outside, error_key("al", "rooms/no room", full));
    }
}
