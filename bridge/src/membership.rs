//! The members of a room. A member has devices, and a device has the filters by which it joined.

use crate::presence::MemberState;
use roommq_broker::policy::{Actor, SessionId};
use std::collections::{HashMap, HashSet};

/// A user in a room: online, or lost within the grace period.
#[derive(Debug)]
pub(crate) struct Member {
    /// Sorted by client. Many devices may share one user.
    devices: Vec<Device>,
    /// Online or lost.
    pub state: MemberState,
    /// When `state` began, in milliseconds since the Unix epoch.
    pub since: u64,
}

/// A session in a room.
#[derive(Debug)]
struct Device {
    session: SessionId,
    /// The joining filters. Never empty.
    filters: HashSet<Box<str>>,
}

/// What a joining filter changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum JoinOutcome {
    /// Nothing: the client has a newer session.
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
    /// Nothing: the device stays, is not in the room, or has a newer session.
    Nothing,
    /// A device left; other devices of the member stay.
    Device,
    /// The member's last device left. [`Members`] keeps the member until the caller removes it.
    LastDevice,
}

/// The members of one room. The map is never iterated, so its order has no effect.
#[derive(Debug, Default)]
pub(crate) struct Members {
    users: HashMap<Box<str>, Member>,
}

impl Member {
    /// The number of devices.
    pub fn devices(&self) -> usize {
        self.devices.len()
    }

    /// The index of the client's device. The error: the index to insert it at.
    fn index_of(&self, client: u64) -> Result<usize, usize> {
        let by_client = |device: &Device| device.session.client;
        self.devices.binary_search_by_key(&client, by_client)
    }

    fn device(&self, client: u64) -> Option<&Device> {
        self.devices.get(self.index_of(client).ok()?)
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

    /// Whether this session is a device in the room.
    pub fn has_session(&self, who: Actor<'_>) -> bool {
        let member = self.find(who.user);
        let device = member.and_then(|member| member.device(who.session.client));
        device.is_some_and(|device| device.session == who.session)
    }

    /// Whether a session of this client is a device in the room: this one, an older or a newer one.
    pub fn has_client(&self, who: Actor<'_>) -> bool {
        let member = self.find(who.user);
        member.is_some_and(|member| member.device(who.session.client).is_some())
    }

    /// Adds a joining filter that was granted at `now`.
    pub fn add_filter(&mut self, who: Actor<'_>, filter: &str, now: u64) -> JoinOutcome {
        let device = || Device {
            session: who.session,
            filters: HashSet::from([filter.into()]),
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
        match member.index_of(who.session.client) {
            Ok(index) => {
                let known = &mut member.devices[index];
                if known.session.incarnation > who.session.incarnation {
                    return JoinOutcome::Stale;
                }
                if known.session != who.session {
                    // The subscriptions of the older session have ended.
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
        let Ok(index) = member.index_of(who.session.client) else {
            return LeaveOutcome::Nothing;
        };
        let device = &mut member.devices[index];
        // Another incarnation does not have this subscription.
        if device.session != who.session {
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
        match member.index_of(who.session.client) {
            // The end of a session also removes an older session of the client, and never a newer
            // one.
            Ok(index) if member.devices[index].session.incarnation <= who.session.incarnation => {
                member.remove_device(index)
            }
            _ => LeaveOutcome::Nothing,
        }
    }

    /// Marks a member without devices as lost from `now` on. False: there is no such member.
    pub fn mark_lost(&mut self, user: &str, reason: &str, generation: u64, now: u64) -> bool {
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

    fn al(client: u64, incarnation: u64) -> Actor<'static> {
        Actor {
            session: SessionId {
                client,
                incarnation,
            },
            user: "al",
        }
    }

    #[test]
    fn a_member_joins_with_its_first_device_and_leaves_with_its_last() {
        let mut members = Members::default();
        assert_eq!(
            members.add_filter(al(1, 1), "rooms/a/#", 0),
            JoinOutcome::NewUser
        );
        assert_eq!(
            members.add_filter(al(1, 1), "rooms/a/#", 0),
            JoinOutcome::KnownDevice
        );
        assert_eq!(
            members.add_filter(al(2, 2), "rooms/a", 0),
            JoinOutcome::NewDevice
        );
        assert_eq!(members.count(), 1);
        assert_eq!(
            members.remove_filter(al(1, 1), "rooms/a/#"),
            LeaveOutcome::Device
        );
        assert!(!members.has_session(al(1, 1)) && members.has_session(al(2, 2)));
        assert_eq!(members.remove_session(al(2, 2)), LeaveOutcome::LastDevice);
    }

    #[test]
    fn devices_are_found_in_any_order_of_joining() {
        let mut members = Members::default();
        let clients = [5, 2, 9, 1, 7];
        for client in clients {
            members.add_filter(al(client, client), "rooms/a/#", 0);
        }
        assert!(clients.iter().all(|c| members.has_session(al(*c, *c))));
        assert!(!members.has_session(al(3, 3)) && !members.has_client(al(10, 10)));
        for client in [9, 1, 5, 7] {
            assert_eq!(
                members.remove_session(al(client, client)),
                LeaveOutcome::Device
            );
            assert!(!members.has_session(al(client, client)) && members.has_session(al(2, 2)));
        }
        assert_eq!(members.remove_session(al(2, 2)), LeaveOutcome::LastDevice);
    }

    #[test]
    fn a_device_leaves_with_its_last_filter() {
        let mut members = Members::default();
        members.add_filter(al(1, 1), "rooms/a/#", 0);
        members.add_filter(al(1, 1), "rooms/a/x", 0);
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
    fn a_newer_session_replaces_the_device_and_its_filters() {
        let mut members = Members::default();
        members.add_filter(al(1, 3), "rooms/a/#", 0);
        assert_eq!(
            members.add_filter(al(1, 5), "rooms/a/x", 0),
            JoinOutcome::KnownDevice
        );
        assert!(members.has_session(al(1, 5)) && !members.has_session(al(1, 3)));
        assert_eq!(
            members.add_filter(al(1, 3), "rooms/a/y", 0),
            JoinOutcome::Stale
        );
        assert_eq!(
            members.remove_filter(al(1, 3), "rooms/a/x"),
            LeaveOutcome::Nothing
        );
        assert_eq!(members.remove_session(al(1, 3)), LeaveOutcome::Nothing);
        // The filter of the older session no longer counts.
        assert_eq!(
            members.remove_filter(al(1, 5), "rooms/a/x"),
            LeaveOutcome::LastDevice
        );
    }

    #[test]
    fn the_end_of_a_newer_session_removes_the_older_device() {
        let mut members = Members::default();
        members.add_filter(al(1, 3), "rooms/a/#", 0);
        assert_eq!(members.remove_session(al(1, 5)), LeaveOutcome::LastDevice);
    }

    #[test]
    fn a_lost_member_waits_for_one_timer_and_returns() {
        let mut members = Members::default();
        members.add_filter(al(1, 1), "rooms/a/#", 0);
        assert!(!members.mark_lost("al", "early", 1, 5), "it has a device");
        members.remove_session(al(1, 1));
        assert!(members.mark_lost("al", "connection lost", 7, 5));
        assert!(members.awaits_timer("al", 7) && !members.awaits_timer("al", 6));
        assert_eq!(members.count(), 1);
        assert_eq!(members.remove_session(al(1, 1)), LeaveOutcome::Nothing);
        assert_eq!(
            members.add_filter(al(1, 2), "rooms/a/#", 8),
            JoinOutcome::Returned
        );
        assert!(!members.awaits_timer("al", 7));
        members.remove_user("al");
        assert_eq!(members.count(), 0);
    }
}
