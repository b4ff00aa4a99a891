//! The layers. Each becomes a tree of known keys with their locations; the `config` crate merges
//! the trees.
//!
//! Architecture invariant: no unknown key passes this module. Otherwise the `config` crate would
//! take a name such as `"room[999999999]"` for a path, and allocate a list of that length.

mod environment;
mod file;
mod flags;

pub(crate) use environment::{LISTEN_VARIABLE, environment, file_variable, meaningless};
pub(crate) use file::file;
pub(crate) use flags::flags;

use crate::keys;
use crate::problem::{Location, Problem};
use config::{Config, Map, Source, Value, ValueKind};
use std::path::Path;

/// One layer: sections by name.
#[derive(Debug, Clone, Default)]
pub(crate) struct Layer(Map<String, Value>);

impl Source for Layer {
    fn clone_into_box(&self) -> Box<dyn Source + Send + Sync> {
        Box::new(self.clone())
    }

    fn collect(&self) -> Result<Map<String, Value>, config::ConfigError> {
        Ok(self.0.clone())
    }
}

impl Layer {
    /// Sets a key of a table.
    fn set(&mut self, name: &str, value: Value) {
        let Some((section, key)) = name.split_once('.') else {
            return;
        };
        let table = self
            .0
            .entry(section.to_owned())
            .or_insert_with(|| Value::new(None, Map::<String, Value>::new()));
        if let ValueKind::Table(table) = &mut table.kind {
            table.insert(key.to_owned(), value);
        }
    }

    /// Replaces all listeners by one.
    fn listen(&mut self, bind: &str, location: &Location) {
        let bind = mark(location, bind.to_owned());
        let entry = mark(location, Map::from_iter([("bind".to_owned(), bind)]));
        self.0
            .insert("listener".to_owned(), mark(location, vec![entry]));
    }
}

/// Merges the layers; a later one wins. Tables are merged, lists are replaced.
pub(crate) fn merge(layers: Vec<Layer>) -> Result<Map<String, Value>, config::ConfigError> {
    let mut builder = Config::builder();
    for layer in layers {
        builder = builder.add_source(layer);
    }
    builder.build()?.collect()
}

/// A value that carries its location.
fn mark(location: &Location, kind: impl Into<ValueKind>) -> Value {
    let origin = match location {
        Location::Default => "default".to_owned(),
        Location::File { line, .. } => format!("line {line}"),
        Location::Environment(name) => format!("variable {name}"),
        Location::Flag(name) => format!("flag {name}"),
    };
    Value::new(Some(&origin), kind)
}

/// The location that [`mark`] gave to `value`. `file` is the file that was read.
pub(crate) fn location(value: &Value, file: &Path) -> Location {
    match value.origin().and_then(|origin| origin.split_once(' ')) {
        Some(("line", line)) => Location::File {
            path: file.to_owned(),
            line: line.parse().unwrap_or(1),
        },
        Some(("variable", name)) => Location::Environment(name.to_owned()),
        Some(("flag", name)) => Location::Flag(name.to_owned()),
        _ => Location::Default,
    }
}

/// The problem of an unknown key.
fn unknown(key: &str, location: Location) -> Problem {
    let nearest =
        keys::nearest(key).map(
            |known| match (&location, keys::shape(keys::section(known))) {
                (Location::Environment(_), Some(keys::SectionKind::Table))
                    if known.contains('.') =>
                {
                    format!("`{known}` ({})", keys::variable(known))
                }
                _ => format!("`{known}`"),
            },
        );
    Problem::UnknownKey {
        key: key.to_owned(),
        location,
        nearest,
    }
}
