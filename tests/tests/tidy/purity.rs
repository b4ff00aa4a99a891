//! The pure crates: no runtime, socket, lock or clock, neither among their dependencies nor in their sources.

use crate::modules::members;
use crate::none;
use roommq_tests::workspace::{root, rust_files};
use std::collections::BTreeSet;
use std::process::Command;

/// Package and directory of each crate that must be pure. One that the workspace does not have is passed over.
const PURE: [(&str, &str); 3] = [
    ("roommq-mqtt", "broker/mqtt"),
    ("roommq-lane", "broker/lane"),
    ("roommq-rooms", "bridge/rooms"),
];

/// Packages that bring a runtime, sockets, threads, locks or a clock, and the settings, which a pure crate takes as
/// arguments. A package whose name continues one of these with `-` or `_` is of the same family.
const IMPURE_PACKAGES: [&str; 20] = [
    "async",
    "crossbeam",
    "futures-executor",
    "jiff",
    "lock_api",
    "mio",
    "parking_lot",
    "polling",
    "rayon",
    "roommq-broker",
    "roommq-config",
    "rumqttc",
    // In two parts: one file alone names it.
    concat!("rum", "qttd"),
    "rustix",
    "rustls",
    "signal-hook",
    "smol",
    "socket2",
    "spin",
    "tokio",
];

/// Packages that only look like one of these families.
const PURE_PACKAGES: [&str; 1] = ["smol_str"];

/// What their sources must not name. An `Instant` may be passed in; only reading a clock is impure.
const IMPURE_WORDS: [&str; 14] = [
    "Instant::now",
    "Mutex",
    "RwLock",
    "SystemTime",
    "TcpStream",
    "UnixStream",
    "parking_lot",
    "std::env",
    "std::fs",
    "std::net",
    "std::os",
    "std::process",
    "std::thread",
    "tokio",
];

/// The impure packages among the lines of `cargo tree`.
fn impure(tree: &str) -> BTreeSet<&str> {
    let is_of = |family: &str, name: &str| {
        let rest = name.strip_prefix(family);
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(['-', '_']))
    };
    tree.lines()
        .map(|line| line.trim_end_matches(" (*)"))
        .filter(|line| {
            let name = line.split(' ').next().unwrap_or_default();
            let is_impure = IMPURE_PACKAGES.iter().any(|family| is_of(family, name));
            is_impure && !PURE_PACKAGES.contains(&name)
        })
        .collect()
}

/// A line `package version` for each package that is linked into this one.
fn cargo_tree(package: &str) -> String {
    let tree = Command::new(env!("CARGO"))
        .args(["tree", "--offline", "--locked", "--edges", "normal"])
        .args(["--prefix", "none", "--format", "{p}", "--package", package])
        .current_dir(root())
        .output()
        .unwrap();
    let error = String::from_utf8_lossy(&tree.stderr);
    assert!(tree.status.success(), "{package}: {error}");
    String::from_utf8(tree.stdout).unwrap()
}

#[test]
fn pure_crates_depend_on_no_runtime_no_lock_and_no_log() {
    let members = members();
    let mut found = Vec::new();
    for (package, directory) in PURE {
        if members.iter().any(|member| member == directory) {
            let tree = cargo_tree(package);
            let impure = impure(&tree).into_iter();
            found.extend(impure.map(|line| format!("{package} depends on {line}")));
        }
    }
    none("dependencies that are not pure", &found);
}

#[test]
fn pure_crates_name_no_runtime_no_lock_and_no_clock() {
    let mut found = Vec::new();
    for file in rust_files() {
        let is_pure = |(_, directory): &(&str, &str)| {
            let source = format!("{directory}/src/");
            file.path.starts_with(&source)
        };
        if PURE.iter().any(is_pure) {
            found.extend(file.naming(&file.code(), &IMPURE_WORDS));
        }
    }
    none("sources that are not pure", &found);
}

#[test]
fn impure_packages_are_recognised() {
    let tree = cargo_tree("roommq-broker");
    let found = impure(&tree);
    for family in [
        "tokio ",
        "tokio-rustls ",
        "parking_lot ",
        "roommq-config ",
        "mio ",
    ] {
        assert!(
            found.iter().any(|line| line.starts_with(family)),
            "{family}"
        );
    }
    assert!(impure("bytes v1.0.0\nsmol_str v0.3.0\nspinning v1.0.0\ntokiod v1.0.0").is_empty());
}
