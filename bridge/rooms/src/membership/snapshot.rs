//! The members of a room in a snapshot.

use super::super::presence::MemberState;
use super::{Device, Member, Members};
use roommq_lane::{RestoreError, SessionId, WallTime};
use serde::{Deserialize, Serialize};

/// By user.
pub(crate) type MembersImage<'a> = Vec<MemberImage<'a>>;

#[derive(Serialize, Deserialize)]
pub(crate) struct MemberImage<'a> {
    user: &'a str,
    /// A wall time.
    since: u64,
    /// Of a lost member: the reason, and the generation of the timer.
    lost: Option<(&'a str, u64)>,
    /// By session.
    #[serde(borrow)]
    devices: Vec<DeviceImage<'a>>,
}

#[derive(Serialize, Deserialize)]
struct DeviceImage<'a> {
    session: SessionId,
    connection: u32,
    /// Sorted.
    #[serde(borrow)]
    filters: Vec<&'a str>,
}

impl Members {
    pub fn snapshot(&self) -> MembersImage<'_> {
        let Members { users } = self;
        let members = users.iter().map(|(user, member)| {
            let Member {
                devices,
                state,
                since,
            } = member;
            MemberImage {
                user,
                since: since.0,
                lost: match state {
                    MemberState::Online => None,
                    MemberState::Lost { reason, generation } => Some((reason, *generation)),
                },
                devices: devices.iter().map(Device::image).collect(),
            }
        });
        let mut members: Vec<_> = members.collect();
        members.sort_unstable_by_key(|member| member.user);
        members
    }

    pub fn restore(image: MembersImage<'_>) -> Result<Members, RestoreError> {
        let mut members = Members::default();
        for member in image {
            let devices = member.devices.into_iter().map(|device| Device {
                session: device.session,
                connection: device.connection,
                filters: device.filters.into_iter().map(Into::into).collect(),
            });
            let devices: Vec<_> = devices.collect();
            if !devices.is_sorted_by(|a, b| a.session < b.session) {
                return Err(RestoreError::Damaged("devices are not in order"));
            }
            let state = match member.lost {
                None => MemberState::Online,
                Some((reason, generation)) => MemberState::Lost {
                    reason: reason.to_owned(),
                    generation,
                },
            };
            let (user, since) = (member.user.into(), WallTime(member.since));
            let member = Member {
                devices,
                state,
                since,
            };
            members.users.insert(user, member);
        }
        Ok(members)
    }

    /// The session of each device.
    pub fn sessions(&self) -> impl Iterator<Item = SessionId> {
        let devices = self.users.values().flat_map(|member| &member.devices);
        devices.map(|device| device.session)
    }
}

impl Device {
    fn image(&self) -> DeviceImage<'_> {
        let Device {
            session,
            connection,
            filters,
        } = self;
        let mut filters: Vec<&str> = filters.iter().map(|filter| &**filter).collect();
        filters.sort_unstable();
        DeviceImage {
            session: *session,
            connection: *connection,
            filters,
        }
    }
}
