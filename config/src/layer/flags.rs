//! The layer of the command line's flags.

use super::{Layer, mark};
use crate::problem::Location;
use crate::sources::Flags;
use config::ValueKind;

const LISTEN: &str = "--listen";

/// The flags that set a key of a table, and the keys.
const KEYS: [(&str, &str); 4] = [
    ("--anonymous", "auth.anonymous"),
    ("--users-file", "auth.users_file"),
    ("--log-level", "log.level"),
    ("--log-format", "log.format"),
];

pub(crate) fn flags(flags: &Flags) -> Layer {
    let mut layer = Layer::default();
    if let Some(bind) = &flags.listen {
        layer.listen(bind, &Location::Flag(LISTEN.to_owned()));
    }
    let text = |given: &Option<String>| given.clone().map(ValueKind::String);
    let given = [
        flags.anonymous.map(ValueKind::Boolean),
        text(&flags.users_file),
        text(&flags.log_level),
        text(&flags.log_format),
    ];
    for ((flag, key), value) in KEYS.into_iter().zip(given) {
        if let Some(value) = value {
            layer.set(key, mark(&Location::Flag(flag.to_owned()), value));
        }
    }
    layer
}
