//! Names that other programs compare, letter by letter.

use super::{Hint, text};
use config::ValueKind;

pub(crate) fn read(value: &ValueKind, (): ()) -> Result<String, Hint> {
    match text(value) {
        Some(name) if !name.is_empty() => Ok(name.to_owned()),
        _ => Err("give a text that is not empty".to_owned()),
    }
}

pub(crate) fn show(name: &String) -> toml::Value {
    name.clone().into()
}
