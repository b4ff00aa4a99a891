//! Log levels and directives.

use super::{Hint, text};
use config::ValueKind;

const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];

/// A level, or tracing directives (`info,roommq_broker=debug`).
///
/// A word alone must be a level. tracing would take a misspelt level for a module's name, and log
/// nothing else.
pub(crate) fn read(value: &ValueKind, (): ()) -> Result<String, Hint> {
    text(value)
        .filter(|text| text.split(',').all(directive))
        .map(str::to_owned)
        .ok_or_else(|| {
            "give `off`, `error`, `warn`, `info`, `debug` or `trace`, or directives such as \
             `info,roommq_broker=debug`"
                .to_owned()
        })
}

pub(crate) fn show(level: &String) -> toml::Value {
    level.clone().into()
}

fn directive(text: &str) -> bool {
    let level = |word: &str| LEVELS.iter().any(|known| known.eq_ignore_ascii_case(word));
    match text.split_once('=') {
        None => level(text),
        Some((target, word)) => {
            let name = |c: char| c.is_ascii_alphanumeric() || "_:-".contains(c);
            !target.is_empty() && target.chars().all(name) && level(word)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels() {
        for right in [
            "info",
            "TRACE",
            "off",
            "warn,roommq=debug",
            "a::b=trace,c-d=off",
        ] {
            assert_eq!(read(&ValueKind::from(right), ()), Ok(right.to_owned()));
        }
        for wrong in ["", "debgu", "info,", "a=", "=info", "a=b=info", "roommq"] {
            assert!(read(&ValueKind::from(wrong), ()).is_err(), "{wrong}");
        }
    }
}
