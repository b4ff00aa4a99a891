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
fn the_systemd_unit_waits_before_it_restarts() {
    let page = files()
        .into_iter()
        .find(|f| f.path == "docs/operate/service.md");
    let page = page.expect("the page with the unit").text;
    let restarts = page.contains("Restart=on-failure\nRestartSec=");
    // Without a pause, systemd gives up after five starts within seconds.
    assert!(restarts, "docs/operate/service.md has no RestartSec");
}

/// A decision record.
struct Record {
    /// Within `docs/decisions`.
    name: String,
    text: String,
}

impl Record {
    /// The digits that the name starts with.
    fn digits(&self) -> &str {
        self.name.split('-').next().unwrap_or_default()
    }

    /// The title of `# 7. Title` in the record `0007-name.md`.
    fn title(&self) -> Option<&str> {
        let number: u32 = self.digits().parse().ok()?;
        let line = self.text.lines().next()?;
        line.strip_prefix(&format!("# {number}. "))
    }
}

/// The decision records, and the page that lists them.
fn decisions() -> (Vec<Record>, String) {
    let inside = files().into_iter().filter_map(|file| {
        let name = file.path.strip_prefix("docs/decisions/")?.to_owned();
        let text = file.text;
        Some(Record { name, text })
    });
    let (mut pages, records): (Vec<Record>, Vec<Record>) =
        inside.partition(|file| file.name == "README.md");
    let index = pages.pop().expect("docs/decisions has a README.md");
    (records, index.text)
}

#[test]
fn decisions_are_recorded_in_one_form() {
    let mut wrong = Vec::new();
    for record in decisions().0 {
        let (name, digits) = (&record.name, record.digits());
        if digits.len() != 4 || !digits.bytes().all(|b| b.is_ascii_digit()) {
            wrong.push(format!("{name}: the name does not start with four digits"));
        }
        if record.title().is_none() {
            let number = digits.trim_start_matches('0');
            wrong.push(format!("{name}: the first line is not `# {number}. Title`"));
        }
        for heading in [
            "## Context",
            "## Choice",
            "## What it costs",
            "## What would change our mind",
        ] {
            if !record.text.lines().any(|line| line == heading) {
                wrong.push(format!("{name}: no heading {heading:?}"));
            }
        }
    }
    none("decision records", &wrong);
}

/// `(7, "[Title](0007-name.md)", "Decision and reason.")` of a row of the index.
fn index_row(line: &str) -> Option<(u32, &str, &str)> {
    let cells: Vec<&str> = line.split('|').map(str::trim).collect();
    match cells[..] {
        ["", number, title, decision, ""] => Some((number.parse().ok()?, title, decision)),
        _ => None,
    }
}

/// What is wrong with an index of these records.
fn index_errors(records: &[Record], index: &str) -> Vec<String> {
    let rows: Vec<(u32, &str, &str)> = index.lines().filter_map(index_row).collect();
    let mut wrong = Vec::new();
    for Record { name, .. } in records {
        let target = format!("]({name})");
        match rows
            .iter()
            .filter(|(_, link, _)| link.ends_with(&target))
            .count()
        {
            0 => wrong.push(format!("{name}: the index does not list it")),
            1 => {}
            times => wrong.push(format!("{name}: the index lists it {times} times")),
        }
    }
    for (number, link, decision) in &rows {
        let target = |record: &&Record| link.ends_with(&format!("]({})", record.name));
        let Some(record) = records.iter().find(target) else {
            wrong.push(format!("row {number}: {link} is no record"));
            continue;
        };
        let name = &record.name;
        if record.digits().parse() != Ok(*number) {
            wrong.push(format!("{name}: the index gives it the number {number}"));
        }
        let title = record.title().unwrap_or_default();
        if *link != format!("[{title}]({name})") {
            wrong.push(format!("{name}: {title:?} is listed as {link}"));
        }
        if decision.is_empty() {
            wrong.push(format!("{name}: the index does not say the decision"));
        }
    }
    if !rows.is_sorted_by_key(|(number, ..)| *number) {
        wrong.push("the rows are not in the order of their numbers".to_owned());
    }
    wrong
}

#[test]
fn each_decision_is_listed_once_under_its_title() {
    let (records, index) = decisions();
    none(
        "index of the decision records",
        &index_errors(&records, &index),
    );
}

#[test]
fn errors_in_an_index_are_found() {
    let record = |name: &str, text: &str| Record {
        name: name.to_owned(),
        text: text.to_owned(),
    };
    let records = [
        record("0001-a.md", "# 1. A\n"),
        record("0002-b.md", "# 2. `B`\n"),
    ];
    let (a, b) = (
        "| 1 | [A](0001-a.md) | Why. |",
        "| 2 | [`B`](0002-b.md) | Why. |",
    );
    let errors = |rows: &[&str]| index_errors(&records, &rows.join("\n"));
    assert_eq!(
        errors(&["| | record | why |", "|---|---|---|", a, b]),
        [""; 0]
    );
    assert_eq!(errors(&[a]), ["0002-b.md: the index does not list it"]);
    assert_eq!(
        errors(&[a, a, b]),
        ["0001-a.md: the index lists it 2 times"]
    );
    assert_eq!(
        errors(&[b, a]),
        ["the rows are not in the order of their numbers"]
    );
    assert_eq!(
        errors(&[a, b, "| 3 | [C](0003-c.md) | Why. |"]),
        ["row 3: [C](0003-c.md) is no record"]
    );
    assert_eq!(
        errors(&[a, "| 2 | [B](0002-b.md) | Why. |"]),
        ["0002-b.md: \"`B`\" is listed as [B](0002-b.md)"]
    );
    assert_eq!(
        errors(&["| 2 | [A](0001-a.md) | |", b]),
        [
            "0001-a.md: the index gives it the number 2",
            "0001-a.md: the index does not say the decision"
        ]
    );
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

/// `docs/architecture.md` names the test of each invariant, and where to look for what.
#[test]
fn files_and_tests_that_the_architecture_names_exist() {
    let text = std::fs::read_to_string(root().join("docs/architecture.md")).unwrap();
    let mut wrong = Vec::new();
    let mut tests = 0;
    for line in text.lines().filter(|line| line.starts_with('|')) {
        let quoted: Vec<&str> = line.split('`').skip(1).step_by(2).collect();
        let Some(path) = quoted.iter().find(|name| name.contains(".rs")) else {
            continue;
        };
        // Names without a folder are beside the one before.
        let sure = ["broker/", "bridge/", "tests/", "config/", "cli/"];
        if !sure.iter().any(|folder| path.starts_with(folder)) {
            continue;
        }
        let Ok(source) = std::fs::read_to_string(root().join(path)) else {
            wrong.push(format!("{path}: no such file"));
            continue;
        };
        if let Some(name) = line.contains(": `").then(|| quoted.last()).flatten() {
            tests += 1;
            let has = ["(", "<"]
                .iter()
                .any(|end| source.contains(&format!("fn {name}{end}")));
            if !has {
                wrong.push(format!("{path}: no function {name}"));
            }
        }
    }
    assert!(tests >= 15, "only {tests} invariants name a test");
    none("what docs/architecture.md names", &wrong);
}
