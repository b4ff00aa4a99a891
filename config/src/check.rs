//! What holds between values.

mod access;
mod listener;

pub(crate) use access::topics;
pub(crate) use listener::{Bound, listeners};

use crate::entry::Entry;
use crate::keys::RoomDraft;
use crate::problem::{Place, Problem};
use crate::settings::{Access, RoomRule, Settings, UserFrom};
use crate::value::word::AccessWord;

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
    let reachable = bound
        .iter()
        .find_map(|bound| Some((bound, bound.reachable()?)));
    if let (Place::Default, Some((reachable, address))) = (&place, reachable) {
        problems.push(Problem::Conflict {
            text: format!(
                "`{}.bind` in {} is `{}`, which other machines can reach, and nothing says whether \
                 clients without credentials may connect: under `[auth]` write `anonymous = false` and \
                 `users_file = \"users.toml\"` (made by `roommq passwd`), or `anonymous = true` to let \
                 everybody in; --anonymous and --users-file, or ROOMMQ__AUTH__ANONYMOUS and ROOMMQ__AUTH__USERS_FILE, say the same",
                reachable.name, reachable.place, address
            ),
            place: reachable.place.clone(),
        });
    }
    let by_certificate = bound.iter().any(|bound| {
        let tls = bound.read.tls.as_ref();
        tls.is_some_and(|tls| tls.user_from != UserFrom::Nothing)
    });
    if !auth.anonymous && auth.users_file.is_none() && !by_certificate {
        problems.push(Problem::Missing {
            key: "auth.users_file".to_owned(),
            wanted: "with `anonymous = false` nobody could connect; write \
                     `users_file = \"users.toml\"` under `[auth]`, made by `roommq passwd`"
                .to_owned(),
            place,
        });
    }
}
