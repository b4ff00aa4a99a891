//! All keys: their names, and how their values are read and shown.

mod access;
mod key;
mod listener;
mod room;

pub(crate) use access::{ACCESS, AccessRuleDraft};
pub(crate) use key::Key;
pub(crate) use listener::{LISTENER, ListenerDraft};
pub(crate) use room::{ROOM, RoomRuleDraft};

use crate::settings::Settings;
use crate::value::size::{GIB, KIB, MIB, TIB};
use crate::value::time::{HOUR, MILLISECOND, MONTH, SECOND};
use key::{LARGEST_PACKET, SMALLEST_PACKET, key};
use std::time::Duration;

/// Keep alive is a two-byte number of seconds (5.0, section 3.1.2.10).
const LONGEST_KEEP_ALIVE: Duration = Duration::from_secs(65_535);

/// The session expiry interval is a four-byte number of seconds (5.0, section 3.1.2.11.2).
const LONGEST_EXPIRY: Duration = Duration::from_secs(u32::MAX as u64);

/// The keys of the sections that are tables.
pub(crate) static SETTINGS: &[Key<Settings>] = &[
    key!(auth.anonymous: switch),
    key!(auth.users_file?: path),
    key!(auth.scram_iterations: number, 4_096..=10_000_000),
    key!(jwt.keys?: path),
    key!(jwt.issuer?: name),
    key!(jwt.audience?: name),
    key!(topics.outside_rooms: word),
    key!(topics.dollar: word),
    key!(rooms.create: word),
    key!(rooms.per_user: number, 1..=100_000_000),
    key!(rooms.empty_after: time, MILLISECOND..=MONTH),
    key!(rooms.info_interval: time, Duration::ZERO..=HOUR),
    key!(rooms.changes: number, 0..=1_000_000),
    key!(presence.grace: time, MILLISECOND..=MONTH),
    key!(limits.connections: number, 1..=10_000_000),
    key!(limits.connections_per_address: number, 0..=10_000_000),
    key!(limits.connections_per_user: number, 0..=10_000_000),
    key!(limits.connects_per_address: number, 0..=1_000_000),
    key!(limits.connects_per_user: number, 0..=1_000_000),
    key!(limits.flapping: number, 0..=1_000_000),
    key!(limits.packet_bytes: size, SMALLEST_PACKET..=LARGEST_PACKET),
    key!(limits.outbox_bytes: size, KIB..=16 * GIB),
    key!(limits.outbox_messages: number, 1..=100_000_000),
    key!(limits.inflight: number, 1..=65_535),
    key!(limits.subscriptions: number, 1..=65_535),
    key!(limits.spanning_subscriptions: number, 0..=65_535),
    key!(limits.shared_subscriptions: number, 0..=65_535),
    key!(limits.subscription_bytes: size, KIB..=16 * GIB),
    key!(limits.topic_levels: number, 2..=65_536),
    key!(limits.user_properties: number, 0..=65_535),
    key!(limits.will_bytes: size, 64..=256 * MIB),
    key!(limits.retained: number, 1..=1_000_000_000),
    key!(limits.retained_bytes: size, KIB..=1_024 * GIB),
    key!(limits.topic_aliases: number, 0..=65_535),
    key!(limits.rooms: number, 1..=100_000_000),
    key!(limits.room_retained: number, 0..=100_000_000),
    key!(limits.connect_time: time, 10 * MILLISECOND..=HOUR),
    key!(limits.packet_time: time, 10 * MILLISECOND..=HOUR),
    key!(limits.packet_pace: number, 1..=1_000_000),
    key!(limits.packet_longest: time, SECOND..=HOUR),
    key!(limits.write_pace: number, 1..=1_000_000),
    key!(limits.write_stall: time, 10 * MILLISECOND..=HOUR),
    key!(limits.message_rate: number, 0..=10_000_000),
    key!(limits.byte_rate: number, 0..=1_000_000_000),
    key!(limits.keep_alive_default: time::seconds, Duration::ZERO..=LONGEST_KEEP_ALIVE),
    key!(limits.keep_alive: time::seconds, SECOND..=LONGEST_KEEP_ALIVE),
    key!(limits.session_expiry: time::seconds_or_never, Duration::ZERO..=LONGEST_EXPIRY),
    key!(limits.kept_sessions: number, 0..=100_000_000),
    key!(limits.kept_bytes: size, 64 * KIB..=TIB),
    key!(limits.queue_age: time, MILLISECOND..=LONGEST_EXPIRY),
    key!(limits.shutdown_time: time, Duration::ZERO..=HOUR),
    key!(limits.password_checks: number, 1..=1_024),
    key!(limits.password_cache: number, 0..=100_000_000),
    key!(limits.login_time: time, 10 * MILLISECOND..=HOUR),
    key!(limits.login_queue: number, 1..=10_000_000),
    key!(limits.login_failures: number, 0..=1_000_000),
    key!(limits.login_failures_address: number, 0..=1_000_000),
    key!(limits.login_failures_user: number, 0..=1_000_000),
    key!(lanes.count: number, 1..=4_096),
    key!(lanes.keepers: number, 0..=1_024),
    key!(lanes.io_threads: number, 0..=1_024),
    key!(lanes.credit_bytes: size, KIB..=1_024 * MIB),
    key!(sys.interval: time, Duration::ZERO..=MONTH),
    key!(sys.read: word),
    key!(log.level: level),
    key!(log.format: word),
    key!(log.file?: path),
];

/// How a section is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SectionKind {
    /// `[section]`
    Table,
    /// `[[section]]`
    List,
}

/// The names of all keys.
pub(crate) fn names() -> impl Iterator<Item = &'static str> {
    let listener = LISTENER.iter().map(|key| key.name);
    let settings = SETTINGS.iter().map(|key| key.name);
    listener
        .chain(settings)
        .chain(ACCESS.iter().map(|key| key.name))
        .chain(ROOM.iter().map(|key| key.name))
}

/// Whether a running server takes a new value of this key or list. `auth.anonymous` belongs to the listeners, which stay:
/// some may not be open to anonymous clients by mere default.
pub(crate) fn is_live(name: &str) -> bool {
    match section(name) {
        "jwt" | "topics" | "access" | "room" | "rooms" | "presence" => true,
        _ => LIVE.contains(&name),
    }
}

/// Keys that a running server takes, of sections with others that it does not.
const LIVE: [&str; 8] = [
    "auth.users_file",
    "auth.scram_iterations",
    "limits.retained",
    "limits.retained_bytes",
    "limits.rooms",
    "limits.room_retained",
    "sys.read",
    "log.level",
];

/// A key's section.
pub(crate) fn section(name: &str) -> &str {
    name.split_once('.').map_or(name, |(section, _)| section)
}

/// How the section of this name is written. None: there is no such section.
pub(crate) fn shape(name: &str) -> Option<SectionKind> {
    match name {
        "listener" | "access" | "room" => Some(SectionKind::List),
        _ => names()
            .any(|key| section(key) == name)
            .then_some(SectionKind::Table),
    }
}

/// The environment variable that sets a key of a table.
pub(crate) fn variable(name: &str) -> String {
    format!("ROOMMQ__{}", name.to_uppercase().replace('.', "__"))
}

/// The least similarity, from 0 to 1, at which a key is suggested.
const SIMILAR: f64 = 0.6;

/// The known key or section that is most similar to `name`.
pub(crate) fn nearest(name: &str) -> Option<&'static str> {
    // The cost of the comparison grows with the square of the length.
    if name.len() > 100 {
        return None;
    }
    let name = name.to_lowercase();
    let similarity = |known: &str| {
        let last = |dotted: &str| dotted.rsplit('.').next().unwrap_or_default().to_owned();
        // A right key in a wrong section is nearly as similar as a key with one typing error.
        let key = strsim::normalized_damerau_levenshtein(&last(&name), &last(known));
        // A right section alone is no reason to suggest a key, so it counts little.
        if section(&name) == section(known) {
            return 0.2 + 0.8 * key;
        }
        let whole = strsim::normalized_damerau_levenshtein(&name, known);
        whole.max(key * 0.9)
    };
    let sections = names().filter(|_| !name.contains('.')).map(section);
    names()
        .chain(sections)
        .map(|known| (known, similarity(known)))
        .filter(|(_, similarity)| *similarity >= SIMILAR)
        .max_by(|a, b| a.1.total_cmp(&b.1))
        .map(|(known, _)| known)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn the_nearest_key() {
        let table = [
            ("auth.anonymus", Some("auth.anonymous")),
            ("anonymous", Some("auth.anonymous")),
            ("autth", Some("auth")),
            ("listeners", Some("listener")),
            ("presence.Grace", Some("presence.grace")),
            ("rooms.match", Some("room.match")),
            ("room.acess", Some("room.access")),
            ("limits.packet-bytes", Some("limits.packet_bytes")),
            ("limits.topic_alias_maximum", Some("limits.topic_aliases")),
            ("log.colour", None),
            ("listener.bogus", None),
            ("lanes.foo", None),
            ("listener", Some("listener")),
            ("xyzzy", None),
        ];
        for (name, hint) in table {
            assert_eq!(nearest(name), hint, "{name}");
        }
    }

    #[test]
    fn names_are_two_levels_and_unique() {
        let all: BTreeSet<_> = names().collect();
        assert_eq!(all.len(), names().count());
        assert!(all.iter().all(|name| name.split('.').count() == 2));
    }
}
