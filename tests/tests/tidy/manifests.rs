//! What the manifests say: who depends on whom, versions, lints, licences.

use crate::none;
use roommq_tests::workspace::root;
use std::collections::BTreeSet;
use std::process::Command;
use toml::{Table, Value};

/// The crates, each of which may depend on those before it.
const HOUSE: [&str; 9] = [
    "config",
    "broker/mqtt",
    "broker/lane",
    "broker",
    "bridge/rooms",
    "bridge",
    "cli",
    "tests",
    "fuzz/models",
];

fn manifest(path: &str) -> Table {
    let text = std::fs::read_to_string(root().join(path)).unwrap();
    text.parse().unwrap_or_else(|e| panic!("{path}: {e}"))
}

fn is_dependency_table(name: &str) -> bool {
    name.ends_with("dependencies")
}

#[test]
fn dependencies_point_one_way() {
    let mut wrong = Vec::new();
    for (rank, house) in HOUSE.iter().enumerate() {
        let below: Vec<String> = HOUSE[..rank].iter().map(|name| package(name)).collect();
        for (kind, table) in manifest(&format!("{house}/Cargo.toml")) {
            let (true, Value::Table(table)) = (is_dependency_table(&kind), table) else {
                continue;
            };
            for name in table.keys().filter(|name| name.starts_with("roommq")) {
                if !below.contains(name) {
                    wrong.push(format!("{house} depends on {name}"));
                }
            }
        }
    }
    none("dependencies against the arrows", &wrong);
}

fn package(directory: &str) -> String {
    let package = &manifest(&format!("{directory}/Cargo.toml"))["package"];
    package["name"].as_str().unwrap().to_owned()
}

#[test]
fn the_workspace_has_these_crates_and_no_others() {
    let top = manifest("Cargo.toml");
    let members = top["workspace"]["members"].as_array().unwrap();
    let members: Vec<&str> = members.iter().map(|m| m.as_str().unwrap()).collect();
    assert_eq!(members, HOUSE);
}

#[test]
fn versions_and_lints_stand_in_one_place() {
    let top = manifest("Cargo.toml");
    let lints = &top["workspace"]["lints"];
    assert_eq!(lints["rust"]["unsafe_code"].as_str(), Some("forbid"));
    for lint in ["unwrap_used", "expect_used"] {
        assert_eq!(lints["clippy"][lint].as_str(), Some("warn"), "{lint}");
    }
    assert!(lints["clippy"].get("pedantic").is_some());
    let mut wrong = Vec::new();
    for house in HOUSE {
        let crate_manifest = manifest(&format!("{house}/Cargo.toml"));
        if crate_manifest["lints"]["workspace"].as_bool() != Some(true) {
            wrong.push(format!("{house} does not inherit the lints"));
        }
        for (kind, table) in &crate_manifest {
            let (true, Value::Table(table)) = (is_dependency_table(kind), table) else {
                continue;
            };
            for (name, value) in table {
                if value.get("workspace").and_then(Value::as_bool) != Some(true) {
                    wrong.push(format!("{house}: {name} has a version of its own"));
                }
            }
        }
    }
    none("not from the workspace", &wrong);
}

/// The fuzz targets are no crate of the house: they have a lock file of their own, and no logic. Their models are one.
#[test]
fn fuzz_targets_stand_apart_and_only_call() {
    let workspace = &manifest("fuzz/Cargo.toml")["workspace"];
    assert_eq!(workspace["exclude"][0].as_str(), Some("models"));
    for target in std::fs::read_dir(root().join("fuzz/fuzz_targets")).unwrap() {
        let path = target.unwrap().path();
        let lines = std::fs::read_to_string(&path).unwrap().lines().count();
        assert!(lines <= 3, "{}: {lines} lines", path.display());
        let corpus = root().join("fuzz/corpus").join(path.file_stem().unwrap());
        assert!(corpus.is_dir(), "{} has no corpus", path.display());
    }
}

/// Otherwise other code would be fuzzed than is shipped, and nobody could build the targets with `--locked`.
#[test]
fn fuzz_targets_are_built_from_what_is_shipped() {
    let packages = |path: &str| -> Vec<Table> {
        let packages = manifest(path).remove("package").unwrap();
        packages.try_into().unwrap()
    };
    let (shipped, fuzzed) = (packages("Cargo.lock"), packages("fuzz/Cargo.lock"));
    let mut wrong = Vec::new();
    for package in &fuzzed {
        let same = |other: &&Table| {
            ["name", "version"]
                .iter()
                .all(|key| other[*key] == package[*key])
        };
        let own = ["roommq-fuzz", "libfuzzer-sys", "arbitrary", "jobserver"];
        let name = package["name"].as_str().unwrap();
        if !own.contains(&name) && !shipped.iter().any(|p| same(&p)) {
            wrong.push(format!("{name} {}: not in Cargo.lock", package["version"]));
        }
    }
    for house in ["broker/lane", "broker/mqtt", "fuzz/models"] {
        let package = package(house);
        let locked = fuzzed.iter().find(|p| p["name"].as_str() == Some(&package));
        let locked = locked.unwrap()["dependencies"].as_array().unwrap();
        let manifest = manifest(&format!("{house}/Cargo.toml"));
        for name in manifest["dependencies"].as_table().unwrap().keys() {
            // A version follows where there are several.
            let names = |entry: &Value| entry.as_str().unwrap().split(' ').next() == Some(name);
            if !locked.iter().any(names) {
                wrong.push(format!("{name}: not among those of {package}"));
            }
        }
    }
    none("fuzz/Cargo.lock is behind", &wrong);
}

#[test]
fn licences_of_all_dependencies_are_free() {
    // Not `cargo metadata`: that lists optional packages, too, which nothing enables. For this platform
    // only: of others not all packages may have been fetched.
    let listing = Command::new(env!("CARGO"))
        .args(["tree", "--workspace", "--all-features", "--edges", "all"])
        .args(["--prefix", "none", "--format", "{p}|{l}"])
        .args(["--locked", "--offline"])
        .current_dir(root())
        .output()
        .unwrap();
    assert!(
        listing.status.success(),
        "{}",
        String::from_utf8_lossy(&listing.stderr)
    );
    let listing = String::from_utf8(listing.stdout).unwrap();
    let packages: BTreeSet<_> = listing
        .lines()
        // Marked so: it has been listed before.
        .filter_map(|line| line.trim_end_matches(" (*)").split_once('|'))
        .collect();
    assert!(packages.len() > 50, "the listing is not whole");
    let wrong: Vec<String> = packages
        .iter()
        .filter(|(_, licence)| !is_free(licence))
        .map(|(name, licence)| format!("{name}: {licence:?}"))
        .collect();
    none("licences that are not on the list", &wrong);
}

/// Whether a licence expression can be satisfied by licences on the list. Parentheses may stand
/// only around an OR, which is how they are used.
fn is_free(expression: &str) -> bool {
    const FREE: [&str; 14] = [
        "MIT",
        "Apache-2.0",
        "Apache-2.0 WITH LLVM-exception",
        "BSD-2-Clause",
        "BSD-3-Clause",
        "ISC",
        "Unicode-3.0",
        "Zlib",
        "CC0-1.0",
        "MPL-2.0",
        "BSL-1.0",
        "Unlicense",
        "0BSD",
        "MIT-0",
    ];
    // Older manifests write OR as a slash.
    let expression = expression.replace('/', " OR ");
    let all_of = if expression.contains('(') || !expression.contains(" OR ") {
        expression.split(" AND ").collect()
    } else {
        vec![expression.as_str()]
    };
    all_of.iter().all(|part| {
        part.trim()
            .trim_matches(['(', ')'])
            .split(" OR ")
            .any(|name| FREE.contains(&name.trim()))
    })
}

#[test]
fn licence_expressions_are_understood() {
    for free in [
        "MIT",
        "MIT/Apache-2.0",
        "GPL-3.0 OR MIT",
        "(MIT OR Apache-2.0) AND Unicode-3.0",
    ] {
        assert!(is_free(free), "{free}");
    }
    for other in [
        "",
        "GPL-3.0",
        "MIT AND GPL-3.0",
        "(MIT OR GPL-2.0) AND GPL-3.0",
    ] {
        assert!(!is_free(other), "{other}");
    }
}
