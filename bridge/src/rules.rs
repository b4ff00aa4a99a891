//! Which rule holds for a room: the first `[[room]]` whose pattern matches, else `[rooms]`.

use crate::access::Access;
use crate::topics;
use globset::GlobMatcher;
use roommq_config::{Access as Joining, Create, PublishRule, Settings, SysReaders};
use std::collections::HashSet;
use std::sync::Arc;

/// What holds for one room.
#[derive(Debug)]
pub(crate) struct Rule {
    /// Users on the list, as in a topic level; none: open to all.
    members: Option<HashSet<Box<str>>>,
    /// Users at once, those lost within the grace period among them.
    pub limit: Option<u32>,
    /// Whether only members publish.
    pub members_publish: bool,
    /// Who brings the room to life. A room that a rule names is always there for those it admits.
    pub create: Create,
    /// Whether it is the rule of one room only, so that strangers' rooms must not keep it from coming to life.
    pub of_one: bool,
}

/// All rules, and the bounds that rooms live in.
#[derive(Debug)]
pub(crate) struct Rules {
    named: Vec<(GlobMatcher, Arc<Rule>)>,
    unnamed: Arc<Rule>,
    /// Whether a message into a room that is not alive needs a look at its rule.
    pub strict_publish: bool,
    /// Who may publish and subscribe to what, besides rooms and inboxes.
    pub access: Access,
    /// Who sees what the server tells of itself.
    pub sys: SysReaders,
    /// Milliseconds from `lost` to `left`.
    pub grace: u64,
    /// Retained messages of the application in one room.
    pub room_retained: usize,
    /// Rooms of the whole server, as its operator says.
    pub rooms: usize,
    /// A lane's share of them: a lane knows no rooms but its own, and answers by the log alone.
    pub lane_rooms: usize,
}

impl Rule {
    /// Whether anybody may join.
    pub fn is_open(&self) -> bool {
        self.members.is_none()
    }

    /// Whether `user` (as in a topic level) may join.
    pub fn admits(&self, user: &str) -> bool {
        self.members.as_ref().is_none_or(|list| list.contains(user))
    }

    /// Whether `user` may bring the room to life.
    pub fn may_create(&self, authenticated: bool) -> bool {
        match self.create {
            Create::Anyone => true,
            Create::Authenticated => authenticated,
            Create::Nobody => false,
        }
    }

    fn is_strict(&self) -> bool {
        self.members_publish || self.create != Create::Anyone
    }
}

impl Rules {
    pub fn new(settings: &Settings) -> Rules {
        let named: Vec<_> = settings
            .room_rules
            .iter()
            .map(|rule| {
                let members = match &rule.access {
                    Joining::Open => None,
                    Joining::List(users) => {
                        let levels = users.iter().map(|user| topics::user_level(user).into());
                        Some(levels.collect())
                    }
                };
                let rule_of_room = Rule {
                    members,
                    limit: rule.max_members.map(std::num::NonZeroU32::get),
                    members_publish: rule.publish == PublishRule::Members,
                    create: Create::Anyone,
                    of_one: names_one(&rule.pattern.text),
                };
                (rule.pattern.matcher.clone(), Arc::new(rule_of_room))
            })
            .collect();
        let unnamed = Arc::new(Rule {
            members: None,
            limit: None,
            members_publish: false,
            create: settings.rooms.create,
            of_one: false,
        });
        let strict_publish = unnamed.is_strict() || named.iter().any(|(_, rule)| rule.is_strict());
        Rules {
            named,
            unnamed,
            strict_publish,
            access: Access::new(settings),
            sys: settings.sys.read,
            grace: u64::try_from(settings.presence.grace.as_millis()).unwrap_or(u64::MAX),
            room_retained: settings.limits.room_retained,
            rooms: settings.limits.rooms,
            lane_rooms: settings
                .limits
                .rooms
                .div_ceil(settings.lanes.count.max(1).into()),
        }
    }

    /// The rule of a room; tries each pattern, so a room remembers it.
    pub fn of(&self, room: &str) -> &Arc<Rule> {
        self.named
            .iter()
            .find(|(pattern, _)| pattern.is_match(room))
            .map_or(&self.unnamed, |(_, rule)| rule)
    }
}

/// Whether a pattern is a room's name, and no glob.
fn names_one(pattern: &str) -> bool {
    !pattern.contains(['*', '?', '[', ']', '{', '}', '\\', '!'])
}

#[cfg(test)]
pub(crate) mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;
    use roommq_config::{RoomPattern, RoomRule};
    use std::num::NonZeroU32;

    /// A rule as the loader would make it; `list` empty: open; `limit` 0: none.
    pub(crate) fn rule(pattern: &str, list: &[&str], limit: u32, publish: PublishRule) -> RoomRule {
        let users = list.iter().map(|user| (*user).to_owned()).collect();
        RoomRule {
            pattern: RoomPattern {
                text: pattern.to_owned(),
                matcher: globset::Glob::new(pattern).unwrap().compile_matcher(),
            },
            access: if list.is_empty() {
                Joining::Open
            } else {
                Joining::List(users)
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
    fn the_first_rule_that_matches_holds() {
        let rules = Rules::new(&settings());
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
        let rules = Rules::new(&settings());
        assert!(rules.of("staff-1").admits(&topics::user_level("a/b")));
        assert!(
            rules
                .of("staff-1")
                .admits(&topics::anonymous_level("probe"))
        );
        assert!(!rules.of("staff-1").admits("probe"));
    }

    #[test]
    fn who_creates_counts_only_where_no_rule_matches() {
        for (create, anonymous, authenticated) in [
            (Create::Anyone, true, true),
            (Create::Authenticated, false, true),
            (Create::Nobody, false, false),
        ] {
            let mut settings = settings();
            settings.rooms.create = create;
            let rules = Rules::new(&settings);
            assert_eq!(rules.of("lobby").may_create(false), anonymous);
            assert_eq!(rules.of("lobby").may_create(true), authenticated);
            assert!(rules.of("duo").may_create(false));
        }
    }

    #[test]
    fn lanes_share_the_rooms_and_none_is_left_without() {
        for (rooms, lanes, share) in [(1_000_000, 16, 62_500), (17, 16, 2), (3, 16, 1), (5, 1, 5)] {
            let mut settings = Settings::default();
            (settings.limits.rooms, settings.lanes.count) = (rooms, lanes);
            assert_eq!(Rules::new(&settings).lane_rooms, share, "{rooms} {lanes}");
        }
    }

    #[test]
    fn a_rule_of_one_room_is_told_from_a_glob() {
        let rules = Rules::new(&settings());
        assert!(rules.of("duo").of_one && rules.of("staff-open").of_one);
        assert!(!rules.of("staff-1").of_one && !rules.of("lobby").of_one);
    }

    #[test]
    fn messages_into_no_room_are_looked_at_only_where_a_rule_asks() {
        assert!(!Rules::new(&Settings::default()).strict_publish);
        assert!(Rules::new(&settings()).strict_publish);
        let mut closed = Settings::default();
        closed.rooms.create = Create::Nobody;
        assert!(Rules::new(&closed).strict_publish);
    }
}
