//! What clients prove their identity by, from the files that the settings name.

use roommq_bridge::{Credentials, Users, UsersError, load_token_keys};
use roommq_config::{Settings, UserFrom};
use std::path::Path;

/// The files that [`load_credentials`] reads. None: the settings name no such file.
pub(crate) fn credential_files(settings: &Settings) -> [Option<&Path>; 2] {
    [
        settings.auth.users_file.as_deref(),
        settings.jwt.keys.as_deref(),
    ]
}

/// The users and the keys of tokens.
pub(crate) fn load_credentials(settings: &Settings) -> anyhow::Result<Credentials> {
    let keys = settings.jwt.keys.as_deref().map(load_token_keys);
    Ok(Credentials {
        users: load_users(settings)?,
        token_keys: keys.transpose()?.unwrap_or_default(),
    })
}

/// The users of the settings. Logs a warning if nobody could connect.
fn load_users(settings: &Settings) -> Result<Users, UsersError> {
    let Some(file) = &settings.auth.users_file else {
        return Ok(Users::default());
    };
    let users = roommq_bridge::load_users(file)?;
    let tls = settings.listeners.iter().filter_map(|one| one.tls.as_ref());
    let by_certificate = tls
        .map(|tls| tls.user_from)
        .any(|from| from != UserFrom::Nothing);
    let by_token = settings.jwt.keys.is_some();
    if users.count() == 0 && !settings.auth.anonymous && !by_certificate && !by_token {
        let path = file.display();
        tracing::warn!(
            "nobody can connect: the users file {path} has no users: roommq passwd {path} NAME"
        );
    }
    Ok(users)
}
