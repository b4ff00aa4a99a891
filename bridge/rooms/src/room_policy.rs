//! Which policy holds for a room: that of the first pattern that matches its name, else the
//! default.

use globset::{Glob, GlobMatcher};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::sync::Arc;

/// The rules of all rooms, as they travel in the log of a lane. [`RoomPolicies`] are made from them.
/// By default nobody may do anything.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RoomRules {
    /// Policies by patterns of room names. The first pattern that matches decides.
    pub named: Vec<(Glob, RoomPolicy)>,
    /// What holds for the other rooms.
    pub default: RoomPolicy,
    /// The limits of all rooms.
    pub limits: RoomLimits,
}

/// What holds for one room.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RoomPolicy {
    /// The users who may join, as in a topic level. None: everybody.
    pub members: Option<BTreeSet<Box<str>>>,
    /// The most members at once, lost members within their grace period included.
    pub limit: Option<u32>,
    /// Whether only members publish.
    pub members_publish: bool,
    /// Who creates the room. A room that a pattern names can be created by everybody who may join
    /// it.
    pub creators: Creators,
    /// Whether the policy is for a single room by its full name. `limits.rooms` does not apply to
    /// such a room.
    pub of_one: bool,
}

/// Who creates a room by joining it. The order of the variants is part of the rules' format.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Creators {
    /// Everybody who may connect.
    Anyone,
    /// Users with credentials.
    Authenticated,
    /// Nobody.
    #[default]
    Nobody,
}

/// The limits of all rooms.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RoomLimits {
    /// Milliseconds from `lost` to `left`.
    pub grace: u64,
    /// Retained messages of the application in one room.
    pub retained: usize,
    /// Rooms of the whole server, for messages to people.
    pub rooms: usize,
    /// Rooms of one lane. A lane knows only its own rooms, so each has an equal share of the
    /// server's.
    pub lane_rooms: usize,
    /// Rooms that one user may create on the whole server, for messages to people.
    pub user_rooms: usize,
    /// Rooms of one lane that one user may create.
    pub lane_user_rooms: usize,
    /// Milliseconds after which a room ends that has no members and in which its creator publishes
    /// nothing.
    pub empty_after: u64,
    /// Milliseconds from one `_info` of a room to the next, at least.
    pub info_interval: u64,
    /// How often a user may join and leave a room within 10 s. 0: no limit.
    pub changes: u32,
}

/// The policies of all rooms, and their limits.
#[derive(Debug)]
pub struct RoomPolicies {
    named: Vec<(GlobMatcher, Arc<RoomPolicy>)>,
    default: Arc<RoomPolicy>,
    /// Whether any policy can refuse a message to a room that does not exist.
    pub strict_publish: bool,
    /// The limits of all rooms.
    pub limits: RoomLimits,
}

impl RoomPolicy {
    /// Whether everybody may join.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.members.is_none()
    }

    /// Whether `user` (as in a topic level) may join.
    #[must_use]
    pub fn admits(&self, user: &str) -> bool {
        self.members.as_ref().is_none_or(|list| list.contains(user))
    }

    /// Whether a user may create the room.
    #[must_use]
    pub fn may_create(&self, authenticated: bool) -> bool {
        match self.creators {
            Creators::Anyone => true,
            Creators::Authenticated => authenticated,
            Creators::Nobody => false,
        }
    }

    fn is_strict(&self) -> bool {
        self.members_publish || self.creators != Creators::Anyone
    }
}

impl RoomPolicies {
    /// Compiles the patterns of these rules.
    #[must_use]
    pub fn new(rules: RoomRules) -> RoomPolicies {
        let RoomRules {
            named,
            default,
            limits,
        } = rules;
        let strict_publish = default.is_strict() || named.iter().any(|(_, one)| one.is_strict());
        let shared = |(pattern, policy): (Glob, _)| (pattern.compile_matcher(), Arc::new(policy));
        RoomPolicies {
            named: named.into_iter().map(shared).collect(),
            default: Arc::new(default),
            strict_publish,
            limits,
        }
    }

    /// The policy of a room. It tries each pattern, so a room keeps the answer.
    #[must_use]
    pub fn of(&self, room: &str) -> &Arc<RoomPolicy> {
        self.named
            .iter()
            .find(|(pattern, _)| pattern.is_match(room))
            .map_or(&self.default, |(_, policy)| policy)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    /// As by the default settings, but for the limits on `_info` and on joins, which are off.
    pub(crate) const LIMITS: RoomLimits = RoomLimits {
        grace: 10_000,
        retained: 1_000,
        rooms: 1_000_000,
        lane_rooms: 62_500,
        user_rooms: 100,
        lane_user_rooms: 100,
        empty_after: 300_000,
        info_interval: 0,
        changes: 0,
    };

    /// A policy that lets everybody do everything.
    pub(crate) fn open() -> RoomPolicy {
        RoomPolicy {
            members: None,
            limit: None,
            members_publish: false,
            creators: Creators::Anyone,
            of_one: false,
        }
    }

    /// A policy of each kind: `staff-*` by list, `duo` for two, `talk-*` for members; `creators` of
    /// all other rooms.
    pub(crate) fn policies(creators: Creators, limits: RoomLimits) -> RoomPolicies {
        RoomPolicies::new(rules(creators, limits))
    }

    /// The rules of the same policies.
    pub(crate) fn rules(creators: Creators, limits: RoomLimits) -> RoomRules {
        let staff = ["alice", "a%2Fb", "~probe"].map(Into::into);
        let one = |limit| RoomPolicy {
            limit,
            of_one: true,
            ..open()
        };
        let staff = RoomPolicy {
            members: Some(BTreeSet::from(staff)),
            ..open()
        };
        let talk = RoomPolicy {
            members_publish: true,
            ..open()
        };
        let named = vec![
            ("staff-open", one(None)),
            ("staff-*", staff),
            ("duo", one(Some(2))),
            ("talk-*", talk),
        ];
        RoomRules {
            limits,
            ..rules_of(named, RoomPolicy { creators, ..open() })
        }
    }

    /// Rules by these patterns, and by one policy for all other rooms.
    pub(crate) fn rules_of(named: Vec<(&str, RoomPolicy)>, default: RoomPolicy) -> RoomRules {
        let named = named.into_iter();
        RoomRules {
            named: named
                .map(|(text, policy)| (Glob::new(text).unwrap(), policy))
                .collect(),
            default,
            limits: LIMITS,
        }
    }

    #[test]
    fn the_first_pattern_that_matches_decides() {
        let all = policies(Creators::Anyone, LIMITS);
        assert!(all.of("staff-open").admits("eve"));
        assert!(!all.of("staff-1").admits("eve"));
        assert!(all.of("staff-1").admits("alice"));
        assert!(!all.of("staff-1").is_open());
        assert_eq!(all.of("duo").limit, Some(2));
        assert!(all.of("talk-1").members_publish);
        assert!(all.of("lobby").is_open());
        assert!(all.of("lobby").limit.is_none());
    }

    #[test]
    fn creators_count_only_where_no_pattern_matches() {
        for (creators, anonymous, authenticated) in [
            (Creators::Anyone, true, true),
            (Creators::Authenticated, false, true),
            (Creators::Nobody, false, false),
        ] {
            let all = policies(creators, LIMITS);
            assert_eq!(all.of("lobby").may_create(false), anonymous);
            assert_eq!(all.of("lobby").may_create(true), authenticated);
            assert!(all.of("duo").may_create(false));
        }
    }

    #[test]
    fn publishing_is_strict_if_any_policy_is() {
        let strict = |default| RoomPolicies::new(rules_of(vec![], default)).strict_publish;
        assert!(!strict(open()));
        assert!(strict(RoomPolicy {
            creators: Creators::Nobody,
            ..open()
        }));
        assert!(policies(Creators::Anyone, LIMITS).strict_publish);
    }
}
