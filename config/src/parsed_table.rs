//! A table of the settings as the loader has read it, before it is checked.

use crate::problem::Location;
use std::collections::BTreeMap;

/// A table that has been read, with the places of its keys.
pub(crate) struct ParsedTable<T> {
    /// `room[0]`; empty for the settings' own sections.
    pub name: String,
    /// Where it begins.
    pub location: Location,
    /// What was read.
    pub values: T,
    /// Where keys were given, by full name.
    pub locations: BTreeMap<&'static str, Location>,
}

impl<T> ParsedTable<T> {
    /// Where a key was given, or else where its table begins.
    pub fn location_of(&self, key: &str) -> Location {
        self.locations.get(key).unwrap_or(&self.location).clone()
    }
}
