//! Keys of a `[[room]]`.

use super::key::{Key, key};
use crate::settings::{NamePattern, PublishRule};
use crate::value::word::RoomAccessWord;
use std::collections::BTreeSet;
use std::num::NonZeroU32;

/// The values of a `[[room]]`, not yet checked.
#[derive(Debug, Clone, Default)]
pub(crate) struct RoomRuleDraft {
    pub pattern: Option<NamePattern>,
    pub access: RoomAccessWord,
    pub members: Option<BTreeSet<String>>,
    pub max_members: Option<NonZeroU32>,
    pub publish: PublishRule,
}

pub(crate) static ROOM: &[Key<RoomRuleDraft>] = &[
    key!("room.match" => pattern?: pattern),
    key!("room.access" => access: word),
    key!("room.members" => members?: users),
    key!("room.max_members" => max_members?: number, 1..=u64::from(u32::MAX)),
    key!("room.publish" => publish: word),
];
