//! `true` or `false`.

use super::{Hint, text};
use config::ValueKind;

pub(crate) fn read(value: &ValueKind, (): ()) -> Result<bool, Hint> {
    match (value, text(value)) {
        (ValueKind::Boolean(switch), _) => Ok(*switch),
        (_, Some("true")) => Ok(true),
        (_, Some("false")) => Ok(false),
        _ => Err("give true or false".to_owned()),
    }
}

pub(crate) fn show(switch: &bool) -> toml::Value {
    (*switch).into()
}
