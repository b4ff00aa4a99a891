//! The messages at `inbox/<user>/error`, and their limit.

use roommq_broker::packet::ReasonCode;
use roommq_broker::policy::{Attempt, Notice, Refusal, WallTime};
use roommq_broker::rate_limiter::RateLimiters;
use roommq_rooms::topics::{self, TopicKind};
use roommq_rooms::{json, rfc3339};
use serde::Serialize;

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
    /// Error messages of this kind that were not sent since the last one.
    #[serde(skip_serializing_if = "Option::is_none")]
    suppressed: Option<u64>,
    at: String,
}

/// The error message to `user`'s inbox about a refusal. `suppressed` earlier ones of its kind were not
/// sent.
pub(crate) fn error(
    user: &str,
    attempt: Attempt<'_>,
    refusal: &Refusal,
    suppressed: u64,
    at: WallTime,
) -> Notice {
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
            suppressed: Some(suppressed).filter(|n| *n > 0),
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

/// Milliseconds between two error messages of one [key](error_key).
const ERROR_INTERVAL: u64 = 1_000;

/// Keys that are remembered. While all of them are younger than the interval, an error with a new key is not sent.
const ERROR_KEYS: usize = 4_096;

/// Limits the error messages in inboxes, by [`error_key`].
pub(crate) fn error_limiters() -> RateLimiters<String> {
    RateLimiters::new(ERROR_INTERVAL, ERROR_KEYS)
}

/// The key by which error messages are limited: what was attempted, reason code, room and user.
///
/// All topics and filters outside rooms count as one room.
pub(crate) fn error_key(user: &str, attempt: Attempt<'_>, code: ReasonCode) -> String {
    let (kind, name) = match attempt {
        Attempt::Subscribe(filter) => ('s', filter),
        Attempt::Publish(topic) => ('p', topic),
    };
    let room = match topics::kind(name) {
        TopicKind::Room { room, .. } if topics::room_name(room).is_ok() => room,
        _ => "",
    };
    format!("{kind}{}/{room}/{user}", code as u8)
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
    fn an_error_names_the_filter_or_topic() {
        let notice = error(
            "al",
            Attempt::Subscribe("rooms/a/#"),
            &refusal(),
            0,
            WallTime(0),
        );
        assert_eq!(notice.topic, "inbox/al/error");
        assert_eq!(
            notice.payload,
            r#"{"error":"full","code":151,"reason":"full, 50 of 50","filter":"rooms/a/#","at":"1970-01-01T00:00:00.000Z"}"#
        );
        let notice = error(
            "al",
            Attempt::Publish("rooms/a"),
            &refusal(),
            7,
            WallTime(0),
        );
        let text = String::from_utf8(notice.payload.to_vec()).unwrap();
        assert!(
            text.contains(r#""topic":"rooms/a","suppressed":7,"#) && !text.contains("filter"),
            "{text}"
        );
    }

    #[test]
    fn errors_are_limited_by_kind_user_room_and_code() {
        let publish = |user: &str, name: &str, code| error_key(user, Attempt::Publish(name), code);
        let (full, not) = (ReasonCode::QuotaExceeded, ReasonCode::NotAuthorized);
        let key = publish("al", "rooms/a", full);
        assert_eq!(key, publish("al", "rooms/a/#", full));
        assert_eq!(key, publish("al", "rooms/a/x", full));
        assert_ne!(key, publish("al", "rooms/b", full));
        assert_ne!(key, publish("al", "rooms/a", not));
        assert_ne!(key, publish("bob", "rooms/a", full));
        assert_ne!(key, error_key("al", Attempt::Subscribe("rooms/a"), full));
        let outside = publish("al", "sensors/1", full);
        assert_eq!(outside, publish("al", "rooms/no room", full));
    }
}
