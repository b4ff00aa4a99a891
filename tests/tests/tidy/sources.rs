//! What the sources may name, and how they are named themselves.

use crate::none;
use roommq_tests::workspace::{Source, root, rust_files};
use std::collections::BTreeSet;
use std::path::Path;

/// It writes down what it looks for.
const THIS_FILE: &str = "tests/tests/tidy/sources.rs";

/// What the parts without input, output and time must not name.
const IMPURE: [&str; 8] = [
    "tokio::",
    "TcpStream",
    "TcpListener",
    "UdpSocket",
    "UnixStream",
    "Instant::now",
    "SystemTime",
    "std::thread",
];

/// Where the pure parts live, and the files there that are none.
const PURE: [&str; 5] = [
    "broker/lane/src/",
    "broker/mqtt/src/",
    "bridge/rooms/src/",
    "bridge/src/",
    "fuzz/models/src/",
];
const NOT_PURE: &[&str] = &[
    // Runs password checks on other threads, and wakes logins that wait for a time.
    "bridge/src/logins.rs",
];

fn in_code(files: &[Source], words: &[&str]) -> Vec<String> {
    files
        .iter()
        .flat_map(|file| file.naming(&file.code(), words))
        .collect()
}

#[test]
fn the_broker_names_no_room_rule() {
    let words = [
        "rooms/",
        "\"rooms",
        "inbox",
        "_presence",
        "_events",
        "\"_info",
        "/_info",
        "_ctl",
        "\"_log",
        "/_log",
        "roommq_bridge",
    ];
    let mut broker = rust_files();
    broker.retain(|file| file.path.starts_with("broker/"));
    assert!(!broker.is_empty());
    none("room rules in the broker", &in_code(&broker, &words));
}

#[test]
fn the_pure_parts_name_no_runtime_no_socket_and_no_clock() {
    let mut pure = rust_files();
    pure.retain(|file| {
        PURE.iter().any(|place| file.path.starts_with(place))
            && !NOT_PURE.contains(&file.path.as_str())
    });
    assert!(!pure.is_empty());
    none("not pure", &in_code(&pure, &IMPURE));
}

#[test]
fn the_exceptions_from_pureness_exist() {
    let gone: Vec<String> = NOT_PURE
        .iter()
        .filter(|path| !root().join(path).exists())
        .map(ToString::to_string)
        .collect();
    none("files that are excepted and are no more", &gone);
}

#[test]
fn one_file_names_the_embedded_log() {
    let word = ["rum", "qttd"].concat();
    let found: BTreeSet<String> = rust_files()
        .iter()
        .filter(|file| !file.naming(&file.uncommented(), &[&word]).is_empty())
        .map(|file| file.path.clone())
        .collect();
    let only = BTreeSet::from(["broker/src/lane/embedded.rs".to_owned()]);
    assert_eq!(found, only, "files that name it");
}

#[test]
fn one_file_of_the_bridge_builds_room_topics() {
    let mut above = rust_files();
    above.retain(|file| {
        file.path.starts_with("bridge/") && file.path != "bridge/rooms/src/topics.rs"
    });
    let words = ["\"_presence", "\"_events", "\"_info", "\"_ctl", "\"_log"];
    let mut found = in_code(&above, &words);
    // A topic has no blank; a text for people that names one has.
    let is_topic = |text: &&str| {
        (text.starts_with("rooms/") || text.starts_with("inbox/")) && !text.contains(' ')
    };
    for file in &above {
        for (number, line) in file.code() {
            let texts = line.split('"').skip(1).step_by(2);
            found.extend(
                texts
                    .filter(is_topic)
                    .map(|text| format!("{}:{number}: {text}", file.path)),
            );
        }
    }
    none("room topics elsewhere", &found);
}

#[test]
fn files_are_short() {
    let long: Vec<String> = rust_files()
        .iter()
        .filter(|file| !file.path.contains("/tables/"))
        .map(|file| (file.text.lines().count(), &file.path))
        .filter(|(lines, _)| *lines > 700)
        .map(|(lines, path)| format!("{path}: {lines} lines"))
        .collect();
    none("files past 700 lines", &long);
}

#[test]
fn files_are_named_by_what_they_hold() {
    const EMPTY_WORDS: [&str; 9] = [
        "manager", "helper", "helpers", "util", "utils", "common", "misc", "data", "info",
    ];
    let named: Vec<String> = rust_files()
        .into_iter()
        .map(|file| file.path)
        .filter(|path| {
            Path::new(path).with_extension("").iter().any(|part| {
                let part = part.to_string_lossy();
                part.split('_').any(|word| EMPTY_WORDS.contains(&word))
            })
        })
        .collect();
    none("names that say nothing", &named);
}

#[test]
fn no_channel_is_unbounded() {
    let mut found = Vec::new();
    for file in rust_files() {
        if file.path == THIS_FILE {
            continue;
        }
        let lines = file.uncommented();
        found.extend(file.naming(&lines, &["unbounded"]));
        for (number, line) in lines {
            if makes_channel_without_bound(line) {
                found.push(format!("{}:{number}: {}", file.path, line.trim()));
            }
        }
    }
    none("channels without a bound", &found);
}

/// Whether `channel` is called without an argument, with or without a type.
fn makes_channel_without_bound(line: &str) -> bool {
    line.match_indices("channel").any(|(at, word)| {
        let mut rest = &line[at + word.len()..];
        if let Some(generic) = rest.strip_prefix("::<") {
            rest = generic.rsplit_once(">(").map_or("", |(_, call)| call);
            return rest.starts_with(')');
        }
        let one = line[..at].ends_with("oneshot::");
        rest.starts_with("()") && !one && !line.contains("fn ")
    })
}

#[test]
fn calls_without_a_bound_are_recognised() {
    for line in [
        "let (a, b) = mpsc::channel();",
        "mpsc::channel::<Vec<u8>>()",
    ] {
        assert!(makes_channel_without_bound(line), "{line}");
    }
    for line in [
        "mpsc::channel(64)",
        "oneshot::channel()",
        "sync_channel::<Vec<u8>>(8)",
        "fn channel() -> X {",
    ] {
        assert!(!makes_channel_without_bound(line), "{line}");
    }
}

#[test]
fn nothing_is_unsafe_and_no_test_is_skipped() {
    let words = [
        "unsafe ",
        "unsafe{",
        "#[ignore",
        "todo!(",
        "unimplemented!(",
    ];
    let mut found = Vec::new();
    for file in rust_files() {
        if file.path != THIS_FILE {
            found.extend(file.naming(&file.uncommented(), &words));
        }
    }
    none("not done in this house", &found);
}

#[test]
fn unwrap_is_allowed_in_tests_only() {
    let words = ["allow(clippy::unwrap_used", "allow(clippy::expect_used"];
    none("unwrap outside tests", &in_code(&rust_files(), &words));
}

#[test]
fn tests_wait_for_events_and_do_not_sleep() {
    let mut found = Vec::new();
    for file in rust_files() {
        if file.path.starts_with("tests/") && file.path != THIS_FILE {
            found.extend(file.naming(&file.uncommented(), &["sleep("]));
        }
    }
    none("sleeping tests", &found);
}
