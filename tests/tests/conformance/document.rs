//! `docs/conformance.md`, from the statements and the rows.

use crate::clause::{Clause, Statement, Version};
use crate::row::Row;
use std::collections::BTreeMap;
use std::fmt::Write;

/// The command that writes the page.
pub const COMMAND: &str = "ROOMMQ_BLESS=1 cargo test -p roommq-tests --test conformance";

const HEAD: &str = "\
# Conformance

Every normative statement of MQTT 3.1.1 and 5.0, in our words, and what shows that RoomMQ obeys it. A row is a script of
packets that is played against a real server by `tests/run`; how one reads is told in
[tests/conformance](../tests/conformance/README.md). This page is generated from the rows; write it anew by
`ROOMMQ_BLESS=1 cargo test -p roommq-tests --test conformance`.

";

enum State<'a> {
    Tested(Vec<&'a Row>),
    DoesNotApply(&'a Row),
    Client,
    Open,
}

/// The whole page.
pub fn text(
    statements: &BTreeMap<Clause, Statement>,
    rows: &[Row],
    tests: &BTreeMap<String, String>,
) -> String {
    let mut counts = String::new();
    let mut tables = String::new();
    for version in Version::BOTH {
        let mut count = [0; 4];
        let name = version.name();
        let _ = write!(
            tables,
            "\n## MQTT {name}\n\n| clause | binds | says | state |\n|---|---|---|---|\n"
        );
        for (clause, statement) in statements.iter().filter(|(c, _)| c.version == version) {
            let (place, state) = match state(clause, statement, rows) {
                State::Tested(rows) => (0, tested(&rows, tests)),
                State::DoesNotApply(row) => {
                    let reason = row.reason.as_deref().unwrap_or_default();
                    (1, format!("does not apply: {reason}"))
                }
                State::Client => (2, "binds the client".to_owned()),
                State::Open => (3, "**open**".to_owned()),
            };
            count[place] += 1;
            let Statement { binds, says } = statement;
            let says = says.replace('|', "\\|");
            let _ = writeln!(tables, "| {} | {binds} | {says} | {state} |", clause.number);
        }
        let [tested, not, client, open] = count;
        let sum: usize = count.iter().sum();
        let _ = writeln!(
            counts,
            "| {name} | {sum} | {tested} | {not} | {client} | {open} |"
        );
    }
    format!(
        "{HEAD}| version | statements | tested | do not apply | bind the client | open |\n|---|---|---|---|---|---|\n\
         {counts}{tables}"
    )
}

fn state<'a>(clause: &Clause, statement: &Statement, rows: &'a [Row]) -> State<'a> {
    let mine: Vec<&Row> = rows
        .iter()
        .filter(|row| row.clauses.contains(clause))
        .collect();
    let tested: Vec<&Row> = mine
        .iter()
        .copied()
        .filter(|row| row.reason.is_none())
        .collect();
    match mine.first() {
        _ if !tested.is_empty() => State::Tested(tested),
        Some(row) => State::DoesNotApply(row),
        None if statement.binds_server() => State::Open,
        None => State::Client,
    }
}

fn tested(rows: &[&Row], tests: &BTreeMap<String, String>) -> String {
    let mut links = Vec::new();
    for row in rows {
        let title = row.title.replace('|', "\\|");
        // Without line numbers: otherwise a new row would change the links of all later rows.
        if !row.steps.is_empty() {
            links.push(format!("[{title}](../{})", row.file));
        }
        for name in &row.by {
            let file = tests.get(name).map_or("", String::as_str);
            links.push(format!("[`{name}`](../{file})"));
        }
    }
    format!("tested: {}", links.join("; "))
}
