//! Makes a connection from the client options.

use crate::client::ConnectOptions;
use crate::options::{ClientArgs, LoginArgs};
use crate::tls;
use anyhow::{Context, anyhow, bail};
use std::fs;
use std::future::Future;
use std::hash::{BuildHasher, RandomState};
use std::io::IsTerminal;
use std::path::Path;
use std::sync::Arc;

/// The connect options from the command line.
pub(crate) fn options(args: &ClientArgs) -> anyhow::Result<ConnectOptions> {
    let tls = tls::config(&args.login)?.map(Arc::new);
    let credentials = credentials(&args.login)?;
    let client_id = match args.client_id.as_deref() {
        Some("") => bail!("--client-id is empty: name one, or leave it out"),
        Some(id) => id.to_owned(),
        None => fresh_client_id(),
    };
    Ok(ConnectOptions {
        server: args.login.server.clone(),
        tls,
        client_id,
        credentials,
    })
}

/// The user name and the password, if there are any. Without a password file, asks for the password
/// on a terminal.
pub(crate) fn credentials(login: &LoginArgs) -> anyhow::Result<Option<(String, String)>> {
    let Some(user) = &login.user else {
        return Ok(None);
    };
    let password = password(user, login.password_file.as_deref())?;
    Ok(Some((user.clone(), password)))
}

/// The user's name as other users see it. A server may name the user otherwise, and refuses names that are
/// too long for a topic.
pub(crate) fn own_name(options: &ConnectOptions) -> String {
    match &options.credentials {
        Some((user, _)) => roommq_bridge::topics::user_level(user),
        None => roommq_bridge::topics::user_level(&["~", &options.client_id].concat()),
    }
}

/// Runs the future of one command on a new runtime.
pub(crate) fn block_on<T>(future: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("no runtime could be started")?
        .block_on(future)
}

fn password(user: &str, file: Option<&Path>) -> anyhow::Result<String> {
    if let Some(file) = file {
        let text = fs::read_to_string(file)
            .with_context(|| format!("the password file {} cannot be read", file.display()))?;
        return first_line(&text).map(str::to_owned).ok_or_else(|| {
            anyhow!(
                "the first line of {} is empty: it should be the password",
                file.display()
            )
        });
    }
    if !std::io::stdin().is_terminal() {
        bail!("{user} needs a password: name a file that holds it with --password-file");
    }
    rpassword::prompt_password(format!("Password for {user}: "))
        .context("the password could not be read")
}

fn first_line(text: &str) -> Option<&str> {
    text.lines().next().filter(|line| !line.is_empty())
}

/// A random client id that is short enough for a user name.
fn fresh_client_id() -> String {
    // The hashers of std have random keys, which is random enough here.
    let random = RandomState::new().hash_one(std::process::id());
    format!("cli-{:06x}", random & 0xff_ffff)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;
    use std::io::Write;

    #[test]
    fn names() {
        let mut options = ConnectOptions {
            server: "h:1".parse().unwrap(),
            tls: None,
            client_id: "cli-1".to_owned(),
            credentials: None,
        };
        assert_eq!(own_name(&options), "~cli-1");
        options.credentials = Some(("a/b".to_owned(), String::new()));
        assert_eq!(own_name(&options), "a%2Fb");
    }

    #[test]
    fn client_ids_differ() {
        let ids: std::collections::HashSet<_> = (0..8).map(|_| fresh_client_id()).collect();
        assert!(ids.len() > 1);
    }

    #[test]
    fn passwords_from_files() {
        let directory = std::env::temp_dir().join(format!("roommq-connect-{}", std::process::id()));
        fs::create_dir_all(&directory).unwrap();
        let file = directory.join("password");
        fs::File::create(&file)
            .unwrap()
            .write_all(b"secret word\r\nsecond\n")
            .unwrap();
        assert_eq!(password("al", Some(&file)).unwrap(), "secret word");
        fs::write(&file, "\nsecret").unwrap();
        let told = password("al", Some(&file)).unwrap_err().to_string();
        assert!(
            told.contains("is empty") && !told.contains("secret"),
            "{told}"
        );
        fs::remove_dir_all(&directory).unwrap();
        assert!(password("al", Some(&file)).is_err());
    }
}
