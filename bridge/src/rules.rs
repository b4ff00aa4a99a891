//! The rules of the configuration: compiled once at start for the server's own questions, and
//! encoded for the lanes, which decide by what comes in their logs.

use crate::access::AccessRules;
use parking_lot::Mutex;
use roommq_broker::policy::RulesError;
use roommq_config::{PublishRule, RoomAccess, RoomCreation, RoomRule, Settings, SysReaders};
use roommq_rooms::topics;
use roommq_rooms::{
    CompiledRules, Creators, RoomLimits, RoomPolicies, RoomPolicy, RoomRules, RulesReader,
};
use serde::{Deserialize, Serialize};
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

/// All rules.
#[derive(Debug)]
pub(crate) struct Rules {
    /// What holds for each room.
    pub rooms: Arc<RoomPolicies>,
    /// Who may publish and subscribe to what, outside rooms and inboxes.
    pub access: Arc<AccessRules>,
    /// Who may subscribe to `$SYS`. No lane asks for it.
    pub sys: SysReaders,
    /// What the lanes need, as [`RulesMemo`] reads it.
    pub encoded: Vec<u8>,
}

/// The rules that decide outcomes in lanes.
#[derive(Debug, Serialize, Deserialize)]
struct HookRules {
    rooms: RoomRules,
    access: AccessRules,
}

/// The first byte of encoded rules. A change to [`HookRules`] that old readers cannot decode changes
/// it.
const FORMAT: u8 = 2;

impl Rules {
    pub fn new(settings: &Settings) -> Rules {
        let rules = HookRules {
            rooms: room_rules(settings),
            access: AccessRules::new(settings),
        };
        Rules {
            encoded: rules.to_bytes(),
            rooms: Arc::new(RoomPolicies::new(rules.rooms)),
            access: Arc::new(rules.access),
            sys: settings.sys.read,
        }
    }
}

impl HookRules {
    /// Writing to a Vec cannot fail. If it did, the lanes would refuse the empty rules.
    fn to_bytes(&self) -> Vec<u8> {
        postcard::to_extend(self, vec![FORMAT]).unwrap_or_default()
    }

    fn from_bytes(bytes: &[u8]) -> Result<HookRules, RulesError> {
        let read = match bytes.split_first() {
            Some((&FORMAT, rest)) => postcard::take_from_bytes(rest),
            Some((other, _)) => {
                return Err(RulesError::new(format!(
                    "they have format {other}, and this version reads format {FORMAT}"
                )));
            }
            None => return Err(RulesError::new("they are empty")),
        };
        match read {
            Ok((rules, [])) => Ok(rules),
            Ok(_) => Err(RulesError::new("they are too long")),
            Err(error) => Err(RulesError::new(error.to_string())),
        }
    }
}

/// Reads the rules of all lanes. It remembers the last ones, so that lanes with equal rules share
/// one compiled copy.
#[derive(Debug)]
pub(crate) struct RulesMemo(Mutex<(Vec<u8>, CompiledRules)>);

impl RulesMemo {
    pub fn new(rules: &Rules) -> RulesMemo {
        let compiled = CompiledRules {
            rooms: Arc::clone(&rules.rooms),
            outside: rules.access.clone(),
        };
        RulesMemo(Mutex::new((rules.encoded.clone(), compiled)))
    }
}

impl RulesReader for RulesMemo {
    fn read(&self, rules: &[u8]) -> Result<CompiledRules, RulesError> {
        let mut last = self.0.lock();
        if last.0 != rules {
            let HookRules { rooms, access } = HookRules::from_bytes(rules)?;
            let compiled = CompiledRules {
                rooms: Arc::new(RoomPolicies::new(rooms)),
                outside: Arc::new(access),
            };
            *last = (rules.to_vec(), compiled);
        }
        Ok(last.1.clone())
    }
}

fn room_rules(settings: &Settings) -> RoomRules {
    let named = settings.room_rules.iter();
    let named = named.map(|rule| (rule.pattern.matcher.glob().clone(), policy(rule)));
    let creators = match settings.rooms.create {
        RoomCreation::Anyone => Creators::Anyone,
        RoomCreation::Authenticated => Creators::Authenticated,
        RoomCreation::Nobody => Creators::Nobody,
    };
    RoomRules {
        named: named.collect(),
        default: RoomPolicy {
            creators,
            ..RoomPolicy::default()
        },
        limits: limits(settings),
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
    let (limits, rooms) = (&settings.limits, &settings.rooms);
    let ms = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
    let lanes = usize::from(settings.lanes.count.max(1));
    RoomLimits {
        grace: ms(settings.presence.grace),
        retained: limits.room_retained,
        rooms: limits.rooms,
        lane_rooms: limits.rooms.div_ceil(lanes),
        user_rooms: rooms.per_user,
        // Twice an even share: the few rooms of one user are spread unevenly.
        lane_user_rooms: rooms.per_user.min(2 * rooms.per_user.div_ceil(lanes)),
        empty_after: ms(rooms.empty_after),
        info_interval: ms(rooms.info_interval),
        changes: rooms.changes,
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
    use proptest::prelude::*;
    use roommq_config::{AccessRule, NamePattern, Permission};
    use roommq_rooms::OutsideTopics;

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
        assert!(staff.admits("~probe"));
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

    fn round_trip(settings: &Settings) -> HookRules {
        let encoded = Rules::new(settings).encoded;
        let read = HookRules::from_bytes(&encoded).unwrap();
        assert_eq!(read.to_bytes(), encoded);
        read
    }

    #[test]
    fn lanes_that_read_equal_rules_share_one_compiled_copy() {
        let rules = Rules::new(&settings());
        let memo = RulesMemo::new(&rules);
        let read = |bytes: &[u8]| memo.read(bytes).unwrap().rooms;
        assert!(Arc::ptr_eq(&read(&rules.encoded), &rules.rooms));
        let other = Rules::new(&Settings::default()).encoded;
        let first = read(&other);
        assert!(Arc::ptr_eq(&first, &read(&other)));
        assert!(first.of("duo").limit.is_none());
        assert_eq!(read(&rules.encoded).of("duo").limit, Some(2));
    }

    #[test]
    fn rules_that_cannot_be_read_say_why() {
        let good = Rules::new(&settings()).encoded;
        let newer = [&[9], &good[1..]].concat();
        let longer = [&good[..], &[0]].concat();
        for (bytes, reason) in [
            (&newer[..], "format 9, and this version reads format 2"),
            (&longer, "they are too long"),
            (&good[..good.len() - 1], "Hit the end of buffer"),
            (&[], "they are empty"),
        ] {
            let error = HookRules::from_bytes(bytes).unwrap_err().to_string();
            assert!(error.contains(reason), "{error}");
        }
    }

    #[test]
    fn access_rules_decide_the_same_after_a_round_trip() {
        let user = |text: &str| NamePattern::of_users(text).unwrap();
        let allowed = AccessRule {
            topics: vec!["site/%u/#".to_owned()],
            users: Some(vec![user("house\\*"), user("al")]),
            publish: None,
            subscribe: Some(Permission::Allow),
        };
        let denied = AccessRule {
            topics: vec!["site/#".to_owned()],
            users: None,
            subscribe: Some(Permission::Deny),
            ..allowed.clone()
        };
        let read = round_trip(&Settings {
            access_rules: vec![allowed, denied],
            ..Settings::default()
        });
        for (user, topic, may) in [
            ("al", "site/al/x", true),
            ("al", "site/bob/x", false),
            ("house\\1", "site/house\\1/x", true),
            ("bob", "site/bob/x", false),
            ("bob", "other", true),
        ] {
            assert_eq!(read.access.may_see(user, topic), may, "{user} {topic}");
        }
    }

    /// Patterns as the loader accepts them, and some that it does not.
    fn room_rule() -> impl Strategy<Value = RoomRule> {
        let pattern = "[a-c._~*?-]{1,8}|\\{[a-c],[a-c]\\}|\\[[a-c]\\]";
        let users = prop::collection::vec("[a-c~/%]{1,5}", 0..3);
        (pattern, users, 0..3u32, any::<bool>()).prop_map(|(pattern, users, limit, strict)| {
            let publish = if strict {
                PublishRule::Members
            } else {
                PublishRule::Anyone
            };
            let users: Vec<&str> = users.iter().map(String::as_str).collect();
            rule(&pattern, &users, limit, publish)
        })
    }

    proptest! {
        #[test]
        fn rules_are_read_as_they_were_written(
            rules in prop::collection::vec(room_rule(), 0..5),
            limits in any::<(usize, usize, u32)>(),
            create in prop::sample::select(vec![
                RoomCreation::Anyone,
                RoomCreation::Authenticated,
                RoomCreation::Nobody,
            ]),
            name in "[a-c._~-]{1,8}",
        ) {
            let mut settings = Settings {
                room_rules: rules,
                ..Settings::default()
            };
            settings.rooms.create = create;
            (settings.limits.rooms, settings.limits.room_retained) = (limits.0, limits.1);
            settings.presence.grace = Duration::from_millis(limits.2.into());
            let read = round_trip(&settings);
            prop_assert_eq!(&read.rooms, &room_rules(&settings));
            let (before, after) = (Rules::new(&settings).rooms, RoomPolicies::new(read.rooms));
            prop_assert_eq!(before.of(&name), after.of(&name), "{}", name);
        }

        #[test]
        fn arbitrary_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..100)) {
            let _ = HookRules::from_bytes(&[&[FORMAT], &bytes[..]].concat());
        }
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
