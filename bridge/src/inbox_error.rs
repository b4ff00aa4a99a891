//! The messages at `inbox/<user>/error`, and their limit.

use roommq_broker::packet::ReasonCode;
use roommq_broker::policy::{Attempt, Notice, Refusal, WallTime};
use roommq_broker::rate_limiter::RateLimiters;
use roommq_rooms::topics::{self, TopicKind};
use roommq_rooms::{json, rfc3339};
use serde::Serialize;
use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};

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
    /// Refusals of which no message told since the last message of this kind.
    #[serde(skip_serializing_if = "Option::is_none")]
    suppressed: Option<u64>,
    at: String,
}

/// The error message to `user`'s inbox about a refusal, after so many `suppressed` ones.
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
            suppressed: (suppressed > 0).then_some(suppressed),
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

/// Milliseconds between two error messages of one kind to one user.
const ERROR_INTERVAL: u64 = 1_000;

/// Kinds of errors of one user that are told apart. Those of further kinds in the same second are only counted.
const KINDS: usize = 16;

/// Users that are remembered. A user takes 1.5 KiB at most.
const USERS: usize = 8_192;

/// Limits the error messages in inboxes: one a second to each user for each kind of refusal.
///
/// A kind is SUBSCRIBE or PUBLISH, the reason code and the room. Each user has limits of its own: a user who is refused
/// 20,000 times a second in thousands of rooms receives 16 messages a second, and all others theirs.
#[derive(Debug, Default)]
pub(crate) struct ErrorLimiters {
    by_user: HashMap<Box<str>, RateLimiters<u64>>,
    /// Turns kinds into keys of a fixed size.
    hasher: RandomState,
    /// The time of the last removal of idle users.
    pruned: u64,
}

impl ErrorLimiters {
    /// Counts one refusal. None: no message tells of it. Else the number of suppressed refusals that the message must
    /// tell of. `now` is in milliseconds of lane time.
    pub fn admit(
        &mut self,
        user: &str,
        attempt: Attempt<'_>,
        code: ReasonCode,
        now: u64,
    ) -> Option<u64> {
        let (subscribes, name) = match attempt {
            Attempt::Subscribe(filter) => (true, filter),
            Attempt::Publish(topic) => (false, topic),
        };
        let kind = (subscribes, code as u8, room_of(name));
        let kind = self.hasher.hash_one(kind);
        if !self.by_user.contains_key(user) {
            if self.by_user.len() >= USERS && now.abs_diff(self.pruned) >= ERROR_INTERVAL {
                self.pruned = now;
                self.by_user.retain(|_, limiters| !limiters.is_idle(now));
            }
            if self.by_user.len() >= USERS {
                return None;
            }
            let limiters = RateLimiters::new(ERROR_INTERVAL, KINDS);
            self.by_user.insert(user.into(), limiters);
        }
        let events = self.by_user.get_mut(user)?.admit(kind, now)?;
        Some(events.saturating_sub(1))
    }
}

/// The room of a topic or filter. All names outside rooms count as one room.
fn room_of(name: &str) -> &str {
    match topics::kind(name) {
        TopicKind::Room { room, .. } if topics::room_name(room).is_ok() => room,
        _ => "",
    }
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
            3,
            WallTime(0),
        );
        let text = String::from_utf8(notice.payload.to_vec()).unwrap();
        assert!(
            text.contains(r#""topic":"rooms/a","suppressed":3,"#) && !text.contains("filter"),
            "{text}"
        );
    }

    #[test]
    fn the_reference_lists_the_words_of_the_codes() {
        let page = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/reference/errors.md");
        let page = std::fs::read_to_string(page).unwrap();
        let codes = [
            ReasonCode::UnspecifiedError,
            ReasonCode::NotAuthorized,
            ReasonCode::TopicFilterInvalid,
            ReasonCode::TopicNameInvalid,
            ReasonCode::QuotaExceeded,
            ReasonCode::PayloadFormatInvalid,
            ReasonCode::RetainNotSupported,
            ReasonCode::SharedSubscriptionsNotSupported,
        ];
        for code in codes {
            let row = format!("| 0x{:02X} | `{}` | ", code as u8, word(code));
            assert!(page.contains(&row), "no row {row}");
        }
    }

    #[test]
    fn errors_are_limited_by_user_kind_room_and_code() {
        let (full, not) = (ReasonCode::QuotaExceeded, ReasonCode::NotAuthorized);
        let (join, send) = (Attempt::Subscribe("rooms/a/#"), Attempt::Publish("rooms/a"));
        let mut limiters = ErrorLimiters::default();
        assert_eq!(limiters.admit("al", join, full, 5_000), Some(0));
        for same in ["rooms/a", "rooms/a/x"] {
            let again = limiters.admit("al", Attempt::Subscribe(same), full, 5_999);
            assert_eq!(again, None);
        }
        assert_eq!(limiters.admit("al", send, full, 5_999), Some(0));
        assert_eq!(limiters.admit("al", join, not, 5_999), Some(0));
        let elsewhere = Attempt::Subscribe("rooms/b/#");
        assert_eq!(limiters.admit("al", elsewhere, full, 5_999), Some(0));
        assert_eq!(limiters.admit("bob", join, full, 5_999), Some(0));
        assert_eq!(limiters.admit("al", join, full, 6_000), Some(2));
        // All names outside rooms are one.
        let outside = ["sensors/1", "rooms/no room"].map(Attempt::Publish);
        let told = outside.map(|one| limiters.admit("al", one, not, 6_000));
        assert_eq!(told, [Some(0), None]);
    }

    #[test]
    fn nobody_hears_less_because_others_are_refused() {
        let mut limiters = ErrorLimiters::default();
        let code = ReasonCode::NotAuthorized;
        let flood = (0..20_000).filter(|n| {
            let room = format!("rooms/r{n}");
            let told = limiters.admit("~eve", Attempt::Publish(&room), code, 5_000);
            told.is_some()
        });
        assert_eq!(flood.count(), KINDS);
        for room in ["rooms/a", "rooms/b", "rooms/c"] {
            let told = limiters.admit("bob", Attempt::Publish(room), code, 5_001);
            assert_eq!(told, Some(0), "{room}");
        }
        let told = limiters.admit("~eve", Attempt::Publish("rooms/r0"), code, 6_000);
        assert_eq!(told, Some(19_984));
    }

    #[test]
    fn the_users_that_are_remembered_are_bounded() {
        let mut limiters = ErrorLimiters::default();
        let (code, attempt) = (ReasonCode::NotAuthorized, Attempt::Publish("rooms/a"));
        let mut admit = |user: usize, now| limiters.admit(&user.to_string(), attempt, code, now);
        let told = (0..2 * USERS).filter(|user| admit(*user, 5_000).is_some());
        assert_eq!(told.count(), USERS);
        assert_eq!(admit(3 * USERS, 6_000), Some(0));
        assert_eq!(limiters.by_user.len(), 1);
    }
}
