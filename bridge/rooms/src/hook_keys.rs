//! The keys of a lane's timers for rooms. No part of them contains a slash, and no user name is empty.

/// The key of a member's grace period.
pub(crate) fn user_key(room: &str, user: &str) -> String {
    format!("{room}/{user}")
}

/// The key of the end of a room without members.
pub(crate) fn empty_key(room: &str) -> String {
    user_key(room, "")
}

/// The key of a room's next `_info`.
pub(crate) fn info_key(room: &str) -> String {
    room.to_owned()
}
