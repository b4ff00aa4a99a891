//! Where settings are taken from.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::PathBuf;

/// Where settings are taken from.
#[derive(Debug, Clone, Default)]
pub struct Sources {
    /// `--config`. None: the file that `ROOMMQ_CONFIG` names, or no file. A file that nobody named is
    /// never read.
    pub file: Option<PathBuf>,
    /// The command line.
    pub flags: Flags,
    /// The variables, by name; [`process_environment`] or a test's own. `ROOMMQ_CONFIG`, `ROOMMQ_LISTEN`
    /// and `ROOMMQ__…` are looked at.
    pub environment: BTreeMap<String, String>,
}

/// What the command line says; text is checked by [`load`](crate::load()), so that its errors name the flag.
#[derive(Debug, Clone, Default)]
pub struct Flags {
    /// `--listen ADDR`: the only listener, whatever other layers say.
    pub listen: Option<String>,
    /// `--anonymous true|false`: `auth.anonymous`.
    pub anonymous: Option<bool>,
    /// `--users-file FILE`: `auth.users_file`, from the current directory.
    pub users_file: Option<String>,
    /// `--log-level LEVEL`: `log.level`.
    pub log_level: Option<String>,
    /// `--log-format FORMAT`: `log.format`.
    pub log_format: Option<String>,
}

/// The variables of this process that may concern `RoomMQ`. Bytes that are no Unicode are replaced and not
/// passed over, so that a setting is never lost in silence; `std::env::vars` would panic at them.
#[must_use]
pub fn process_environment() -> BTreeMap<String, String> {
    let text = |part: OsString| part.to_string_lossy().into_owned();
    std::env::vars_os()
        .map(|(name, value)| (text(name), text(value)))
        .filter(|(name, _)| name.to_uppercase().starts_with("ROOMMQ_"))
        .collect()
}
