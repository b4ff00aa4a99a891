//! The conformance table: what MQTT 3.1.1 and 5.0 demand of a server, row by row, against a real one.
//!
//! The rows are in `tests/conformance/`, and the README there shows how to write one. This program reads and plays them,
//! and checks that `docs/conformance.md` is up to date.
//!
//! Environment: `ROOMMQ_ROWS=text` plays only the rows whose file, title or clauses contain the text; `ROOMMQ_BLESS=1`
//! writes `docs/conformance.md` anew.

#![allow(clippy::unwrap_used, clippy::expect_used)] // test code

mod clause;
mod document;
mod encode;
mod field;
mod matching;
mod packet;
mod peer;
mod pool;
mod row;
mod run;
mod sources;
mod step;
mod word;

use clause::{Clause, Version};
use roommq_tests::workspace::root;
use std::collections::{BTreeMap, BTreeSet};

#[track_caller]
fn none(what: &str, found: &[String]) {
    assert!(found.is_empty(), "{what}:\n{}", found.join("\n"));
}

#[test]
fn every_row_passes() {
    let wanted = std::env::var("ROOMMQ_ROWS").unwrap_or_default();
    let rows: Vec<row::Row> = row::all()
        .into_iter()
        .filter(|row| row.is_named_by(&wanted))
        .collect();
    assert!(!rows.is_empty(), "no row contains {wanted:?}");
    let outcome = pool::play(&rows);
    assert!(
        outcome.failures.is_empty(),
        "{} of {} runs of rows failed:\n\n{}",
        outcome.failures.len(),
        outcome.runs,
        outcome.failures.join("\n")
    );
}

#[test]
fn every_statement_that_binds_a_server_has_a_row() {
    let rows = row::all();
    let named: BTreeSet<&Clause> = rows.iter().flat_map(|row| &row.clauses).collect();
    let open: Vec<String> = clause::all()
        .iter()
        .filter(|(clause, statement)| statement.binds_server() && !named.contains(clause))
        .map(|(clause, statement)| format!("{clause}: {}", statement.says))
        .collect();
    none(&format!("{} statements without a row", open.len()), &open);
}

#[test]
fn rows_name_statements_that_exist() {
    let known = clause::all();
    let mut wrong = Vec::new();
    for row in row::all() {
        for clause in row.clauses.iter().filter(|c| !known.contains_key(c)) {
            wrong.push(format!("{}: there is no {clause}", row.place()));
        }
    }
    none("clauses of rows", &wrong);
}

#[test]
fn rows_have_titles_of_their_own() {
    let mut by_title = BTreeMap::new();
    let mut wrong = Vec::new();
    for row in row::all() {
        let place = row.place();
        if let Some(other) = by_title.insert(row.title, place.clone()) {
            wrong.push(format!("{place}: the title of {other}"));
        }
    }
    none("titles", &wrong);
}

#[test]
fn tests_that_rows_name_exist() {
    let tests = sources::tests();
    let mut wrong = Vec::new();
    for row in row::all() {
        for name in row.by.iter().filter(|name| !tests.contains_key(*name)) {
            wrong.push(format!("{}: no test is called {name}", row.place()));
        }
    }
    none("tests that rows name", &wrong);
}

#[test]
fn rows_are_in_short_files() {
    let long: Vec<String> = row::files()
        .into_iter()
        .map(|(name, text)| (name, text.lines().count()))
        .filter(|(_, lines)| *lines >= 700)
        .map(|(name, lines)| format!("{name}: {lines} lines"))
        .collect();
    none("files of 700 lines and more", &long);
}

#[test]
fn clauses_in_the_sources_exist() {
    let known = clause::all();
    let wrong: Vec<String> = sources::clauses()
        .into_iter()
        .filter(|named| {
            let versions = named
                .version
                .map_or(vec![Version::V311, Version::V5], |v| vec![v]);
            !versions.into_iter().any(|version| {
                known.contains_key(&Clause {
                    version,
                    number: named.number.clone(),
                })
            })
        })
        .map(|named| named.place)
        .collect();
    none("clauses that no version has", &wrong);
}

#[test]
fn statements_are_named_beside_the_code_that_obeys_them() {
    let of_the_product = |place: &str| {
        let (path, _) = place.split_once(':').unwrap_or((place, ""));
        let product = [
            "broker/src/",
            "broker/lane/src/",
            "broker/mqtt/src/",
            "bridge/rooms/src/",
            "bridge/src/",
        ]
        .iter()
        .any(|place| path.starts_with(place));
        product && !path.contains("tests")
    };
    let named: Vec<sources::Named> = sources::clauses()
        .into_iter()
        .filter(|named| of_the_product(&named.place))
        .collect();
    let stands = |clause: &Clause| {
        named.iter().any(|named| {
            named.number == clause.number && named.version.is_none_or(|v| v == clause.version)
        })
    };
    let missing: Vec<String> = clause::all()
        .iter()
        .filter(|(clause, statement)| statement.binds_server() && !stands(clause))
        .map(|(clause, statement)| format!("{clause}: {}", statement.says))
        .collect();
    none("statements that no line of the product names", &missing);
}

#[test]
fn the_document_is_up_to_date() {
    let path = root().join("docs/conformance.md");
    let expected = document::text(&clause::all(), &row::all(), &sources::tests());
    if std::env::var_os("ROOMMQ_BLESS").is_some() {
        std::fs::write(&path, &expected).unwrap();
    }
    let found = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        found == expected,
        "docs/conformance.md is not what the table says; write it anew by\n    {}",
        document::COMMAND
    );
}
