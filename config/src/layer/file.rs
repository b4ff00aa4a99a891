//! The layer of the TOML file.

use super::{Layer, mark, unknown};
use crate::keys::{self, SectionKind};
use crate::problem::{Location, Problem};
use config::{Map, Value, ValueKind};
use std::path::Path;
use toml::Spanned;
use toml::de::{DeArray, DeInteger, DeString, DeTable, DeValue};

/// Reads a TOML text. `path` is its name in problems. None: the text is the built-in one.
///
/// # Errors
///
/// The text is not TOML. Other problems go into `problems`, and their values are left out of the
/// layer.
pub(crate) fn file(
    text: &str,
    path: Option<&Path>,
    problems: &mut Vec<Problem>,
) -> Result<Layer, Problem> {
    let lines = LineIndex::of(text);
    let root = DeTable::parse(text).map_err(|error| Problem::Syntax {
        location: lines.location(path, error.span().map_or(0, |span| span.start)),
        reason: error.message().replace('\n', ", "),
    })?;
    let mut reader = FileReader {
        path,
        lines,
        problems,
    };
    let mut layer = Layer::default();
    for (name, value) in root.into_inner() {
        if let Some(section) = reader.section(&name, value) {
            layer.0.insert(name.into_inner().into_owned(), section);
        }
    }
    Ok(layer)
}

/// The offsets at which lines begin.
struct LineIndex(Vec<usize>);

impl LineIndex {
    fn of(text: &str) -> Self {
        LineIndex(text.match_indices('\n').map(|(at, _)| at + 1).collect())
    }

    fn location(&self, path: Option<&Path>, offset: usize) -> Location {
        path.map_or(Location::Default, |path| Location::File {
            path: path.to_owned(),
            line: 1 + self.0.partition_point(|start| *start <= offset),
        })
    }
}

struct FileReader<'a> {
    path: Option<&'a Path>,
    lines: LineIndex,
    problems: &'a mut Vec<Problem>,
}

type Name<'i> = Spanned<DeString<'i>>;

impl FileReader<'_> {
    fn at<T>(&self, spanned: &Spanned<T>) -> Location {
        self.lines.location(self.path, spanned.span().start)
    }

    fn section(&mut self, name: &Name<'_>, value: Spanned<DeValue<'_>>) -> Option<Value> {
        let location = self.at(name);
        let Some(shape) = keys::shape(name.get_ref()) else {
            self.problems.push(unknown(&bare(name.get_ref()), location));
            return None;
        };
        match (shape, value.into_inner()) {
            (SectionKind::Table, DeValue::Table(table)) => {
                let entries = self.table(name.get_ref(), name.get_ref(), table);
                Some(mark(&location, entries))
            }
            (SectionKind::List, DeValue::Array(items)) => self.list(name, items, &location),
            (shape, value) => {
                self.problems
                    .push(misshapen(name.get_ref(), shape, &value, location));
                None
            }
        }
    }

    fn list(&mut self, name: &Name<'_>, items: DeArray<'_>, location: &Location) -> Option<Value> {
        let mut entries = Vec::new();
        for (index, item) in items.into_iter().enumerate() {
            let location = self.at(&item);
            match item.into_inner() {
                DeValue::Table(table) => {
                    let shown = format!("{}[{index}]", name.get_ref());
                    let table = self.table(name.get_ref(), &shown, table);
                    entries.push(mark(&location, table));
                }
                value => {
                    let name = name.get_ref();
                    self.problems
                        .push(misshapen(name, SectionKind::List, &value, location));
                    return None;
                }
            }
        }
        Some(mark(location, entries))
    }

    /// The values of a table. `section` is its name in keys, `shown` its name in problems.
    fn table(&mut self, section: &str, shown: &str, table: DeTable<'_>) -> Map<String, Value> {
        let mut entries = Map::new();
        for (key, value) in table {
            let location = self.at(&key);
            let key = key.into_inner();
            let name = format!("{section}.{key}");
            if !keys::names().any(|known| known == name) {
                let name = format!("{section}.{}", bare(&key));
                self.problems.push(unknown(&name, location));
                continue;
            }
            match plain(value.into_inner(), &location) {
                Ok(value) => {
                    entries.insert(key.into_owned(), value);
                }
                Err(UnsupportedValue { value, kind }) => self.problems.push(Problem::BadValue {
                    key: format!("{shown}.{key}"),
                    location,
                    value,
                    hint: format!("no key takes {kind}"),
                }),
            }
        }
        entries
    }
}

/// A value of a kind that no key accepts.
struct UnsupportedValue {
    value: String,
    kind: &'static str,
}

/// Converts a value for the `config` crate. That crate has no dates, and a table would lose its
/// location when layers are merged.
fn plain(value: DeValue<'_>, location: &Location) -> Result<Value, UnsupportedValue> {
    let kind = match value {
        DeValue::String(text) => ValueKind::String(text.into_owned()),
        DeValue::Integer(integer) => whole(&integer),
        DeValue::Float(float) => ValueKind::Float(float.as_str().parse().unwrap_or(f64::NAN)),
        DeValue::Boolean(switch) => ValueKind::Boolean(switch),
        DeValue::Datetime(date) => {
            return Err(UnsupportedValue {
                value: date.to_string(),
                kind: "a date or a time of day",
            });
        }
        DeValue::Table(_) => {
            return Err(UnsupportedValue {
                value: "a table".to_owned(),
                kind: "a table",
            });
        }
        DeValue::Array(items) => ValueKind::Array(
            items
                .into_iter()
                .map(|item| plain(item.into_inner(), location))
                .collect::<Result<_, _>>()?,
        ),
    };
    Ok(mark(location, kind))
}

/// A number that is too large becomes one that every key refuses.
fn whole(integer: &DeInteger<'_>) -> ValueKind {
    i128::from_str_radix(integer.as_str(), integer.radix())
        .map_or(ValueKind::Float(f64::INFINITY), ValueKind::I128)
}

/// A key as TOML has it: in quotes unless it is bare.
fn bare(key: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "_-".contains(c);
    if !key.is_empty() && key.chars().all(plain) {
        key.to_owned()
    } else {
        format!("{key:?}")
    }
}

fn misshapen(name: &str, shape: SectionKind, value: &DeValue<'_>, location: Location) -> Problem {
    let hint = match (name, shape) {
        (_, SectionKind::List) => format!("write `[[{name}]]` for each entry, in double brackets"),
        ("rooms", _) => {
            "write `[rooms]`, or `[[room]]` for a rule about rooms by their names".to_owned()
        }
        _ => format!("write `[{name}]`, in single brackets"),
    };
    let value = match value {
        DeValue::Table(_) => "a table",
        DeValue::Array(_) => "a list",
        _ => "a plain value",
    };
    Problem::BadValue {
        key: name.to_owned(),
        location,
        value: value.to_owned(),
        hint,
    }
}
