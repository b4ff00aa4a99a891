//! A room in a snapshot.

use super::super::epoch::Epoch;
use super::super::membership::Members;
use super::super::membership::snapshot::MembersImage;
use super::super::room_policy::RoomPolicies;
use super::{Empty, Info, Room};
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
    creator: Option<&'a str>,
    active: u64,
    empty: Option<Empty>,
    /// When `_info` was published, and the generation of its timer.
    info: (Option<u64>, Option<u64>),
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
            creator,
            active,
            empty,
            info:
                Info {
                    interval: _, // comes with the rules
                    at,
                    timer,
                },
        } = self;
        RoomImage {
            name,
            epoch: *epoch,
            offset: *offset,
            changes: *changes,
            retained: *retained,
            members: members.snapshot(),
            creator: creator.as_deref(),
            active: *active,
            empty: *empty,
            info: (*at, *timer),
        }
    }

    /// `policies` are those of the lane's rules, of this version.
    pub fn restore(
        image: RoomImage<'_>,
        policies: &RoomPolicies,
        rules_version: u64,
    ) -> Result<Room, RestoreError> {
        Ok(Room {
            name: image.name.into(),
            policy: Arc::clone(policies.of(image.name)),
            rules_version,
            epoch: image.epoch,
            offset: image.offset,
            changes: image.changes,
            retained: image.retained,
            members: Members::restore(image.members)?,
            creator: image.creator.map(Into::into),
            active: image.active,
            empty: image.empty,
            info: Info {
                interval: policies.limits.info_interval,
                at: image.info.0,
                timer: image.info.1,
            },
        })
    }

    /// The session of each device in the room.
    pub fn sessions(&self) -> impl Iterator<Item = SessionId> {
        self.members.sessions()
    }
}
