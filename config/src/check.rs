//! Checks across several values.

mod access;
mod listener;
pub(crate) mod shadow;

pub(crate) use access::access_rule;
pub(crate) use listener::{CheckedListener, listeners};

use crate::keys::RoomRuleDraft;
use crate::parsed_table::ParsedTable;
use crate::problem::{Location, Problem};
use crate::settings::{NamePattern, RoomAccess, RoomRule, Settings, UserFrom};
use crate::value::word::RoomAccessWord;

/// A value, or all that is wrong with it.
pub(crate) type Checked<T> = Result<T, Vec<Problem>>;

/// Checks the entries of a list in order. `check` gets the good ones before the entry, and reports all
/// problems of the entry at once.
pub(crate) fn entries<D, T>(
    tables: &[ParsedTable<D>],
    problems: &mut Vec<Problem>,
    check: fn(&ParsedTable<D>, &[T]) -> Checked<T>,
) -> Vec<T> {
    let mut checked = Vec::new();
    for table in tables {
        match check(table, &checked) {
            Ok(entry) => checked.push(entry),
            Err(wrong) => problems.extend(wrong),
        }
    }
    checked
}

/// Both values, or the problems of both.
pub(crate) fn both<A, B>(one: Checked<A>, other: Checked<B>) -> Checked<(A, B)> {
    match (one, other) {
        (Ok(one), Ok(other)) => Ok((one, other)),
        (one, other) => {
            let problems = [one.err(), other.err()];
            Err(problems.into_iter().flatten().flatten().collect())
        }
    }
}

/// Checks that a `[[room]]` has a pattern of its own and consistent access.
pub(crate) fn room_rule(
    table: &ParsedTable<RoomRuleDraft>,
    earlier: &[RoomRule],
) -> Checked<RoomRule> {
    let (pattern, access) = both(
        own_pattern(table, earlier).map_err(|problem| vec![problem]),
        access(table).map_err(|problem| vec![problem]),
    )?;
    Ok(RoomRule {
        pattern,
        access,
        max_members: table.values.max_members,
        publish: table.values.publish,
    })
}

fn own_pattern(
    table: &ParsedTable<RoomRuleDraft>,
    earlier: &[RoomRule],
) -> Result<NamePattern, Problem> {
    let Some(pattern) = &table.values.pattern else {
        let hint = r#"write `match = "lobby"`, or a glob such as "staff-*""#;
        return Err(table.missing("room.match", hint));
    };
    if earlier.iter().any(|rule| rule.pattern == *pattern) {
        let hint =
            "an earlier `[[room]]` has the same pattern, and the first match wins; make them one";
        return Err(table.bad_value("room.match", pattern.text.clone(), hint.to_owned()));
    }
    Ok(pattern.clone())
}

fn access(table: &ParsedTable<RoomRuleDraft>) -> Result<RoomAccess, Problem> {
    let key = format!("{}.members", table.name);
    match (table.values.access, &table.values.members) {
        (RoomAccessWord::Open, None) => Ok(RoomAccess::Open),
        (RoomAccessWord::Open, Some(_)) => Err(Problem::Conflict {
            location: table.location_of("room.members"),
            text: format!(
                "`{key}` in {} has no effect without `access`: write `access = \"list\"` beside it, or \
                 remove `members` to let everybody in",
                table.location_of("room.members")
            ),
        }),
        (RoomAccessWord::List, Some(members)) if !members.is_empty() => {
            Ok(RoomAccess::List(members.clone()))
        }
        (RoomAccessWord::List, Some(_)) => {
            let hint = "nobody could join; name the users, or write `access = \"open\"`";
            Err(table.bad_value("room.members", "[]".to_owned(), hint.to_owned()))
        }
        (RoomAccessWord::List, None) => Err(Problem::Missing {
            key,
            location: table.location_of("room.access"),
            hint: r#"`access = "list"` needs `members = ["alice", "bob"]`"#.to_owned(),
        }),
    }
}

/// Bytes that an outgoing message may have beside the packet that brought it and the topic of an alias:
/// who sent it and when, subscription identifiers, longer lengths.
const MESSAGE_EXTRA: u64 = 4 << 10;

/// The longest topic, in bytes (1.5.3). A packet may name it by an alias.
const LONGEST_TOPIC: u64 = 65_535;

/// Checks that the largest packet fits into the queue of one session. Otherwise the server would
/// acknowledge a message that it can deliver to nobody who is slow or offline.
pub(crate) fn outbox(
    listeners: &[CheckedListener],
    table: &ParsedTable<Settings>,
    problems: &mut Vec<Problem>,
) {
    let limits = &table.values.limits;
    let own = listeners.iter().filter_map(|one| {
        let bytes = one.listener.limits.packet_bytes?;
        let key = format!("{}.packet_bytes", one.name);
        Some((key, one.packet_bytes.clone(), bytes.get()))
    });
    // Each listener may have its own limit, which replaces the common one.
    let all_own = listeners
        .iter()
        .all(|one| one.listener.limits.packet_bytes.is_some());
    let common = (!all_own).then(|| {
        let key = "limits.packet_bytes";
        (key.to_owned(), table.location_of(key), limits.packet_bytes)
    });
    let outbox = u64::try_from(limits.outbox_bytes).unwrap_or(u64::MAX);
    for (key, location, packet) in own.chain(common) {
        let packet = u64::from(packet);
        let topic = if limits.topic_aliases == 0 {
            0
        } else {
            packet.min(LONGEST_TOPIC)
        };
        let least = packet + topic + MESSAGE_EXTRA;
        if outbox < least {
            let place = table.location_of("limits.outbox_bytes");
            problems.push(Problem::Conflict {
                text: format!(
                    "`{key}` in {location} is {packet} bytes, and one such message would not fit into \
                     `limits.outbox_bytes` in {place}, {outbox} bytes, so it could not be delivered; give \
                     `outbox_bytes` {least} or more, or lower `packet_bytes`"
                ),
                location: location.max(place),
            });
        }
    }
}

/// Checks that no client is let in by oversight, and that some client can connect.
pub(crate) fn auth(
    listeners: &[CheckedListener],
    table: &ParsedTable<Settings>,
    problems: &mut Vec<Problem>,
) {
    let location = table.location_of("auth.anonymous");
    let auth = &table.values.auth;
    let reachable = listeners
        .iter()
        .find_map(|listener| Some((listener, listener.reachable()?)));
    if let (Location::Default, Some((reachable, address))) = (&location, reachable) {
        problems.push(Problem::Conflict {
            text: format!(
                "`{}.bind` in {} is `{}`, which other machines can reach, and no setting says whether \
                 clients without credentials may connect: under `[auth]` write `anonymous = false` and \
                 `users_file = \"users.toml\"` (made by `roommq passwd`), or `anonymous = true` to let \
                 everybody in; --anonymous and --users-file, or ROOMMQ__AUTH__ANONYMOUS and ROOMMQ__AUTH__USERS_FILE, say the same",
                reachable.name, reachable.location, address
            ),
            location: reachable.location.clone(),
        });
    }
    let by_certificate = listeners.iter().any(|one| {
        let tls = one.listener.tls.as_ref();
        tls.is_some_and(|tls| tls.user_from != UserFrom::Nothing)
    });
    let by_token = table.values.jwt.keys.is_some();
    if !auth.anonymous && auth.users_file.is_none() && !by_certificate && !by_token {
        let made = "made by `roommq passwd`";
        problems.push(match &location {
            Location::Flag(flag) => Problem::Conflict {
                text: format!(
                    "with `{flag} false` nobody could connect: add `--users-file users.toml`, {made}"
                ),
                location,
            },
            Location::Environment(name) => Problem::Conflict {
                text: format!(
                    "with {name}=false nobody could connect: set {}=users.toml, {made}",
                    crate::keys::variable("auth.users_file")
                ),
                location,
            },
            _ => Problem::Missing {
                key: "auth.users_file".to_owned(),
                hint: format!(
                    "with `anonymous = false` nobody could connect; write `users_file = \"users.toml\"` under \
                     `[auth]`, {made}"
                ),
                location,
            },
        });
    }
}
