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

/// `key!("section.key" => field: kind, limits)`, or `key!(section.key: kind, limits)` for a field that
/// is named like its key.
///
/// The kinds are the modules of [`crate::value`]. A kind without limits needs none here. With a `?`
/// behind it, the field is an Option: the key has no default.
macro_rules! key {
    ($section:ident.$key:ident $($rest:tt)*) => {
        key!(concat!(stringify!($section), ".", stringify!($key)) => $section.$key $($rest)*)
    };
    ($name:expr => $($field:ident).+: $($kind:ident)::+ $(, $limits:expr)?) => {
        $crate::keys::Key {
            name: $name,
            read: |into, given| {
                into.$($field).+ = $crate::value::$($kind)::+::read(given, ($($limits)?))?;
                Ok(())
            },
            show: |from| Some($crate::value::$($kind)::+::show(&from.$($field).+)),
        }
    };
    ($name:expr => $($field:ident).+?: $($kind:ident)::+ $(, $limits:expr)?) => {
        $crate::keys::Key {
            name: $name,
            read: |into, given| {
                into.$($field).+ = Some($crate::value::$($kind)::+::read(given, ($($limits)?))?);
                Ok(())
            },
            show: |from| from.$($field).+.as_ref().map($crate::value::$($kind)::+::show),
        }
    };
}
pub(super) use key;

/// The largest MQTT packet: a fixed header of five bytes and the largest remaining length.
pub(super) const LARGEST_PACKET: u64 = 268_435_455 + 5;

/// A little more than the shortest CONNECT (14 bytes in 3.1.1, 13 in 5.0) with a client id.
pub(super) const SMALLEST_PACKET: u64 = 20;
