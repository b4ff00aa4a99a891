//! The roster: one retained JSON object for each member of a room.

use super::time::rfc3339;
use roommq_lane::WallTime;
use serde::{Deserialize, Serialize};
use std::borrow::Cow;

/// The retained message at `rooms/<room>/_presence/<user>`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RosterEntry<'a> {
    /// The user, as in the topic.
    #[serde(borrow)]
    pub user: Cow<'a, str>,
    /// Online or lost.
    pub state: PresenceState,
    /// Sessions of the user in the room. 0 if it is lost.
    pub devices: usize,
    /// The user's role in the room. `member` for all today.
    #[serde(borrow)]
    pub role: Cow<'a, str>,
    /// When the state began, RFC 3339.
    #[serde(borrow)]
    pub since: Cow<'a, str>,
    /// `<epoch>:<n>`. n grows by one with each change of the room's roster. It is not the `seq` of
    /// a message.
    #[serde(borrow)]
    pub seq: Cow<'a, str>,
    /// Data of the user about itself. Empty today.
    pub meta: serde_json::Map<String, serde_json::Value>,
    /// For a lost user: why the connection was lost.
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<Cow<'a, str>>,
}

/// The state in a roster entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PresenceState {
    /// At least one session is in the room.
    Online,
    /// The last session was lost, and the grace period has not ended.
    Lost,
}

/// The state of a member, as the lane stores it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum MemberState {
    /// At least one device is in the room.
    Online,
    /// No device is in the room. The member is removed by the timer of this generation.
    Lost {
        /// A text for people.
        reason: String,
        /// A timer of another generation is stale.
        generation: u64,
    },
}

impl MemberState {
    /// The roster entry of `user`.
    pub fn entry<'a>(
        &'a self,
        user: &'a str,
        devices: usize,
        since: WallTime,
        seq: String,
    ) -> RosterEntry<'a> {
        let (state, reason) = match self {
            MemberState::Online => (PresenceState::Online, None),
            MemberState::Lost { reason, .. } => {
                (PresenceState::Lost, Some(Cow::Borrowed(reason.as_str())))
            }
        };
        RosterEntry {
            user: user.into(),
            state,
            devices,
            role: "member".into(),
            since: rfc3339(since).into(),
            seq: seq.into(),
            meta: serde_json::Map::new(),
            reason,
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn an_online_entry_is_as_in_the_protocol() {
        let entry = MemberState::Online.entry("al\"ice", 2, WallTime(1_500), "z:4".to_owned());
        assert_eq!(
            serde_json::to_string(&entry).unwrap(),
            r#"{"user":"al\"ice","state":"online","devices":2,"role":"member","since":"1970-01-01T00:00:01.500Z","seq":"z:4","meta":{}}"#
        );
    }

    #[test]
    fn a_lost_entry_has_a_reason_and_reads_back() {
        let lost = MemberState::Lost {
            reason: "keep-alive passed".to_owned(),
            generation: 9,
        };
        let entry = lost.entry("bob", 0, WallTime(0), "z:5".to_owned());
        let text = serde_json::to_string(&entry).unwrap();
        assert!(
            text.ends_with(r#""meta":{},"reason":"keep-alive passed"}"#),
            "{text}"
        );
        assert_eq!(
            serde_json::from_str::<RosterEntry<'_>>(&text).unwrap(),
            entry
        );
    }
}
