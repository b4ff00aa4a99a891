//! Keys of a `[[room]]`.

use super::key::{Key, key};
use crate::settings::{PublishRule, RoomPattern};
use crate::value;
use crate::value::word::AccessWord;
use std::collections::BTreeSet;
use std::num::NonZeroU32;

/// A `[[room]]` as far as it has been read.
#[derive(Debug, Clone)]
pub(crate) struct RoomDraft {
    pub pattern: Option<RoomPattern>,
    pub access: AccessWord,
    pub members: Option<BTreeSet<String>>,
    pub max_members: Option<NonZeroU32>,
    pub publish: PublishRule,
}

impl Default for RoomDraft {
    fn default() -> Self {
        RoomDraft {
            pattern: None,
            access: AccessWord::default(),
            members: None,
            max_members: None,
            publish: PublishRule::Anyone,
        }
    }
}

pub(crate) static ROOM: &[Key<RoomDraft>] = &[
    key!("room.match", pattern, pattern, ()),
    key!("room.access", access, word, ()),
    key!("room.members", members, users, ()),
    key!(
        "room.max_members",
        max_members,
        number,
        1..=u64::from(u32::MAX)
    ),
    key!("room.publish", publish, word, ()),
];
