//! The clauses and tests that the sources name.

use crate::clause::{Number, Version};
use roommq_tests::workspace::{Source, rust_files};
use std::collections::BTreeMap;

/// A clause in a source.
pub struct Named {
    /// None if the line names no version.
    pub version: Option<Version>,
    pub number: Number,
    pub place: String,
}

/// All clauses that the sources name: `[MQTT-1.2.3-4]` for both versions, `[3.1.1 MQTT-1.2.3-4, 5.0 MQTT-1.2.3-5]` or
/// `[MQTT-1.2.3-4 (5.0)]` for one.
pub fn clauses() -> Vec<Named> {
    let mut all = Vec::new();
    for file in rust_files() {
        if file.path.starts_with("tests/tests/conformance/") {
            continue; // They explain the form of clauses.
        }
        for (number, line) in (1..).zip(file.text.lines()) {
            all.extend(in_line(line).into_iter().map(|(version, clause)| Named {
                version,
                number: clause,
                place: format!("{}:{number}: {}", file.path, line.trim()),
            }));
        }
    }
    assert!(all.len() > 50, "the sources name clauses");
    all
}

fn in_line(line: &str) -> Vec<(Option<Version>, Number)> {
    let mut all: Vec<(Option<Version>, Number)> = Vec::new();
    let mut version = None;
    for word in line.split_whitespace() {
        let inner = |c: char| !c.is_ascii_alphanumeric();
        let word_alone = word.trim_matches(inner);
        if let Some(found) = Version::from_name(word_alone) {
            if word.starts_with('(') {
                if let Some(last) = all.last_mut() {
                    last.0 = Some(found);
                }
            } else {
                version = Some(found);
            }
        }
        for part in word.split("MQTT-").skip(1) {
            let end = part
                .find(|c: char| !c.is_ascii_digit() && c != '.' && c != '-')
                .unwrap_or(part.len());
            if let Some(clause) = Number::parse(part[..end].trim_end_matches(['.', '-'])) {
                all.push((version, clause));
            }
        }
        if word.contains(']') || word.trim_end_matches([',', ')', ';']).ends_with('"') {
            version = None;
        }
    }
    all
}

/// The names of all tests, and the files they are in.
pub fn tests() -> BTreeMap<String, String> {
    let mut all = BTreeMap::new();
    for file in rust_files() {
        for name in tests_in(&file) {
            all.insert(name, file.path.clone());
        }
    }
    all
}

fn tests_in(file: &Source) -> Vec<String> {
    let mut marked = false;
    let mut all = Vec::new();
    for line in file.text.lines().map(str::trim) {
        if line.starts_with("#[test]") || line.starts_with("#[tokio::test") {
            marked = true;
            continue;
        }
        let signature = line.trim_start_matches("async ").strip_prefix("fn ");
        if let (true, Some(signature)) = (marked, signature) {
            let name = signature.split(['(', '<']).next().unwrap_or_default();
            all.push(name.to_owned());
        }
        marked &= line.starts_with("#[") || line.starts_with("//");
    }
    all
}

#[test]
fn versions_of_clauses_are_read() {
    let read = |line: &str| -> Vec<String> {
        in_line(line)
            .iter()
            .map(|(version, number)| format!("{} {number}", version.map_or("", Version::name)))
            .collect()
    };
    assert_eq!(read("// [MQTT-3.1.2-4]."), [" 3.1.2-4"]);
    let both = read("\"3.1.1 MQTT-3.1.2-18, MQTT-3.1.2-20, 5.0 MQTT-3.1.2-16\",");
    assert_eq!(both, ["3.1.1 3.1.2-18", "3.1.1 3.1.2-20", "5.0 3.1.2-16"]);
    let after = read("// [MQTT-3.2.2-7 (5.0), MQTT-3.2.2-5 (3.1.1)] and [MQTT-1.5.3-1]");
    assert_eq!(after, ["5.0 3.2.2-7", "3.1.1 3.2.2-5", " 1.5.3-1"]);
}
