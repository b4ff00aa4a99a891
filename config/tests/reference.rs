//! `docs/reference/configuration.md` has each key with its default and its values, as `config check` has them.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use roommq_config::{Sources, load};
use std::collections::BTreeMap;
use std::path::Path;

/// A row of the page.
struct Row {
    default: String,
    values: String,
}

/// The rows by their keys.
fn rows() -> BTreeMap<String, Row> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/reference/configuration.md");
    let text = std::fs::read_to_string(path).unwrap();
    let mut rows = BTreeMap::new();
    for line in text.lines().filter(|line| line.starts_with("| `")) {
        let cells: Vec<&str> = line.trim_matches('|').split(" | ").map(str::trim).collect();
        let [key, default, values, effect] = cells[..] else {
            continue;
        };
        let key = key.trim_matches('`');
        if !key.contains('.') || key.contains('/') {
            continue;
        }
        assert!(effect.ends_with('.'), "{key}: {effect}");
        let row = Row {
            default: default.trim_matches('`').to_owned(),
            values: values.replace('`', ""),
        };
        assert!(rows.insert(key.to_owned(), row).is_none(), "{key} twice");
    }
    rows
}

/// What `config check` says of a file with this text.
fn problems(text: &str) -> Vec<String> {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("roommq.toml");
    std::fs::write(&file, text).unwrap();
    let source = Sources {
        file: Some(file),
        ..Sources::default()
    };
    match load(&source) {
        Ok(_) => Vec::new(),
        Err(error) => error.problems().iter().map(ToString::to_string).collect(),
    }
}

#[test]
fn the_reference_has_every_key_and_its_default() {
    let documented: BTreeMap<String, String> = rows()
        .into_iter()
        .map(|(key, row)| (key, row.default))
        .collect();
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("roommq.toml");
    let text = "[[access]]\ntopics = ['#']\npublish = 'deny'\n[[room]]\nmatch = '*'";
    std::fs::write(&file, text).unwrap();
    let source = Sources {
        file: Some(file),
        ..Sources::default()
    };
    let loaded = load(&source).unwrap();
    let known: BTreeMap<String, String> = loaded
        .values
        .iter()
        .map(|origin| {
            let key = origin.key.replace("[0]", "");
            let value = match &origin.value {
                Some(_) if key == "room.match" || key == "access.topics" => "required".to_owned(),
                // One of two keys is required.
                Some(_) if key == "access.publish" => "none".to_owned(),
                Some(value) => value.to_string(),
                None => "none".to_owned(),
            };
            (key, value)
        })
        .collect();
    assert_eq!(documented, known);
}

/// For a wrong value, `config check` names the right ones: the page says the same.
#[test]
fn the_reference_has_the_values_of_every_key() {
    // No key takes the first. The others are too large for any size and any duration.
    let wrong = ["-1.5", "'16000000GiB'", "'20000years'"];
    for (key, row) in rows() {
        let (section, name) = key.split_once('.').unwrap();
        let heading = match section {
            "listener" | "access" | "room" => format!("[[{section}]]"),
            section => format!("[{section}]"),
        };
        let told: Vec<String> = wrong
            .iter()
            .flat_map(|value| problems(&format!("{heading}\n{name} = {value}\n")))
            .filter(|problem| problem.contains(&format!("{name}`")))
            .filter_map(|problem| Some(problem.split_once(": give ")?.1.replace('`', "")))
            .map(|told| {
                let bare = ["a ", "the "]
                    .iter()
                    .find_map(|word| told.strip_prefix(word));
                bare.unwrap_or(&told).to_owned()
            })
            .collect();
        // A range is all of the text; other texts have examples at their end.
        let ranges: Vec<&String> = told.iter().filter(|t| t.contains(" from ")).collect();
        let matching = if ranges.is_empty() {
            told.iter().any(|told| told.starts_with(&row.values))
        } else {
            ranges.iter().any(|told| **told == row.values)
        };
        assert!(matching, "{key} takes {:?}, and not {told:?}", row.values);
    }
}
