//! Lanes with rooms that apply one log have equal states and equal outcomes, and a lane that is restored goes on
//! like one that never stopped.
//!
//! `ROOMMQ_DETERMINISM=10000000 cargo test --release -p roommq-bridge --test determinism` applies so many entries, and
//! `ROOMMQ_SEED=2` makes other ones.
//!
//! ```text
//!   two        .--> lane 0, whose clients read; entries as they are  --.
//!   writers ---+--> lane 1, without clients; sealed batches            +--> equal outcomes, and equal
//!              +--> lane 2, whose queues are full; sealed batches      |    digests every 64 entries
//!              '--> lane 3, restored now and then from one of them   --'
//! ```
//!
//! The nodes perform outcomes in slices of 1, 7, 1,024 and 10,000 targets, and their clients read retained messages by
//! cursors of different speeds. In the end each session has been given the same.
//!
//! A seed decides the entries. Only the timers and the error messages of the first lane become entries, as only the
//! writer of a batch may append what follows from it.
#![allow(clippy::unwrap_used)]

mod node;
mod replicas;
mod rng;
mod story;

use replicas::Replicas;
use roommq_bridge::{Bridge, Users};
use roommq_broker::packet::TopicFilter;
use roommq_broker::policy::{LaneHooks, Mount, Policy, Principal, SubscribeGrant};
use roommq_config::{NamePattern, PublishRule, RoomAccess, RoomRule, Settings};
use std::num::NonZeroU32;
use std::time::Duration;
use story::{Cast, Story};

const FILTERS: [&str; 17] = [
    "rooms/a/#",
    "rooms/a/x",
    "rooms/b/#",
    "rooms/c/+",
    "rooms/duo/#",
    "rooms/staff/#",
    "rooms/talk/#",
    "rooms/a/_info",
    "rooms/+/_info",
    "#",
    "inbox/me/#",
    "sensors/#",
    "sensors/+/t",
    "sensors/1/t",
    "$share/g/sensors/#",
    "$share/h/sensors/1/t",
    "$share/h/+/1/t",
];

const TOPICS: [&str; 13] = [
    "rooms/a",
    "rooms/a/x",
    "rooms/a/y",
    "rooms/b",
    "rooms/c/x",
    "rooms/duo",
    "rooms/talk",
    "inbox/al",
    "sensors/1/t",
    "sensors/2/t",
    "sensors",
    "other/1/t",
    "other/2",
];

fn rule(pattern: &str, list: Option<&str>, limit: u32, publish: PublishRule) -> RoomRule {
    RoomRule {
        pattern: NamePattern {
            text: pattern.to_owned(),
            matcher: globset::Glob::new(pattern).unwrap().compile_matcher(),
        },
        access: match list {
            Some(user) => RoomAccess::List([user.to_owned()].into()),
            None => RoomAccess::Open,
        },
        max_members: NonZeroU32::new(limit),
        publish,
    }
}

fn settings() -> Settings {
    let mut settings = Settings {
        room_rules: vec![
            rule("duo", None, 2, PublishRule::Anyone),
            rule("staff", Some("al"), 0, PublishRule::Anyone),
            rule("ta*", None, 0, PublishRule::Members),
        ],
        ..Settings::default()
    };
    settings.presence.grace = Duration::from_secs(2);
    settings.limits.room_retained = 2;
    settings.limits.rooms = 3;
    settings.rooms.per_user = 2;
    settings.rooms.empty_after = Duration::from_secs(3);
    settings.lanes.count = 1;
    settings
}

/// The grants of one user, some of them with a mount besides.
async fn grants(bridge: &Bridge, who: &Principal) -> Vec<SubscribeGrant> {
    let mut grants = Vec::new();
    for filter in FILTERS {
        let filter = TopicFilter::new(filter.into()).unwrap();
        let resolved = bridge.resolve(who, &filter);
        let Ok(grant) = bridge.subscribe(who, &resolved).await else {
            continue;
        };
        if filter.as_str() == "sensors/+/t" {
            grants.push(SubscribeGrant {
                mount: Some(Mount {
                    real: "sensors".to_owned(),
                    shown: "mine".to_owned(),
                }),
                ..grant.clone()
            });
        }
        grants.push(grant);
    }
    grants
}

/// Feeds one log to several lanes, and returns how often a lane was restored.
fn compare_lanes(cast: &Cast, hooks: &dyn LaneHooks, seed: u64, entries: u64) -> u64 {
    let mut lanes = Replicas::new(hooks, seed);
    let mut story = Story::new(cast, seed);
    while lanes.applied < entries {
        story.go_on(&mut lanes);
    }
    lanes.compare();
    lanes.restored
}

/// The number in an environment variable.
fn number(variable: &str, default: u64) -> u64 {
    std::env::var(variable).map_or(default, |text| text.parse().unwrap())
}

#[tokio::test]
async fn lanes_agree_whatever_their_nodes_do_and_restored_lanes_go_on() {
    let bridge = Bridge::new(&settings(), Users::default());
    let mut users = Vec::new();
    for (name, authenticated) in [("al", true), ("bob", true), ("carol", true), ("~x", false)] {
        let who = Principal::new(name, authenticated);
        users.push((name.to_owned(), grants(&bridge, &who).await));
    }
    let cast = Cast {
        users,
        topics: TOPICS.map(str::to_owned).into(),
    };
    // Two logs at a time, each with half of the entries.
    let entries = number("ROOMMQ_DETERMINISM", 100_000) / 2;
    let seed = number("ROOMMQ_SEED", 1);
    let compare = |seed| {
        let restored = compare_lanes(&cast, &*bridge, seed, entries);
        assert!(restored > entries / 1_000, "{restored}");
    };
    std::thread::scope(|scope| {
        scope.spawn(|| compare(2 * seed));
        compare(2 * seed + 1);
    });
}
