//! What settings are read from.

use crate::layer;
use crate::problem::ConfigError;
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::PathBuf;

/// What settings are read from.
#[derive(Debug, Clone, Default)]
pub struct Sources {
    /// `--config`. None: the file that `ROOMMQ_CONFIG` names, or no file. There is no default path.
    pub file: Option<PathBuf>,
    /// The flags of the command line.
    pub flags: Flags,
    /// The environment variables by name, as from [`process_environment`]. `ROOMMQ_CONFIG`,
    /// `ROOMMQ_LISTEN` and `ROOMMQ__…` are read. Those of the client commands and those that
    /// container runtimes set for a service called `roommq` are ignored, and any other is a problem.
    pub environment: BTreeMap<String, String>,
}

/// The flags of the command line. [`load`](crate::load()) checks their texts, so that its errors
/// name the flag.
#[derive(Debug, Clone, Default)]
pub struct Flags {
    /// `--listen ADDR`: the only listener; it replaces those of other layers.
    pub listen: Option<String>,
    /// `--anonymous true|false`: `auth.anonymous`.
    pub anonymous: Option<bool>,
    /// `--users-file FILE`: `auth.users_file`, relative to the current directory.
    pub users_file: Option<String>,
    /// `--log-level LEVEL`: `log.level`.
    pub log_level: Option<String>,
    /// `--log-format FORMAT`: `log.format`.
    pub log_format: Option<String>,
}

/// The environment variables of this process whose names start with `ROOMMQ_`, in any case.
///
/// Bytes that are not Unicode are replaced, so that the setting is reported as wrong and not lost.
/// `std::env::vars` would panic on them.
#[must_use]
pub fn process_environment() -> BTreeMap<String, String> {
    let text = |part: OsString| part.to_string_lossy().into_owned();
    std::env::vars_os()
        .map(|(name, value)| (text(name), text(value)))
        .filter(|(name, _)| name.to_uppercase().starts_with("ROOMMQ_"))
        .collect()
}

/// The problems of variables that mean nothing to any command, for commands that read no settings.
///
/// # Errors
/// There are such variables. Those that set keys of the server are not checked.
pub fn check_environment(environment: &BTreeMap<String, String>) -> Result<(), ConfigError> {
    let problems: Vec<_> = environment
        .iter()
        .filter(|(name, _)| !name.to_uppercase().starts_with("ROOMMQ__"))
        .filter_map(|(name, value)| layer::meaningless(name, value))
        .collect();
    if problems.is_empty() {
        Ok(())
    } else {
        Err(ConfigError::new(problems))
    }
}
