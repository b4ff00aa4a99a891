//! Files that are no code.

use crate::none;
use roommq_tests::workspace::{files, has_extension, root};

#[test]
fn no_file_names_a_package_registry() {
    let hosts = [
        ["crates", ".io"],
        ["pypi", ".org"],
        ["pythonhosted", ".org"],
        ["npmjs", ".org"],
        ["npmjs", ".com"],
        ["proxy.golang", ".org"],
        ["deb.debian", ".org"],
        ["rubygems", ".org"],
    ]
    .map(|parts| parts.concat());
    let hosts: Vec<&str> = hosts.iter().map(String::as_str).collect();
    let mut found = Vec::new();
    for file in files() {
        if !has_extension(&file.path, "lock") {
            let lines: Vec<(usize, &str)> = (1..).zip(file.text.lines()).collect();
            found.extend(file.naming(&lines, &hosts));
        }
    }
    none("package registries named", &found);
}

#[test]
fn decisions_are_recorded_in_one_form() {
    let mut wrong = Vec::new();
    for file in files() {
        let Some(name) = file.path.strip_prefix("docs/decisions/") else {
            continue;
        };
        let number = name.split('-').next().unwrap_or_default();
        if number.len() != 4 || !number.bytes().all(|b| b.is_ascii_digit()) {
            wrong.push(format!("{name}: the name does not start with four digits"));
        }
        for heading in [
            "## Context",
            "## Choice",
            "## What it costs",
            "## What would change our mind",
        ] {
            if !file.text.lines().any(|line| line == heading) {
                wrong.push(format!("{name}: no heading {heading:?}"));
            }
        }
    }
    none("decision records", &wrong);
}

#[test]
fn the_check_of_the_project_is_one_command() {
    let text = std::fs::read_to_string(root().join(".ci/run")).unwrap();
    let commands: Vec<&str> = text
        .lines()
        .filter(|line| !line.starts_with('#') && !line.trim().is_empty())
        .collect();
    assert_eq!(commands.len(), 1, "{commands:?}");
    assert!(commands[0].starts_with("exec ") && commands[0].contains("tests/run"));
}
