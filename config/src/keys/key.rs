//! The type of a key, and limits that keys of several sections share.

use crate::value::Hint;
use config::ValueKind;

/// A key that sets one field of a `T`.
pub(crate) struct Key<T> {
    /// Section and key, as in `presence.grace`.
    pub name: &'static str,
    /// Sets the field, or leaves `T` unchanged and returns a hint.
    pub read: fn(&mut T, &ValueKind) -> Result<(), Hint>,
    /// The value in TOML. None: it is not set and has no default.
    pub show: fn(&T) -> Option<toml::Value>,
}

/// `key!(name, field, kind, limits)`. The kinds are the modules of [`crate::value`].
macro_rules! key {
    ($name:literal, $($field:ident).+, $($kind:ident)::+, $limits:expr) => {
        $crate::keys::Key {
            name: $name,
            read: |into, given| {
                into.$($field).+ = value::$($kind)::+::read(given, $limits)?;
                Ok(())
            },
            show: |from| value::$($kind)::+::show(&from.$($field).+),
        }
    };
}
pub(super) use key;

/// The largest MQTT packet: a fixed header of five bytes and the largest remaining length.
pub(super) const LARGEST_PACKET: u64 = 268_435_455 + 5;

/// A little more than the shortest CONNECT (14 bytes in 3.1.1, 13 in 5.0) with a client id.
pub(super) const SMALLEST_PACKET: u64 = 20;
