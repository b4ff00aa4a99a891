//! A table of the settings after reading, before the checks across values.

use crate::problem::{Location, Problem};
use std::collections::BTreeMap;

/// The values of one table, and where each was given.
pub(crate) struct ParsedTable<T> {
    /// Such as `room[0]`. Empty for the sections that are tables.
    pub name: String,
    /// Where the table begins.
    pub location: Location,
    /// The values.
    pub values: T,
    /// Where each key was given, by the key's full name.
    pub locations: BTreeMap<&'static str, Location>,
}

impl<T> ParsedTable<T> {
    /// Where a key was given; if it was not, where its table begins.
    pub fn location_of(&self, key: &str) -> Location {
        self.locations.get(key).unwrap_or(&self.location).clone()
    }

    /// The name that problems call a key: `room[0]` and `room.match` make `room[0].match`.
    pub fn name_of(&self, key: &str) -> String {
        match key.split_once('.') {
            Some((_, last)) if !self.name.is_empty() => format!("{}.{last}", self.name),
            _ => key.to_owned(),
        }
    }

    /// The problem that a required key is missing. `hint` says what to write.
    pub fn missing(&self, key: &str, hint: &str) -> Problem {
        Problem::Missing {
            key: self.name_of(key),
            location: self.location_of(key),
            hint: hint.to_owned(),
        }
    }

    /// The problem that a key cannot have the value that was given.
    pub fn bad_value(&self, key: &str, value: String, hint: String) -> Problem {
        Problem::BadValue {
            key: self.name_of(key),
            location: self.location_of(key),
            value,
            hint,
        }
    }
}
