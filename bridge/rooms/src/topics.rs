//! Builds and parses all topics under `rooms/` and `inbox/`. No other file does.
//!
//! Parsing runs for each message, so it does not allocate and reads a topic once.

use percent_encoding::percent_decode_str;
use std::borrow::Cow;
use std::fmt::Write as _;

/// The most bytes of a room name.
pub const ROOM_NAME_BYTES: usize = 64;
/// The most bytes of a user name as a topic level. Longer names are refused, never shortened: two names
/// must not become the same level.
pub const USER_NAME_BYTES: usize = 128;

/// A level under `rooms/` that is not a room name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is no room name: that is 1 to 64 of A-Z a-z 0-9 . _ ~ - and does not start with `_`"
)]
pub struct BadRoomName(pub String);

/// A user name that is not allowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadUserName {
    /// It is empty, or has a meaning of its own.
    #[error("a user name is not empty, does not start with `~` or `_`, and is not `me`")]
    Reserved,
    /// Its topic level has this many bytes.
    #[error(
        "a user name has at most 128 bytes in a topic, where each of / + # % and control characters counts 3 or more; this one has {0}"
    )]
    TooLong(usize),
}

/// The client id of an anonymous client whose topic level, `~<client id>`, would have this many bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "without a user name the client id has at most 127 bytes in a topic, where each of / + # % and control characters counts 3 or more; this one has {0}"
)]
pub struct LongClientId(pub usize);

/// The kind of a topic. Room and user are the second level, unchecked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TopicKind<'a> {
    /// `rooms` alone.
    Rooms,
    /// `rooms/<room>` or a topic below it.
    Room {
        /// The second level.
        room: &'a str,
        /// The levels from the third on.
        rest: Option<&'a str>,
    },
    /// `inbox` alone.
    Inboxes,
    /// `inbox/<user>` or a topic below it.
    Inbox {
        /// The second level.
        user: &'a str,
        /// The levels from the third on.
        rest: Option<&'a str>,
    },
    /// Any other topic.
    Outside,
}

/// The topics that a filter can match.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FilterScope<'a> {
    /// Topics of one room. A peek matches only `_info` or `_presence`, and its client does not
    /// join.
    Room {
        /// The second level, unchecked.
        room: &'a str,
        /// Whether it is a peek.
        peek: bool,
    },
    /// Topics of one inbox.
    Inbox {
        /// The second level, unchecked.
        user: &'a str,
    },
    /// Topics of several rooms or inboxes, and perhaps others.
    Spanning,
    /// `rooms` or `inbox` alone. There are no such topics.
    Nothing,
    /// Only topics outside rooms and inboxes.
    Outside,
}

/// The kind of `topic`.
#[inline]
#[must_use]
pub fn kind(topic: &str) -> TopicKind<'_> {
    if let Some(levels) = topic.strip_prefix("rooms/") {
        let (room, rest) = split_first(levels);
        TopicKind::Room { room, rest }
    } else if let Some(levels) = topic.strip_prefix("inbox/") {
        let (user, rest) = split_first(levels);
        TopicKind::Inbox { user, rest }
    } else {
        match topic {
            "rooms" => TopicKind::Rooms,
            "inbox" => TopicKind::Inboxes,
            _ => TopicKind::Outside,
        }
    }
}

/// The first level, and the levels after it.
#[inline]
fn split_first(levels: &str) -> (&str, Option<&str>) {
    match levels.bytes().position(|byte| byte == b'/') {
        Some(at) => (&levels[..at], Some(&levels[at + 1..])),
        None => (levels, None),
    }
}

/// The topics that `filter` can match. `filter` must be well formed and without `$share/<group>/`.
#[must_use]
pub fn scope(filter: &str) -> FilterScope<'_> {
    if is_wildcard(first_level(filter)) {
        return FilterScope::Spanning;
    }
    match kind(filter) {
        TopicKind::Outside => FilterScope::Outside,
        TopicKind::Rooms | TopicKind::Inboxes => FilterScope::Nothing,
        TopicKind::Room { room: second, .. } | TopicKind::Inbox { user: second, .. }
            if is_wildcard(second) =>
        {
            FilterScope::Spanning
        }
        TopicKind::Room { room, rest } => FilterScope::Room {
            room,
            peek: rest.is_some_and(|rest| matches!(first_level(rest), "_info" | "_presence")),
        },
        TopicKind::Inbox { user, .. } => FilterScope::Inbox { user },
    }
}

fn first_level(levels: &str) -> &str {
    split_first(levels).0
}

fn is_wildcard(level: &str) -> bool {
    matches!(level, "+" | "#")
}

/// Checks a room name.
///
/// # Errors
/// The name is not 1 to 64 of A-Z a-z 0-9 . _ ~ - or starts with `_`.
pub fn room_name(name: &str) -> Result<&str, BadRoomName> {
    let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'~' | b'-');
    let good = (1..=ROOM_NAME_BYTES).contains(&name.len())
        && !name.starts_with('_')
        && name.bytes().all(allowed);
    if good {
        Ok(name)
    } else {
        // A text for people: no longer than a right name and one character.
        let shown: String = name.chars().take(ROOM_NAME_BYTES + 1).collect();
        Err(BadRoomName(shown))
    }
}

/// The first level of `rest` that is reserved for the server.
#[must_use]
pub fn reserved_level(rest: &str) -> Option<&str> {
    rest.split('/').find(|level| level.starts_with('_'))
}

/// Whether a topic or filter (without `$share/<group>/`) is under `$SYS`.
#[must_use]
pub fn is_sys(name: &str) -> bool {
    first_level(name) == "$SYS"
}

/// Whether a topic is reserved for the server: `$SYS` is its own, and `$share/…` is the form of a
/// shared subscription (4.8.2).
#[must_use]
pub fn is_reserved(topic: &str) -> bool {
    matches!(first_level(topic), "$SYS" | "$share")
}

/// Whether a topic is that by which a bridge of mosquitto tells whether it is connected:
/// `$SYS/broker/connection/<name>/state`.
#[must_use]
pub fn is_bridge_state(topic: &str) -> bool {
    let rest = topic.strip_prefix("$SYS/broker/connection/");
    let name = rest.and_then(|rest| rest.strip_suffix("/state"));
    name.is_some_and(|name| !name.is_empty())
}

/// Whether the levels after `rooms/<room>/` are `_info`.
#[must_use]
pub fn is_info(rest: &str) -> bool {
    rest == "_info"
}

/// Whether a reserved level is `_ctl`, the level of requests.
#[must_use]
pub fn is_request(level: &str) -> bool {
    level == "_ctl"
}

/// Checks the name of a user with credentials.
///
/// # Errors
/// The name is empty or reserved: `~` starts the names of anonymous users, `_` those of the server, and
/// `me` is the user itself in `inbox/me`. Or its level has more than [`USER_NAME_BYTES`].
pub fn user_name(name: &str) -> Result<&str, BadUserName> {
    if name.is_empty() || name == "me" || name.starts_with(['~', '_']) {
        return Err(BadUserName::Reserved);
    }
    match level_bytes(name) {
        0..=USER_NAME_BYTES => Ok(name),
        bytes => Err(BadUserName::TooLong(bytes)),
    }
}

/// Whether `c` is percent-encoded in the level of a user.
fn is_encoded(c: char) -> bool {
    c.is_control() || matches!(c, '/' | '+' | '#' | '%')
}

/// The bytes of [`user_level`].
fn level_bytes(name: &str) -> usize {
    let bytes = |c: char| c.len_utf8() * if is_encoded(c) { 3 } else { 1 };
    name.chars().map(bytes).sum()
}

/// The topic level of a user's name. Characters that a level cannot contain are percent-encoded: `a/b`
/// becomes `a%2Fb`. Different names have different levels. The level is as long as the name makes it:
/// [`user_name`] and [`anonymous_level`] refuse long ones.
#[must_use]
pub fn user_level(name: &str) -> String {
    let mut level = String::with_capacity(level_bytes(name));
    for c in name.chars() {
        if is_encoded(c) {
            for byte in c.encode_utf8(&mut [0; 4]).bytes() {
                let _ = write!(level, "%{byte:02X}"); // writing to a String cannot fail
            }
        } else {
            level.push(c);
        }
    }
    level
}

/// The name that [`user_level`] encoded.
#[must_use]
pub fn name_of_level(level: &str) -> Cow<'_, str> {
    percent_decode_str(level).decode_utf8_lossy()
}

/// The topic level of an anonymous user, `~<client id>`.
///
/// # Errors
/// The level would have more than [`USER_NAME_BYTES`].
pub fn anonymous_level(client_id: &str) -> Result<String, LongClientId> {
    match level_bytes(client_id) + 1 {
        0..=USER_NAME_BYTES => Ok(user_level(&["~", client_id].concat())),
        bytes => Err(LongClientId(bytes - 1)),
    }
}

/// Whether a user (as in a topic level) is anonymous.
#[must_use]
pub fn is_anonymous(user: &str) -> bool {
    user.starts_with('~')
}

/// The main topic of a room, `rooms/<room>`.
#[must_use]
pub fn room(room: &str) -> String {
    ["rooms/", room].concat()
}

/// The filter of all topics of a room. A client that subscribes to it joins.
#[must_use]
pub fn room_filter(room: &str) -> String {
    ["rooms/", room, "/#"].concat()
}

/// The topic of a member's roster entry. With `+` as the user: the filter of the roster.
#[must_use]
pub fn presence(room: &str, user: &str) -> String {
    ["rooms/", room, "/_presence/", user].concat()
}

/// The topic of a room's notices.
#[must_use]
pub fn events(room: &str) -> String {
    ["rooms/", room, "/_events"].concat()
}

/// The topic of a room's `_info`. With `+` as the room: the filter of all rooms that may be seen.
#[must_use]
pub fn info(room: &str) -> String {
    ["rooms/", room, "/_info"].concat()
}

/// The topic of messages from one user to another alone. Both names are as in a topic level.
#[must_use]
pub fn inbox_dm(to: &str, from: &str) -> String {
    ["inbox/", to, "/dm/", from].concat()
}

/// The topic of a user's error messages.
#[must_use]
pub fn inbox_error(user: &str) -> String {
    ["inbox/", user, "/error"].concat()
}

/// The topic of responses to a user, and the prefix of more. Everybody may publish there.
#[must_use]
pub fn inbox_response(user: &str) -> String {
    ["inbox/", user, "/response"].concat()
}

/// The prefix of all topics of a user's inbox.
#[must_use]
pub fn inbox_prefix(user: &str) -> String {
    ["inbox/", user, "/"].concat()
}

/// `name` (a topic or filter) with the user's own name for `me`. None: `name` is not under
/// `inbox/me`.
#[must_use]
pub fn own_inbox(name: &str, user: &str) -> Option<String> {
    match kind(name) {
        TopicKind::Inbox { user: "me", rest } => Some(match rest {
            Some(rest) => format!("inbox/{user}/{rest}"),
            None => format!("inbox/{user}"),
        }),
        _ => None,
    }
}

/// Whether `rest` (below `inbox/<recipient>/`) is a topic of responses: `response`, or a level below it.
#[must_use]
pub fn is_response(rest: &str) -> bool {
    rest.split('/').next() == Some("response")
}

/// Whether `rest` (below `inbox/<recipient>/`) is the topic of direct messages from `user`.
#[must_use]
pub fn is_direct_message(rest: &str, user: &str) -> bool {
    rest.strip_prefix("dm/") == Some(user)
}

#[cfg(test)]
mod tests;
