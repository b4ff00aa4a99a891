//! A table of the settings as the loader has read it, before it is checked.

use crate::problem::Place;
use std::collections::BTreeMap;

/// A table that has been read, with the places of its keys.
pub(crate) struct Entry<T> {
    /// `room[0]`; empty for the settings' own sections.
    pub name: String,
    /// Where it begins.
    pub place: Place,
    /// What was read.
    pub read: T,
    /// Where keys were given, by full name.
    pub places: BTreeMap<&'static str, Place>,
}

impl<T> Entry<T> {
    /// Where a key was given, or else where its table begins.
    pub fn place_of(&self, key: &str) -> Place {
        self.places.get(key).unwrap_or(&self.place).clone()
    }
}
