//! The rules of the house that no compiler checks. Each test says in its name what must hold.

#![allow(clippy::unwrap_used, clippy::expect_used)] // test code

mod circles;
mod documents;
mod links;
mod log_lines;
mod manifests;
mod modules;
mod names;
mod purity;
mod sources;

#[track_caller]
fn none(what: &str, found: &[String]) {
    assert!(found.is_empty(), "{what}:\n{}", found.join("\n"));
}
