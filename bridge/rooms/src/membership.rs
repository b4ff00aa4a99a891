//! The members of a room. A member has devices, and a device has the filters by which it joined.

use super::presence::MemberState;
use ahash::RandomState;
use roommq_lane::{Actor, SessionId, WallTime};
use roommq_mqtt::session::Filters;
use std::collections::HashMap;

pub(crate) mod snapshot;

/// A user in a room: online, or lost within the grace period.
#[derive(Debug)]
pub(crate) struct Member {
    /// Sorted by session. Many devices may share one user.
    devices: Vec<Device>,
    /// Online or lost.
    pub state: MemberState,
    /// When `state` began.
    pub since: WallTime,
}

/// A session in a room.
#[derive(Debug)]
struct Device {
    session: SessionId,
    /// The session's connection that joined.
    connection: u32,
    /// The joining filters. Never empty.
    filters: Filters,
}

/// What a joining filter changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum JoinOutcome {
    /// Nothing: the session has a later connection.
    Stale,
    /// No member or device: the device was in the room already.
    KnownDevice,
    /// A further device of an online member.
    NewDevice,
    /// The first device of a lost member.
    Returned,
    /// The first device of a new member.
    NewUser,
}

/// What the end of a filter or of a session changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LeaveOutcome {
    /// Nothing: the device stays, is not in the room, or has a later connection.
    Nothing,
    /// A device left; other devices of the member stay.
    Device,
    /// The member's last device left. [`Members`] keeps the member until the caller removes it.
    LastDevice,
}

/// The members of one room. The order of the map has no effect: whoever iterates it sorts.
#[derive(Debug, Default)]
pub(crate) struct Members {
    users: HashMap<Box<str>, Member, RandomState>,
}

impl Member {
    /// The number of devices.
    pub fn devices(&self) -> usize {
        self.devices.len()
    }

    /// The index of the session's device. The error: the index to insert it at.
    fn index_of(&self, session: SessionId) -> Result<usize, usize> {
        let by_session = |device: &Device| device.session;
        self.devices.binary_search_by_key(&session, by_session)
    }

    fn remove_device(&mut self, index: usize) -> LeaveOutcome {
        self.devices.remove(index);
        if self.devices.is_empty() {
            LeaveOutcome::LastDevice
        } else {
            LeaveOutcome::Device
        }
    }
}

impl Members {
    /// The number of members.
    pub fn count(&self) -> usize {
        self.users.len()
    }

    /// The member of this name, online or lost.
    pub fn find(&self, user: &str) -> Option<&Member> {
        self.users.get(user)
    }

    /// Whether this session is a device in the room, by this connection.
    pub fn has_device(&self, who: Actor<'_>) -> bool {
        let device = self.device(who);
        device.is_some_and(|device| device.connection == who.connection)
    }

    /// Whether this session is a device in the room, by any of its connections.
    pub fn has_session(&self, who: Actor<'_>) -> bool {
        self.device(who).is_some()
    }

    /// Calls `each` with all devices' sessions, in no order. False if there are more than `most` users.
    pub fn for_each_session(&self, most: usize, each: &mut dyn FnMut(SessionId)) -> bool {
        if self.users.len() > most {
            return false;
        }
        let devices = self.users.values().flat_map(|member| &member.devices);
        devices.for_each(|device| each(device.session));
        true
    }

    fn device(&self, who: Actor<'_>) -> Option<&Device> {
        let member = self.find(who.user)?;
        member.devices.get(member.index_of(who.session).ok()?)
    }

    /// Adds a joining filter that was granted at `now`.
    pub fn add_filter(&mut self, who: Actor<'_>, filter: &str, now: WallTime) -> JoinOutcome {
        let device = || Device {
            session: who.session,
            connection: who.connection,
            filters: Filters::from_iter([filter.into()]),
        };
        let Some(member) = self.users.get_mut(who.user) else {
            let member = Member {
                devices: vec![device()],
                state: MemberState::Online,
                since: now,
            };
            self.users.insert(who.user.into(), member);
            return JoinOutcome::NewUser;
        };
        match member.index_of(who.session) {
            Ok(index) => {
                let known = &mut member.devices[index];
                if known.connection > who.connection {
                    return JoinOutcome::Stale;
                }
                if known.connection != who.connection {
                    // The connection has told all subscriptions that it resumes.
                    *known = device();
                }
                known.filters.insert(filter.into());
                return JoinOutcome::KnownDevice;
            }
            Err(index) => member.devices.insert(index, device()),
        }
        if member.state == MemberState::Online {
            JoinOutcome::NewDevice
        } else {
            member.state = MemberState::Online;
            member.since = now;
            JoinOutcome::Returned
        }
    }

    /// Removes a joining filter that the client unsubscribed from.
    pub fn remove_filter(&mut self, who: Actor<'_>, filter: &str) -> LeaveOutcome {
        let Some(member) = self.users.get_mut(who.user) else {
            return LeaveOutcome::Nothing;
        };
        let Ok(index) = member.index_of(who.session) else {
            return LeaveOutcome::Nothing;
        };
        let device = &mut member.devices[index];
        // Another connection does not have this subscription.
        if device.connection != who.connection {
            return LeaveOutcome::Nothing;
        }
        if device.filters.remove(filter) && device.filters.is_empty() {
            member.remove_device(index)
        } else {
            LeaveOutcome::Nothing
        }
    }

    /// Removes the device of a session that has ended.
    pub fn remove_session(&mut self, who: Actor<'_>) -> LeaveOutcome {
        let Some(member) = self.users.get_mut(who.user) else {
            return LeaveOutcome::Nothing;
        };
        match member.index_of(who.session) {
            // The end of a connection also removes what an earlier one left, and nothing of a later
            // one.
            Ok(index) if member.devices[index].connection <= who.connection => {
                member.remove_device(index)
            }
            _ => LeaveOutcome::Nothing,
        }
    }

    /// Marks a member without devices as lost from `now` on. False: there is no such member.
    pub fn mark_lost(&mut self, user: &str, reason: &str, generation: u64, now: WallTime) -> bool {
        match self.users.get_mut(user) {
            Some(member) if member.devices.is_empty() => {
                member.state = MemberState::Lost {
                    reason: reason.to_owned(),
                    generation,
                };
                member.since = now;
                true
            }
            _ => false,
        }
    }

    /// Whether `user` is lost, and `generation` is that of its grace timer.
    pub fn awaits_timer(&self, user: &str, generation: u64) -> bool {
        self.find(user).is_some_and(|member| {
            matches!(member.state, MemberState::Lost { generation: own, .. } if own == generation)
        })
    }

    /// Removes the member.
    pub fn remove_user(&mut self, user: &str) {
        self.users.remove(user);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn al(n: u64, connection: u32) -> Actor<'static> {
        Actor {
            session: SessionId { term: 1, n },
            connection,
            user: "al",
        }
    }

    #[test]
    fn a_member_joins_with_its_first_device_and_leaves_with_its_last() {
        let mut members = Members::default();
        assert_eq!(
            members.add_filter(al(1, 1), "rooms/a/#", WallTime(0)),
            JoinOutcome::NewUser
        );
        assert_eq!(
            members.add_filter(al(1, 1), "rooms/a/#", WallTime(0)),
            JoinOutcome::KnownDevice
        );
        assert_eq!(
            members.add_filter(al(2, 2), "rooms/a", WallTime(0)),
            JoinOutcome::NewDevice
        );
        assert_eq!(members.count(), 1);
        assert_eq!(
            members.remove_filter(al(1, 1), "rooms/a/#"),
            LeaveOutcome::Device
        );
        assert!(!members.has_device(al(1, 1)) && members.has_device(al(2, 2)));
        assert_eq!(members.remove_session(al(2, 2)), LeaveOutcome::LastDevice);
    }

    #[test]
    fn devices_are_found_in_any_order_of_joining() {
        let mut members = Members::default();
        let clients = [5, 2, 9, 1, 7];
        for client in clients {
            members.add_filter(al(client, 1), "rooms/a/#", WallTime(0));
        }
        assert!(clients.iter().all(|c| members.has_device(al(*c, 1))));
        assert!(!members.has_device(al(3, 1)) && !members.has_session(al(10, 1)));
        for client in [9, 1, 5, 7] {
            assert_eq!(members.remove_session(al(client, 1)), LeaveOutcome::Device);
            assert!(!members.has_device(al(client, 1)) && members.has_device(al(2, 1)));
        }
        assert_eq!(members.remove_session(al(2, 1)), LeaveOutcome::LastDevice);
    }

    #[test]
    fn a_device_leaves_with_its_last_filter() {
        let mut members = Members::default();
        members.add_filter(al(1, 1), "rooms/a/#", WallTime(0));
        members.add_filter(al(1, 1), "rooms/a/x", WallTime(0));
        assert_eq!(
            members.remove_filter(al(1, 1), "rooms/a/other"),
            LeaveOutcome::Nothing
        );
        assert_eq!(
            members.remove_filter(al(1, 1), "rooms/a/#"),
            LeaveOutcome::Nothing
        );
        assert_eq!(
            members.remove_filter(al(1, 1), "rooms/a/x"),
            LeaveOutcome::LastDevice
        );
        assert_eq!(
            members.remove_filter(al(1, 1), "rooms/a/x"),
            LeaveOutcome::Nothing
        );
    }

    #[test]
    fn a_later_connection_replaces_the_filters_of_the_device() {
        let mut members = Members::default();
        members.add_filter(al(1, 3), "rooms/a/#", WallTime(0));
        assert_eq!(
            members.add_filter(al(1, 5), "rooms/a/x", WallTime(0)),
            JoinOutcome::KnownDevice
        );
        assert!(members.has_device(al(1, 5)) && !members.has_device(al(1, 3)));
        assert_eq!(
            members.add_filter(al(1, 3), "rooms/a/y", WallTime(0)),
            JoinOutcome::Stale
        );
        assert_eq!(
            members.remove_filter(al(1, 3), "rooms/a/x"),
            LeaveOutcome::Nothing
        );
        assert_eq!(members.remove_session(al(1, 3)), LeaveOutcome::Nothing);
        // The filter of the earlier connection no longer counts.
        assert_eq!(
            members.remove_filter(al(1, 5), "rooms/a/x"),
            LeaveOutcome::LastDevice
        );
    }

    #[test]
    fn the_end_of_a_later_connection_removes_the_device_of_an_earlier_one() {
        let mut members = Members::default();
        members.add_filter(al(1, 3), "rooms/a/#", WallTime(0));
        assert_eq!(members.remove_session(al(1, 5)), LeaveOutcome::LastDevice);
    }

    #[test]
    fn a_lost_member_waits_for_one_timer_and_returns() {
        let mut members = Members::default();
        members.add_filter(al(1, 1), "rooms/a/#", WallTime(0));
        assert!(
            !members.mark_lost("al", "early", 1, WallTime(5)),
            "it has a device"
        );
        members.remove_session(al(1, 1));
        assert!(members.mark_lost("al", "connection lost", 7, WallTime(5)));
        assert!(members.awaits_timer("al", 7) && !members.awaits_timer("al", 6));
        assert_eq!(members.count(), 1);
        assert_eq!(members.remove_session(al(1, 1)), LeaveOutcome::Nothing);
        assert_eq!(
            members.add_filter(al(1, 2), "rooms/a/#", WallTime(8)),
            JoinOutcome::Returned
        );
        assert!(!members.awaits_timer("al", 7));
        members.remove_user("al");
        assert_eq!(members.count(), 0);
    }
}
