//! All rows against one server, several at a time.

use crate::clause::Version;
use crate::row::Row;
use crate::run::Run;
use roommq_tests::broker::Broker;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

/// Rows at one time. Most of them wait: for a keep-alive, for an expiry.
const AT_ONCE: usize = 24;

/// The server that rows share. It knows one user, whose password is `secret`. Wrong ones are a test of many rows.
const SHARED: &str =
    "[auth]\nusers_file = \"@users@\"\n[limits]\nlogin_failures = 0\nlogin_failures_address = 0\n";
const USERS: [(&str, &str); 1] = [("alice", "secret")];

/// The result of all runs.
pub struct Outcome {
    pub runs: usize,
    pub failures: Vec<String>,
}

/// Plays each row once for each of its versions.
pub fn play(rows: &[Row]) -> Outcome {
    let runs: Vec<(usize, &Row, Version)> = rows
        .iter()
        .enumerate()
        .filter(|(_, row)| !row.steps.is_empty())
        .flat_map(|(n, row)| row.versions().into_iter().map(move |v| (n, row, v)))
        .collect();
    let shared = Broker::with_users(SHARED, &USERS);
    let next = AtomicUsize::new(0);
    let failures = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for _ in 0..AT_ONCE.min(runs.len()) {
            scope.spawn(|| {
                while let Some((n, row, version)) = runs.get(next.fetch_add(1, Ordering::Relaxed)) {
                    if let Err(report) = one(*n, row, *version, &shared) {
                        failures.lock().unwrap().push((*n, report));
                    }
                }
            });
        }
    });
    let mut failures = failures.into_inner().unwrap();
    failures.sort();
    Outcome {
        runs: runs.len(),
        failures: failures.into_iter().map(|(_, report)| report).collect(),
    }
}

fn one(n: usize, row: &Row, version: Version, shared: &Broker) -> Result<(), String> {
    let id = match version {
        Version::V311 => format!("r{n}v3"),
        Version::V5 => format!("r{n}v5"),
    };
    let played = catch_unwind(AssertUnwindSafe(|| match &row.settings {
        None => Run::new(row, version, &id, shared.address()).play(),
        Some(settings) => {
            let users: &[(&str, &str)] = if settings.contains("@users@") {
                &USERS
            } else {
                &[]
            };
            let own = Broker::with_users(settings, users);
            Run::new(row, version, &id, own.address()).play()
        }
    }));
    played.unwrap_or_else(|_| Err(format!("{}: {}: it panicked", row.place(), row.title)))
}

/// Wrong rows. Each must fail, with this text in its report.
const WRONG: &str = r#"
== an unexpected code
3.1.1: 3.1.0-1
5.0: 3.1.0-1
a> connect
a< connack code=5

== another payload
3.1.1: 3.1.0-1
5.0: 3.1.0-1
a> connect
a< connack
a> subscribe "{id}/t" qos=0
a< suback 0
a> publish "{id}/t" "x"
a< publish "{id}/t" "y"

== a packet id that is another's
3.1.1: 3.1.0-1
5.0: 3.1.0-1
a> connect
a< connack
a> publish "{id}/t" "x" qos=1 id=7
a< puback id=8

== something and not nothing
3.1.1: 3.1.0-1
5.0: 3.1.0-1
a> connect
a< connack
a> subscribe "{id}/#" qos=0
a< suback 0
b> connect
b< connack
b> publish "{id}/t/{id}" "x"
a< nothing

== something before the close
3.1.1: 3.1.0-1
5.0: 3.1.0-1
a> connect
a< connack
a> pingreq ; disconnect
a< closed silently

== a close that should be silent, or told
5.0: 3.1.0-1
a> connect
a< connack
a> connect
a< closed silently

== a close with another code
5.0: 3.1.0-1
a> connect
a< connack
a> connect
a< closed 0x81

== no packet fits
3.1.1: 3.1.0-1
5.0: 3.1.0-1
a> connect
a< connack
a> pingreq ; subscribe "{id}/t" qos=1
a<~ pingresp
a<~ suback 0

== other bytes
3.1.1: 3.1.0-1
a> connect
a< hex 20 02 00 01

== a property that should not be there, and one that should
5.0: 3.1.0-1
a> connect id=""
a< connack !assigned-id

== a property that is missing
5.0: 3.1.0-1
a> connect
a< connack assigned-id=*

== too early
3.1.1: 3.1.0-1
5.0: 3.1.0-1
a> connect
a< connack after=5s

== a session that is no session
3.1.1: 3.1.0-1
5.0: 3.1.0-1
a> connect clean=1
a< connack present=1
"#;

/// A runner that cannot fail proves nothing.
#[test]
fn wrong_rows_fail() {
    let (mut rows, mut unread) = (Vec::new(), Vec::new());
    // Several times, since the proof that nothing comes must not depend on timing.
    for _ in 0..8 {
        crate::row::parse("wrong.rows", WRONG, &mut rows, &mut unread);
    }
    assert!(unread.is_empty(), "{unread:?}");
    let outcome = play(&rows);
    for row in &rows {
        for version in row.versions() {
            let start = format!("{} ({})\n", row.title, version.name());
            let failed = outcome
                .failures
                .iter()
                .filter(|report| report.contains(&start));
            assert_eq!(failed.count(), 8, "{start}");
        }
    }
    assert_eq!(outcome.failures.len(), outcome.runs);
}

const RIGHT: &str = r#"
== it comes to either, who then has a name
3.1.1: 3.1.0-1
5.0: 3.1.0-1
a> connect
a< connack
b> connect
b< connack
b> subscribe "{id}/t" qos=1
b< suback 1
c is 5.0
c> connect
c< connack
c> publish "{id}/t" "x" qos=1 id=$p
c< puback id=$p
a|b< publish "{id}/t" "x" qos=1 id=$q before=5s
w> puback id=$q
w< nothing
l drop
w> disconnect
b< closed silently
"#;

#[test]
fn right_rows_pass() {
    let (mut rows, mut unread) = (Vec::new(), Vec::new());
    crate::row::parse("right.rows", RIGHT, &mut rows, &mut unread);
    assert!(unread.is_empty(), "{unread:?}");
    let outcome = play(&rows);
    assert_eq!(outcome.runs, 2);
    assert!(
        outcome.failures.is_empty(),
        "{}",
        outcome.failures.join("\n")
    );
}
