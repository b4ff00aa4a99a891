//! The files of rows.

use crate::clause::{Clause, Number, Version};
use crate::step::Step;
use roommq_tests::workspace::root;

/// A row: some clauses, and the steps that show them.
#[derive(Debug)]
pub struct Row {
    pub title: String,
    /// The path from the workspace's root.
    pub file: String,
    pub line: usize,
    pub clauses: Vec<Clause>,
    pub steps: Vec<Step>,
    /// Rust tests that show what no script can.
    pub by: Vec<String>,
    /// The reason that the clauses do not apply to this server.
    pub reason: Option<String>,
    /// The configuration, if the row has a server of its own.
    pub settings: Option<String>,
}

impl Row {
    pub fn place(&self) -> String {
        format!("{}:{}", self.file, self.line)
    }

    pub fn versions(&self) -> Vec<Version> {
        let names = |version| self.clauses.iter().any(|c| c.version == version);
        Version::BOTH.into_iter().filter(|v| names(*v)).collect()
    }

    /// Whether its file, title or clauses contain a text.
    pub fn is_named_by(&self, text: &str) -> bool {
        let clauses: Vec<String> = self.clauses.iter().map(Clause::to_string).collect();
        format!("{} {} {}", self.place(), self.title, clauses.join(" ")).contains(text)
    }

    /// Checks a parsed row as a whole.
    fn check(&self) -> Result<(), String> {
        if self.clauses.is_empty() {
            return Err("it names no clause".to_owned());
        }
        let shown = !self.steps.is_empty() || !self.by.is_empty();
        if shown == self.reason.is_some() {
            return Err(
                "it has either steps or tests, or a reason why it does not apply".to_owned(),
            );
        }
        if self.settings.is_none()
            && let Some(step) = self.steps.iter().find(|s| s.names_a_topic_of_all())
        {
            return Err(format!(
                "line {}: rows share a server, so topics have {{id}} in them; or write anywhere, or settings:",
                step.line
            ));
        }
        Ok(())
    }
}

/// Names and texts of the files.
pub fn files() -> Vec<(String, String)> {
    let directory = root().join("tests/conformance");
    let mut names: Vec<String> = std::fs::read_dir(&directory)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| roommq_tests::workspace::has_extension(name, "rows"))
        .collect();
    names.sort();
    assert!(!names.is_empty(), "there are no rows");
    names
        .into_iter()
        .map(|name| {
            let text = std::fs::read_to_string(directory.join(&name)).unwrap();
            (format!("tests/conformance/{name}"), text)
        })
        .collect()
}

/// All rows. Panics with all errors if a file is invalid.
pub fn all() -> Vec<Row> {
    let mut rows = Vec::new();
    let mut wrong = Vec::new();
    for (name, text) in files() {
        parse(&name, &text, &mut rows, &mut wrong);
    }
    for row in &rows {
        if let Err(what) = row.check() {
            wrong.push(format!("{}: {}: {what}", row.place(), row.title));
        }
    }
    crate::none("rows that cannot be read", &wrong);
    rows
}

pub fn parse(file: &str, text: &str, rows: &mut Vec<Row>, wrong: &mut Vec<String>) {
    let before = rows.len();
    let mut lines = (1..).zip(text.lines());
    while let Some((number, line)) = lines.next() {
        let mut line = line.trim().to_owned();
        while let Some(front) = line.strip_suffix('\\') {
            let next = lines.next().map_or("", |(_, next)| next.trim());
            line = format!("{} {next}", front.trim_end());
        }
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        if let Some(title) = line.strip_prefix("== ") {
            rows.push(Row {
                title: title.to_owned(),
                file: file.to_owned(),
                line: number,
                clauses: Vec::new(),
                steps: Vec::new(),
                by: Vec::new(),
                reason: None,
                settings: None,
            });
            continue;
        }
        let read = match rows[before..].last_mut() {
            Some(row) => part(row, number, &line),
            None => Err("it is in no row; a row starts with == and its title".to_owned()),
        };
        if let Err(what) = read {
            wrong.push(format!("{file}:{number}: {line}: {what}"));
        }
    }
}

fn part(row: &mut Row, number: usize, line: &str) -> Result<(), String> {
    let (key, value) = line.split_once(':').unwrap_or((line, ""));
    let value = value.trim();
    if let Some(version) = Version::from_name(key) {
        for word in value.split([' ', ',']).filter(|word| !word.is_empty()) {
            let number = Number::parse(word).ok_or_else(|| format!("{word:?} is no clause"))?;
            row.clauses.push(Clause { version, number });
        }
        return Ok(());
    }
    match key {
        "by" => row.by.push(value.to_owned()),
        "does not apply" => row.reason = Some(value.to_owned()),
        "settings" => {
            let settings = row.settings.get_or_insert_default();
            settings.push_str(value);
            settings.push('\n');
        }
        _ => row.steps.push(Step::parse(number, line)?),
    }
    Ok(())
}
