//! A room in a snapshot.

use super::super::epoch::Epoch;
use super::super::membership::Members;
use super::super::membership::snapshot::MembersImage;
use super::super::room_policy::RoomPolicy;
use super::Room;
use roommq_lane::{RestoreError, SessionId};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

#[derive(Serialize, Deserialize)]
pub(crate) struct RoomImage<'a> {
    name: &'a str,
    epoch: Epoch,
    offset: u64,
    changes: u64,
    retained: usize,
    #[serde(borrow)]
    members: MembersImage<'a>,
}

impl<'a> RoomImage<'a> {
    pub fn name(&self) -> &'a str {
        self.name
    }
}

impl Room {
    pub fn snapshot(&self) -> RoomImage<'_> {
        let Room {
            name,
            policy: _, // comes with the rules
            rules_version: _,
            epoch,
            offset,
            changes,
            retained,
            members,
        } = self;
        RoomImage {
            name,
            epoch: *epoch,
            offset: *offset,
            changes: *changes,
            retained: *retained,
            members: members.snapshot(),
        }
    }

    /// `policy` is that of the lane's rules, of this version, for this room.
    pub fn restore(
        image: RoomImage<'_>,
        policy: Arc<RoomPolicy>,
        rules_version: u64,
    ) -> Result<Room, RestoreError> {
        Ok(Room {
            name: image.name.into(),
            policy,
            rules_version,
            epoch: image.epoch,
            offset: image.offset,
            changes: image.changes,
            retained: image.retained,
            members: Members::restore(image.members)?,
        })
    }

    /// The session of each device in the room.
    pub fn sessions(&self) -> impl Iterator<Item = SessionId> {
        self.members.sessions()
    }
}
