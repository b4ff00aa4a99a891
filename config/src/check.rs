//! What holds between values.

use crate::keys::{ListenerDraft, RoomDraft};
use crate::layer::LISTEN_VARIABLE;
use crate::load::Entry;
use crate::problem::{Place, Problem};
use crate::settings::{Access, Listener, RoomRule, Settings};
use crate::value::address::is_loopback;
use crate::value::word::AccessWord;

/// A listener with where its address was given.
pub(crate) struct Bound {
    pub read: Listener,
    name: String,
    place: Place,
}

/// At least one listener, each with an address, none twice.
pub(crate) fn listeners(
    entries: Vec<Entry<ListenerDraft>>,
    problems: &mut Vec<Problem>,
) -> Vec<Bound> {
    let mut bound: Vec<Bound> = Vec::new();
    if entries.is_empty() {
        problems.push(Problem::Conflict {
            place: Place::Default,
            text: format!(
                "`listener` is an empty list, so nobody could connect: write a `[[listener]]`, set \
                 {LISTEN_VARIABLE}, or leave `listener` out for 127.0.0.1:1883"
            ),
        });
    }
    for entry in entries {
        let place = entry.place_of("listener.bind");
        let Some(bind) = entry.read.bind else {
            problems.push(Problem::Missing {
                key: format!("{}.bind", entry.name),
                place,
                wanted: r#"write `bind = "127.0.0.1:1883"`"#.to_owned(),
            });
            continue;
        };
        // Each port 0 is another port.
        let earlier = bound
            .iter()
            .find(|other| other.read.bind == bind && bind.port() != 0);
        if let Some(earlier) = earlier {
            problems.push(Problem::BadValue {
                key: format!("{}.bind", entry.name),
                place,
                value: bind.to_string(),
                wanted: format!(
                    "`{}.bind` in {} is the same; give another port, or take one of them away",
                    earlier.name, earlier.place
                ),
            });
            continue;
        }
        bound.push(Bound {
            read: Listener {
                bind,
                transport: entry.read.transport,
            },
            name: entry.name,
            place,
        });
    }
    bound
}

/// Each rule has a pattern of its own, and its list is one that says something.
pub(crate) fn rooms(entries: Vec<Entry<RoomDraft>>, problems: &mut Vec<Problem>) -> Vec<RoomRule> {
    let mut rules: Vec<RoomRule> = Vec::new();
    for entry in entries {
        let access = match access(&entry) {
            Ok(access) => access,
            Err(problem) => {
                problems.push(problem);
                continue;
            }
        };
        let key = format!("{}.match", entry.name);
        let place = entry.place_of("room.match");
        let Some(pattern) = entry.read.pattern else {
            problems.push(Problem::Missing {
                key,
                place,
                wanted: r#"write `match = "lobby"`, or a glob such as "staff-*""#.to_owned(),
            });
            continue;
        };
        if rules.iter().any(|rule| rule.pattern == pattern) {
            problems.push(Problem::BadValue {
                key,
                place,
                value: pattern.text,
                wanted:
                    "an earlier `[[room]]` has the same, and the first match wins; make them one"
                        .to_owned(),
            });
            continue;
        }
        rules.push(RoomRule {
            pattern,
            access,
            max_members: entry.read.max_members,
            publish: entry.read.publish,
        });
    }
    rules
}

fn access(entry: &Entry<RoomDraft>) -> Result<Access, Problem> {
    let key = format!("{}.members", entry.name);
    match (entry.read.access, &entry.read.members) {
        (AccessWord::Open, None) => Ok(Access::Open),
        (AccessWord::Open, Some(_)) => Err(Problem::Conflict {
            place: entry.place_of("room.members"),
            text: format!(
                "`{key}` in {} says nothing without `access`: write `access = \"list\"` beside it, or \
                 take `members` away to let everybody in",
                entry.place_of("room.members")
            ),
        }),
        (AccessWord::List, Some(members)) if !members.is_empty() => {
            Ok(Access::List(members.clone()))
        }
        (AccessWord::List, Some(_)) => Err(Problem::BadValue {
            key,
            place: entry.place_of("room.members"),
            value: "[]".to_owned(),
            wanted: "nobody could join; name the users, or write `access = \"open\"`".to_owned(),
        }),
        (AccessWord::List, None) => Err(Problem::Missing {
            key,
            place: entry.place_of("room.access"),
            wanted: r#"`access = "list"` needs `members = ["alice", "bob"]`"#.to_owned(),
        }),
    }
}

/// Nobody is let in by oversight, and somebody can be.
pub(crate) fn auth(bound: &[Bound], entry: &Entry<Settings>, problems: &mut Vec<Problem>) {
    let place = entry.place_of("auth.anonymous");
    let auth = &entry.read.auth;
    let reachable = bound.iter().find(|bound| !is_loopback(&bound.read.bind));
    if let (Place::Default, Some(reachable)) = (&place, reachable) {
        problems.push(Problem::Conflict {
            text: format!(
                "`{}.bind` in {} is `{}`, which other machines can reach, and nothing says whether \
                 clients without credentials may connect: under `[auth]` write `anonymous = false` and \
                 `users_file = \"users.toml\"` (made by `roommq passwd`), or `anonymous = true` to let \
                 everybody in; --anonymous and --users-file, or ROOMMQ__AUTH__ANONYMOUS and ROOMMQ__AUTH__USERS_FILE, say the same",
                reachable.name, reachable.place, reachable.read.bind
            ),
            place: reachable.place.clone(),
        });
    }
    if !auth.anonymous && auth.users_file.is_none() {
        problems.push(Problem::Missing {
            key: "auth.users_file".to_owned(),
            wanted: "with `anonymous = false` nobody could connect; write \
                     `users_file = \"users.toml\"` under `[auth]`, made by `roommq passwd`"
                .to_owned(),
            place,
        });
    }
}
