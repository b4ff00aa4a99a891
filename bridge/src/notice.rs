//! What others are told: the JSON of `_events`, `_info` and `inbox/<user>/error`.

use crate::epoch::rfc3339;
use crate::topics::{self, TopicKind};
use bytes::Bytes;
use roommq_broker::packet::ReasonCode;
use roommq_broker::policy::{Attempt, Notice, Refusal};
use serde::{Deserialize, Serialize};
use std::borrow::Cow;

/// One message at `rooms/<room>/_events`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RoomEvent<'a> {
    /// What happened.
    pub event: EventKind,
    /// To whom, as in a topic level.
    #[serde(borrow)]
    pub user: Cow<'a, str>,
    /// Why somebody was lost; `left` or `lost` for who left.
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<Cow<'a, str>>,
    /// When, RFC 3339.
    #[serde(borrow)]
    pub at: Cow<'a, str>,
}

/// What an event can be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum EventKind {
    /// A user's first device came in.
    Joined,
    /// A user is out: by its own wish, or because the grace period is over.
    Left,
    /// A user's last device was lost; the seat is held for the grace period.
    Lost,
    /// A lost user returned in time.
    Back,
}

/// The retained message at `rooms/<room>/_info`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RoomInfo<'a> {
    /// The room.
    #[serde(borrow)]
    pub room: Cow<'a, str>,
    /// What the room is about; nobody can say so yet.
    #[serde(borrow)]
    pub subject: Option<Cow<'a, str>>,
    /// `open` or `list`.
    #[serde(borrow)]
    pub access: Cow<'a, str>,
    /// Seats taken: users online, and those lost whose grace period runs.
    pub count: usize,
    /// Seats; none: no limit.
    pub limit: Option<u32>,
    /// The room's life that offsets belong to.
    #[serde(borrow)]
    pub epoch: Cow<'a, str>,
    /// The offset of the last message, as of this change; 0: none yet.
    pub last: u64,
}

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

/// `value` as JSON. The types of this crate cannot fail to be JSON; were one to, it is an empty object,
/// since an empty payload would clear what is retained.
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

/// What goes to `user`'s inbox about a refusal; `at` in milliseconds since the Unix epoch.
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

/// The code in a word, for programs of 3.1.1 clients.
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

/// No room of this name can be, or can be yet.
pub(crate) fn no_room(room: &str, nobody_creates: bool) -> Refusal {
    let reason = if nobody_creates {
        format!("there is no room `{room}`; only rooms that the server's config names exist here")
    } else {
        format!("there is no room `{room}` yet; connect with a user name and password to open it")
    };
    Refusal {
        code: ReasonCode::NotAuthorized,
        reason,
    }
}

/// A room would come to life, and as many live as may.
pub(crate) fn too_many_rooms(limit: usize) -> Refusal {
    Refusal {
        code: ReasonCode::QuotaExceeded,
        reason: format!("full: the server has {limit} rooms; join one that is there, or try later"),
    }
}

/// The key by which errors to one user are limited: code, room and user. `name` is the topic or filter that was refused;
/// all names outside rooms count as one room.
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
    fn events_have_the_words_of_the_protocol() {
        let lost = RoomEvent::new(EventKind::Lost, "al", Some("connection lost"), 1);
        let text = serde_json::to_string(&lost).unwrap();
        assert_eq!(
            text,
            r#"{"event":"lost","user":"al","reason":"connection lost","at":"1970-01-01T00:00:00.001Z"}"#
        );
        assert_eq!(serde_json::from_str::<RoomEvent<'_>>(&text).unwrap(), lost);
    }

    #[test]
    fn an_error_says_what_it_is_about() {
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
