//! The rules of the configuration, compiled once at start.

use crate::access::AccessRules;
use crate::room_policy::{Creators, RoomLimits, RoomPolicies, RoomPolicy};
use crate::topics;
use roommq_config::{PublishRule, RoomAccess, RoomCreation, RoomRule, Settings, SysReaders};
use std::num::NonZeroU32;
use std::sync::Arc;

/// All rules.
#[derive(Debug)]
pub(crate) struct Rules {
    /// What holds for each room.
    pub rooms: Arc<RoomPolicies>,
    /// Who may publish and subscribe to what, outside rooms and inboxes.
    pub access: Arc<AccessRules>,
    /// Who may subscribe to `$SYS`.
    pub sys: SysReaders,
}

impl Rules {
    pub fn new(settings: &Settings) -> Rules {
        let named = settings.room_rules.iter();
        let named = named.map(|rule| (rule.pattern.matcher.clone(), policy(rule)));
        let default = RoomPolicy {
            members: None,
            limit: None,
            members_publish: false,
            creators: match settings.rooms.create {
                RoomCreation::Anyone => Creators::Anyone,
                RoomCreation::Authenticated => Creators::Authenticated,
                RoomCreation::Nobody => Creators::Nobody,
            },
            of_one: false,
        };
        Rules {
            rooms: Arc::new(RoomPolicies::new(
                named.collect(),
                default,
                limits(settings),
            )),
            access: Arc::new(AccessRules::new(settings)),
            sys: settings.sys.read,
        }
    }
}

/// The policy of the rooms that a `[[room]]` matches.
fn policy(rule: &RoomRule) -> RoomPolicy {
    let members = match &rule.access {
        RoomAccess::Open => None,
        RoomAccess::List(users) => {
            let levels = users.iter().map(|user| topics::user_level(user).into());
            Some(levels.collect())
        }
    };
    RoomPolicy {
        members,
        limit: rule.max_members.map(NonZeroU32::get),
        members_publish: rule.publish == PublishRule::Members,
        creators: Creators::Anyone,
        of_one: names_one(&rule.pattern.text),
    }
}

fn limits(settings: &Settings) -> RoomLimits {
    let limits = &settings.limits;
    RoomLimits {
        grace: u64::try_from(settings.presence.grace.as_millis()).unwrap_or(u64::MAX),
        retained: limits.room_retained,
        rooms: limits.rooms,
        lane_rooms: limits.rooms.div_ceil(settings.lanes.count.max(1).into()),
    }
}

/// Whether a pattern is a room's name and not a glob.
fn names_one(pattern: &str) -> bool {
    !pattern.contains(['*', '?', '[', ']', '{', '}', '\\', '!'])
}

#[cfg(test)]
pub(crate) mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;
    use roommq_config::NamePattern;

    /// A rule as the loader would make it. An empty `list` is an open room; a `limit` of 0 is no
    /// limit.
    pub(crate) fn rule(pattern: &str, list: &[&str], limit: u32, publish: PublishRule) -> RoomRule {
        let users = list.iter().map(|user| (*user).to_owned()).collect();
        RoomRule {
            pattern: NamePattern {
                text: pattern.to_owned(),
                matcher: globset::Glob::new(pattern).unwrap().compile_matcher(),
            },
            access: if list.is_empty() {
                RoomAccess::Open
            } else {
                RoomAccess::List(users)
            },
            max_members: NonZeroU32::new(limit),
            publish,
        }
    }

    /// Settings with one rule of each kind: `staff-*` by list, `duo` for two, `talk-*` for members.
    pub(crate) fn settings() -> Settings {
        Settings {
            room_rules: vec![
                rule("staff-open", &[], 0, PublishRule::Anyone),
                rule(
                    "staff-*",
                    &["alice", "a/b", "~probe"],
                    0,
                    PublishRule::Anyone,
                ),
                rule("duo", &[], 2, PublishRule::Anyone),
                rule("talk-*", &[], 0, PublishRule::Members),
            ],
            ..Settings::default()
        }
    }

    #[test]
    fn the_first_rule_that_matches_decides() {
        let rules = Rules::new(&settings()).rooms;
        assert!(rules.of("staff-open").admits("eve"));
        assert!(!rules.of("staff-1").admits("eve"));
        assert!(rules.of("staff-1").admits("alice"));
        assert!(!rules.of("staff-1").is_open());
        assert_eq!(rules.of("duo").limit, Some(2));
        assert!(rules.of("talk-1").members_publish);
        assert!(rules.of("lobby").is_open());
        assert!(rules.of("lobby").limit.is_none());
    }

    #[test]
    fn lists_name_users_as_they_log_in() {
        let rules = Rules::new(&settings()).rooms;
        let staff = rules.of("staff-1");
        assert!(staff.admits(&topics::user_level("a/b")));
        assert!(staff.admits(&topics::anonymous_level("probe")));
        assert!(!staff.admits("probe"));
    }

    #[test]
    fn rooms_create_counts_only_where_no_rule_matches() {
        for (create, anonymous, authenticated) in [
            (RoomCreation::Anyone, true, true),
            (RoomCreation::Authenticated, false, true),
            (RoomCreation::Nobody, false, false),
        ] {
            let mut settings = settings();
            settings.rooms.create = create;
            let rules = Rules::new(&settings).rooms;
            assert_eq!(rules.of("lobby").may_create(false), anonymous);
            assert_eq!(rules.of("lobby").may_create(true), authenticated);
            assert!(rules.of("duo").may_create(false));
        }
    }

    #[test]
    fn each_lane_has_an_equal_share_of_the_rooms_and_at_least_one() {
        for (rooms, lanes, share) in [(1_000_000, 16, 62_500), (17, 16, 2), (3, 16, 1), (5, 1, 5)] {
            let mut settings = Settings::default();
            (settings.limits.rooms, settings.lanes.count) = (rooms, lanes);
            let limits = Rules::new(&settings).rooms.limits;
            assert_eq!(limits.lane_rooms, share, "{rooms} {lanes}");
        }
    }

    #[test]
    fn a_rule_of_one_room_is_told_from_a_glob() {
        let rules = Rules::new(&settings()).rooms;
        assert!(rules.of("duo").of_one && rules.of("staff-open").of_one);
        assert!(!rules.of("staff-1").of_one && !rules.of("lobby").of_one);
    }

    #[test]
    fn publishing_is_strict_only_if_a_rule_asks() {
        let strict = |settings: &Settings| Rules::new(settings).rooms.strict_publish;
        assert!(!strict(&Settings::default()));
        assert!(strict(&settings()));
        let mut closed = Settings::default();
        closed.rooms.create = RoomCreation::Nobody;
        assert!(strict(&closed));
    }
}
