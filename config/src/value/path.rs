//! File names.

use super::{Hint, text};
use config::ValueKind;
use std::path::PathBuf;

pub(crate) fn read(value: &ValueKind, (): ()) -> Result<PathBuf, Hint> {
    match text(value) {
        // The operating system refuses NUL in a file name.
        Some(path) if !path.is_empty() && !path.contains('\0') => Ok(path.into()),
        _ => Err("give the name of a file".to_owned()),
    }
}

pub(crate) fn show(path: &PathBuf) -> toml::Value {
    path.to_string_lossy().into_owned().into()
}
