//! Who is in a room: each user by its devices, each device by its joining filters.

use crate::presence::MemberState;
use roommq_broker::policy::{Actor, SessionId};
use std::collections::{HashMap, HashSet};

/// A user in a room. Holds a seat while it is online, and when lost until the grace period is over.
#[derive(Debug)]
pub(crate) struct Member {
    /// By client: a fleet may share one user.
    devices: Vec<Device>,
    /// Online or lost.
    pub state: MemberState,
    /// When `standing` began, in milliseconds since the Unix epoch.
    pub since: u64,
}

/// A session in a room.
#[derive(Debug)]
struct Device {
    session: SessionId,
    /// Those that join; never empty, except while being filled.
    filters: HashSet<Box<str>>,
}

impl Device {
    fn add(&mut self, filter: &str) {
        self.filters.insert(filter.into());
    }
}

/// What a joining filter changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum JoinOutcome {
    /// Nothing: a newer session has the device's place.
    Stale,
    /// The device was in already.
    KnownDevice,
    /// A further device of a user who was in.
    NewDevice,
    /// The first device of a user who was lost.
    Returned,
    /// The first device of a user who was not in.
    NewUser,
}

/// What the end of a filter or of a session changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LeaveOutcome {
    /// Nothing: the device stays, or was not in, or has a newer session.
    Nothing,
    /// A device is out, others of the user are in.
    Device,
    /// The user's last device is out; [`Members`] keeps the user until told.
    LastDevice,
}

/// The users of one room. Never iterated, so the map's order shows nowhere.
#[derive(Debug, Default)]
pub(crate) struct Members {
    users: HashMap<Box<str>, Member>,
}

impl Member {
    /// Sessions that are in.
    pub fn devices(&self) -> usize {
        self.devices.len()
    }

    /// Where the client's device is; the error: where it would be.
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
    /// Seats taken.
    pub fn count(&self) -> usize {
        self.users.len()
    }

    /// The member of this name, online or lost.
    pub fn find(&self, user: &str) -> Option<&Member> {
        self.users.get(user)
    }

    /// Whether this very session is in.
    pub fn has_session(&self, who: Actor<'_>) -> bool {
        let member = self.find(who.user);
        let device = member.and_then(|member| member.device(who.session.client));
        device.is_some_and(|device| device.session == who.session)
    }

    /// Whether the session's place in the room is taken, by it or by an earlier or later one.
    pub fn has_client(&self, who: Actor<'_>) -> bool {
        let member = self.find(who.user);
        member.is_some_and(|member| member.device(who.session.client).is_some())
    }

    /// A joining filter was granted at `now`.
    pub fn add_filter(&mut self, who: Actor<'_>, filter: &str, now: u64) -> JoinOutcome {
        let device = |filter: &str| Device {
            session: who.session,
            filters: HashSet::from([filter.into()]),
        };
        let Some(member) = self.users.get_mut(who.user) else {
            let member = Member {
                devices: vec![device(filter)],
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
                    // What the earlier session subscribed to is void.
                    *known = device(filter);
                }
                known.add(filter);
                return JoinOutcome::KnownDevice;
            }
            Err(index) => member.devices.insert(index, device(filter)),
        }
        if member.state == MemberState::Online {
            JoinOutcome::NewDevice
        } else {
            member.state = MemberState::Online;
            member.since = now;
            JoinOutcome::Returned
        }
    }

    /// A joining filter has gone by the client's wish.
    pub fn remove_filter(&mut self, who: Actor<'_>, filter: &str) -> LeaveOutcome {
        let Some(member) = self.users.get_mut(who.user) else {
            return LeaveOutcome::Nothing;
        };
        let Ok(index) = member.index_of(who.session.client) else {
            return LeaveOutcome::Nothing;
        };
        let device = &mut member.devices[index];
        // Another incarnation never had, or no longer has, this subscription.
        if device.session != who.session {
            return LeaveOutcome::Nothing;
        }
        if device.filters.remove(filter) && device.filters.is_empty() {
            member.remove_device(index)
        } else {
            LeaveOutcome::Nothing
        }
    }

    /// The session has ended.
    pub fn remove_session(&mut self, who: Actor<'_>) -> LeaveOutcome {
        let Some(member) = self.users.get_mut(who.user) else {
            return LeaveOutcome::Nothing;
        };
        match member.index_of(who.session.client) {
            // An end can never overtake a newer session; it ends an older one, whose place it took.
            Ok(index) if member.devices[index].session.incarnation <= who.session.incarnation => {
                member.remove_device(index)
            }
            _ => LeaveOutcome::Nothing,
        }
    }

    /// A member without devices is lost from `now` on; false where there is none.
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

    /// Whether `user` is lost and waits for the timer of this generation.
    pub fn awaits_timer(&self, user: &str, generation: u64) -> bool {
        self.find(user).is_some_and(|member| {
            matches!(member.state, MemberState::Lost { generation: own, .. } if own == generation)
        })
    }

    /// The user gives up the seat.
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
    fn first_device_in_last_device_out() {
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
    fn devices_are_found_in_whatever_order_they_come() {
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
    fn a_newer_session_takes_the_place_and_voids_the_filters() {
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
        // Its own filter was its last: the earlier session's are no longer its.
        assert_eq!(
            members.remove_filter(al(1, 5), "rooms/a/x"),
            LeaveOutcome::LastDevice
        );
    }

    #[test]
    fn the_end_of_a_newer_session_ends_an_older_ones_place() {
        let mut members = Members::default();
        members.add_filter(al(1, 3), "rooms/a/#", 0);
        assert_eq!(members.remove_session(al(1, 5)), LeaveOutcome::LastDevice);
    }

    #[test]
    fn a_lost_member_waits_for_one_timer_and_returns() {
        let mut members = Members::default();
        members.add_filter(al(1, 1), "rooms/a/#", 0);
        assert!(!members.mark_lost("al", "early", 1, 5), "a device is in");
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
