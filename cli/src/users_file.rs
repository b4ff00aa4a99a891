//! The users of a server, from the file that its settings name.

use roommq_bridge::{Users, UsersError};
use roommq_config::{Settings, UserFrom};

/// The users of the settings. Logs a warning if nobody could connect.
pub(crate) fn load_users(settings: &Settings) -> Result<Users, UsersError> {
    let Some(file) = &settings.auth.users_file else {
        return Ok(Users::default());
    };
    let users = roommq_bridge::load_users(file)?;
    let tls = settings.listeners.iter().filter_map(|one| one.tls.as_ref());
    let by_certificate = tls
        .map(|tls| tls.user_from)
        .any(|from| from != UserFrom::Nothing);
    if users.count() == 0 && !settings.auth.anonymous && !by_certificate {
        let path = file.display();
        tracing::warn!(
            "nobody can connect: the users file {path} has no users: roommq passwd {path} NAME"
        );
    }
    Ok(users)
}
