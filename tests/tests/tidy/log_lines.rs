//! `docs/operate/log-lines.md` lists each line that the server logs at `info` and above, with its level.

use crate::none;
use roommq_tests::workspace::{root, rust_files};
use std::collections::BTreeSet;

const LEVELS: [&str; 3] = ["info", "warn", "error"];

/// A level and a message. Backticks at its ends belong to the page.
type Line = (String, String);

fn line(level: &str, message: &str) -> Line {
    let plain = message.trim_matches(['`', ' ']);
    (level.to_owned(), plain.to_owned())
}

/// The last text of the arguments of a macro that begin here: its message.
fn message(arguments: &str) -> Option<String> {
    let mut found = None;
    let mut depth = 1;
    let mut letters = arguments.chars();
    while let Some(letter) = letters.next() {
        match letter {
            '(' => depth += 1,
            ')' => depth -= 1,
            '"' => found = Some(text(&mut letters)),
            _ => {}
        }
        if depth == 0 {
            return found;
        }
    }
    None
}

/// The rest of a string literal.
fn text(letters: &mut std::str::Chars<'_>) -> String {
    let mut text = String::new();
    let mut joins = false;
    while let Some(letter) = letters.next() {
        match letter {
            '"' => break,
            '\\' => match letters.next() {
                Some('\n') | None => joins = true,
                Some(escaped) => text.push(escaped),
            },
            letter if joins && letter.is_whitespace() => {}
            letter => {
                joins = false;
                text.push(letter);
            }
        }
    }
    text
}

/// What the code logs.
fn logged(code: &str) -> Vec<Line> {
    let calls = code.split("tracing::").skip(1);
    let of = |call: &str| {
        LEVELS.iter().find_map(|level| {
            let arguments = call.strip_prefix(level)?.strip_prefix("!(")?;
            Some(line(level, &message(arguments)?))
        })
    };
    // The parts of a split end at the next call, which is not within a message.
    calls.filter_map(of).collect()
}

/// What the page lists: rows of a level and a line.
fn listed(page: &str) -> Vec<Line> {
    let rows = page.lines().filter_map(|row| row.strip_prefix("| "));
    rows.filter_map(|row| {
        let (level, rest) = row.split_once(" | ")?;
        let (message, _) = rest.split_once(" | ")?;
        LEVELS.contains(&level).then(|| line(level, message))
    })
    .collect()
}

#[test]
fn the_page_on_log_lines_lists_each_line() {
    let page = std::fs::read_to_string(root().join("docs/operate/log-lines.md")).unwrap();
    let listed: BTreeSet<Line> = listed(&page).into_iter().collect();
    let mut code = BTreeSet::new();
    for file in rust_files().iter().filter(|file| !file.is_test) {
        let lines: Vec<&str> = file.code().into_iter().map(|(_, line)| line).collect();
        code.extend(logged(&lines.join("\n")));
    }
    assert!(code.len() > 40, "{code:?}");
    let differ = |what: &str, (level, message): &Line| format!("{what}: {level} {message}");
    let mut wrong: Vec<String> = code
        .difference(&listed)
        .map(|line| differ("not listed", line))
        .collect();
    let gone = listed.difference(&code);
    wrong.extend(gone.map(|line| differ("not logged", line)));
    none("docs/operate/log-lines.md", &wrong);
}

/// The reasons of `connection ended` on the page are texts of the code.
#[test]
fn the_reasons_on_the_page_are_those_of_the_code() {
    let page = std::fs::read_to_string(root().join("docs/operate/log-lines.md")).unwrap();
    let (_, table) = page.split_once("### Reasons\n").unwrap();
    let table = table.split("\n#").next().unwrap_or_default();
    let rows = table.lines().filter_map(|row| row.strip_prefix("| `"));
    let reasons: Vec<&str> = rows.filter_map(|row| row.split('`').next()).collect();
    assert!(reasons.len() >= 5, "{reasons:?}");
    let code = rust_files();
    let mut gone = Vec::new();
    for reason in reasons {
        let is_there = |line: &(usize, &str)| line.1.contains(reason);
        if !code.iter().any(|file| file.code().iter().any(is_there)) {
            gone.push(reason.to_owned());
        }
    }
    none("reasons that the server does not give", &gone);
}

#[test]
fn a_message_is_the_last_text_of_its_call() {
    let code = r#"
        tracing::warn!(path = %shown("x"), "a {limit} \
            and (b");
        tracing::debug!("no");
        tracing::error!(%error, "`c`");
    "#;
    let expected = [line("warn", "a {limit} and (b"), line("error", "c")];
    assert_eq!(logged(code), expected);
    let page = "| level | line |\n| warn | `a {limit} and (b` | means |\n| error | `` `c` `` | |\n";
    assert_eq!(listed(page), expected);
}
