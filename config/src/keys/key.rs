//! What a key is, and what several sections' keys share.

use crate::value::Hint;
use config::ValueKind;

/// A key that fills a place in a `T`.
pub(crate) struct Key<T> {
    /// Section and key, as in `presence.grace`.
    pub name: &'static str,
    /// Takes a value, or leaves `T` alone and says what would be right.
    pub read: fn(&mut T, &ValueKind) -> Result<(), Hint>,
    /// The value in TOML; none where it is not set and has no default.
    pub show: fn(&T) -> Option<toml::Value>,
}

/// `key!(name, field, kind, limits)`; the kinds are the modules of [`crate::value`].
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

/// The greatest MQTT packet: five bytes of fixed header and the greatest remaining length.
pub(super) const LARGEST_PACKET: u64 = 268_435_455 + 5;

/// Hardly more than the shortest CONNECT (14 bytes in 3.1.1, 13 in 5.0) and a client id.
pub(super) const SMALLEST_PACKET: u64 = 20;
