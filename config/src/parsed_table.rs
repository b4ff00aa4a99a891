//! A table of the settings after reading, before the checks across values.

use crate::problem::Location;
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
}
