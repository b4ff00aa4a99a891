//! Every `rooms/…` and `inbox/…` topic is built and parsed here, and nowhere else.
//!
//! Parsing takes no memory and looks at a topic once: it runs for each message.

use percent_encoding::percent_decode_str;
use std::borrow::Cow;
use std::fmt::Write as _;

/// Bytes of a room name, at most.
pub const ROOM_NAME_BYTES: usize = 64;
/// Bytes of a user name in a topic level, at most; a longer one is shortened with a hash.
pub const USER_NAME_BYTES: usize = 128;
/// Bytes kept of a name that is shortened.
const KEPT_BYTES: usize = 100;

/// A second level under `rooms/` that cannot be a room.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is no room name: that is 1 to 64 of A-Z a-z 0-9 . _ ~ - and does not start with `_`"
)]
pub struct BadRoomName(pub String);

/// A user name that nobody may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a user name is not empty, does not start with `~` or `_`, and is not `me`")]
pub struct BadUserName;

/// Where a topic lies. Room and user are the second level as it stands, unchecked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TopicKind<'a> {
    /// `rooms` alone.
    Rooms,
    /// `rooms/<room>`, and what follows the next slash.
    Room {
        /// The second level.
        room: &'a str,
        /// The levels from the third on.
        rest: Option<&'a str>,
    },
    /// `inbox` alone.
    Inboxes,
    /// `inbox/<user>`, and what follows the next slash.
    Inbox {
        /// The second level.
        user: &'a str,
        /// The levels from the third on.
        rest: Option<&'a str>,
    },
    /// Any other topic.
    Outside,
}

/// What a filter can reach.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FilterScope<'a> {
    /// One room; a peek sees only `_info` or `_presence` and makes nobody a member.
    Room {
        /// The literal second level, unchecked.
        room: &'a str,
        /// Whether it is a peek.
        peek: bool,
    },
    /// One inbox.
    Inbox {
        /// The literal second level.
        user: &'a str,
    },
    /// Topics under several second levels, rooms or inboxes among them.
    Spanning,
    /// `rooms` or `inbox` alone, where nothing is.
    Nothing,
    /// Neither rooms nor inboxes.
    Outside,
}

/// Where `topic` lies.
#[must_use]
#[inline]
pub fn kind(topic: &str) -> TopicKind<'_> {
    if let Some(tail) = topic.strip_prefix("rooms") {
        match after_first(tail) {
            AfterFirst::Alone => TopicKind::Rooms,
            AfterFirst::Levels(room, rest) => TopicKind::Room { room, rest },
            AfterFirst::Other => TopicKind::Outside,
        }
    } else if let Some(tail) = topic.strip_prefix("inbox") {
        match after_first(tail) {
            AfterFirst::Alone => TopicKind::Inboxes,
            AfterFirst::Levels(user, rest) => TopicKind::Inbox { user, rest },
            AfterFirst::Other => TopicKind::Outside,
        }
    } else {
        TopicKind::Outside
    }
}

enum AfterFirst<'a> {
    Alone,
    Levels(&'a str, Option<&'a str>),
    Other,
}

#[inline]
fn after_first(tail: &str) -> AfterFirst<'_> {
    if tail.is_empty() {
        return AfterFirst::Alone;
    }
    let Some(levels) = tail.strip_prefix('/') else {
        return AfterFirst::Other;
    };
    match levels.split_once('/') {
        Some((second, rest)) => AfterFirst::Levels(second, Some(rest)),
        None => AfterFirst::Levels(levels, None),
    }
}

/// What `filter` can reach; `filter` without `$share/<group>/`, and well formed.
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
    levels.split_once('/').map_or(levels, |(first, _)| first)
}

fn is_wildcard(level: &str) -> bool {
    matches!(level, "+" | "#")
}

/// Checks a room name.
///
/// # Errors
/// The name does not hold what protocol.md asks of one.
pub fn room_name(name: &str) -> Result<&str, BadRoomName> {
    let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'~' | b'-');
    let good = (1..=ROOM_NAME_BYTES).contains(&name.len())
        && !name.starts_with('_')
        && name.bytes().all(allowed);
    if good {
        Ok(name)
    } else {
        // What is told need not be longer than what can be right.
        let shown: String = name.chars().take(ROOM_NAME_BYTES + 1).collect();
        Err(BadRoomName(shown))
    }
}

/// The first level of `rest` that only the server writes.
#[must_use]
pub fn reserved_level(rest: &str) -> Option<&str> {
    rest.split('/').find(|level| level.starts_with('_'))
}

/// Whether a topic or filter (without `$share/<group>/`) lies where the server tells of itself.
#[must_use]
pub fn is_sys(name: &str) -> bool {
    first_level(name) == "$SYS"
}

/// Whether nobody but the server names such a topic: `$SYS` is its own, and a subscriber who names `$share/…` means
/// something else (4.8.2).
#[must_use]
pub fn is_reserved(topic: &str) -> bool {
    matches!(first_level(topic), "$SYS" | "$share")
}

/// Whether the levels after `rooms/<room>/` are those of the room's facts.
#[must_use]
pub fn is_info(rest: &str) -> bool {
    rest == "_info"
}

/// Whether a reserved level is that of requests.
#[must_use]
pub fn is_request(level: &str) -> bool {
    level == "_ctl"
}

/// Checks a user name that somebody with credentials would have.
///
/// # Errors
/// The name is kept for others: `~` starts those without credentials, `_` the server's own words, and
/// `inbox/me` is everybody's own.
pub fn user_name(name: &str) -> Result<&str, BadUserName> {
    if name.is_empty() || name == "me" || name.starts_with(['~', '_']) {
        Err(BadUserName)
    } else {
        Ok(name)
    }
}

/// A user's name as it stands in a topic level: what a level cannot hold is percent-encoded; more than
/// [`USER_NAME_BYTES`] are cut and end in a hash of the whole. The same in every run.
#[must_use]
pub fn user_level(name: &str) -> String {
    let mut level = String::with_capacity(name.len());
    // Where the name may be cut without breaking a character.
    let mut cut = 0;
    for c in name.chars() {
        if c.is_control() || matches!(c, '/' | '+' | '#' | '%') {
            for byte in c.encode_utf8(&mut [0; 4]).bytes() {
                let _ = write!(level, "%{byte:02X}"); // a String takes everything
            }
        } else {
            level.push(c);
        }
        if level.len() <= KEPT_BYTES {
            cut = level.len();
        }
    }
    if level.len() > USER_NAME_BYTES {
        let hash = fnv1a(level.as_bytes());
        level.truncate(cut);
        let _ = write!(level, "-{hash:016x}");
    }
    level
}

/// The name that [`user_level`] was made from; of one that was shortened, what is left of it.
#[must_use]
pub fn name_of_level(level: &str) -> Cow<'_, str> {
    percent_decode_str(level).decode_utf8_lossy()
}

/// The name of somebody without credentials.
#[must_use]
pub fn anonymous_level(client_id: &str) -> String {
    user_level(&format!("~{client_id}"))
}

/// Whether a user (as in a topic level) has shown no credentials.
#[must_use]
pub fn is_anonymous(user: &str) -> bool {
    user.starts_with('~')
}

/// FNV-1a, 64 bits: no secret depends on it, and it is the same everywhere.
fn fnv1a(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

/// The room's main line, `rooms/<room>`.
#[must_use]
pub fn room(room: &str) -> String {
    format!("rooms/{room}")
}

/// All of a room: who subscribes to it joins.
#[must_use]
pub fn room_filter(room: &str) -> String {
    format!("rooms/{room}/#")
}

/// A user's entry in a room's roster; with `+` for the user, the filter of the roster.
#[must_use]
pub fn presence(room: &str, user: &str) -> String {
    format!("rooms/{room}/_presence/{user}")
}

/// A room's notices.
#[must_use]
pub fn events(room: &str) -> String {
    format!("rooms/{room}/_events")
}

/// A room's facts; with `+` for the room, the filter of all that may be seen.
#[must_use]
pub fn info(room: &str) -> String {
    format!("rooms/{room}/_info")
}

/// Where a user is told what went wrong.
#[must_use]
pub fn inbox_error(user: &str) -> String {
    format!("inbox/{user}/error")
}

/// Where a user is answered.
#[must_use]
pub fn inbox_reply(user: &str) -> String {
    format!("inbox/{user}/reply")
}

/// The front of every topic in a user's inbox.
#[must_use]
pub fn inbox_prefix(user: &str) -> String {
    format!("inbox/{user}/")
}

/// `name` (a topic or a filter) with the user's own name for `inbox/me`; none where it does not say that.
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

/// Whether `rest` (below `inbox/<somebody>/`) is where `user` may write.
#[must_use]
pub fn is_direct_message(rest: &str, user: &str) -> bool {
    rest.strip_prefix("dm/") == Some(user)
}

#[cfg(test)]
mod tests;
