//! `roommq passwd`: sets, deletes and lists passwords of a users file.

use crate::options::SettingsArgs;
use crate::{shown, table};
use anyhow::{Context, bail};
use clap::Args;
use roommq_bridge::topics::{self, BadUserName};
use roommq_bridge::{Imported, ListedUser};
use serde_json::{Value, json};
use std::io::{BufRead, IsTerminal, Write};
use std::path::{Path, PathBuf};

/// The longest line read from stdin, in bytes: the longest password of MQTT.
const LINE_BYTES: u64 = 65_535;

/// `roommq passwd`
#[derive(Debug, Args)]
#[command(
    after_help = "The password is asked for twice on a terminal; otherwise it is the first line of stdin."
)]
pub(crate) struct PasswdArgs {
    /// The users file; it is created if it does not exist
    pub file: PathBuf,
    /// The user
    #[arg(value_parser = user, required_unless_present_any = ["import", "list"])]
    pub user: Option<String>,
    /// Delete the user
    #[arg(long, conflicts_with_all = ["import", "list", "no_scram", "config"])]
    pub delete: bool,
    /// List the users, and how each can log in
    #[arg(long, conflicts_with_all = ["user", "import", "no_scram", "config"])]
    pub list: bool,
    /// Add the users of this password file of mosquitto, with their passwords
    #[arg(long, value_name = "FILE", conflicts_with_all = ["user", "no_scram", "config"])]
    pub import: Option<PathBuf>,
    /// Store nothing for SCRAM-SHA-256: the user can log in only by password
    #[arg(long)]
    pub no_scram: bool,
    /// Read `auth.scram_iterations` from this TOML file; default: the file that `ROOMMQ_CONFIG`
    /// names, if any
    #[arg(long, value_name = "FILE", conflicts_with = "no_scram")]
    pub config: Option<PathBuf>,
}

pub(crate) fn run(args: &PasswdArgs, json: bool, out: &mut impl Write) -> anyhow::Result<()> {
    match (&args.import, &args.user) {
        (Some(from), _) => import(&args.file, from, json, out)?,
        (None, None) if args.list => list(&args.file, json, out)?,
        (None, Some(user)) if args.delete => delete(&args.file, user, json, out)?,
        (None, Some(user)) => set(args, user, json, out)?,
        (None, None) => bail!("name a user"),
    }
    out.flush()?;
    Ok(())
}

fn import(file: &Path, from: &Path, json: bool, out: &mut impl Write) -> anyhow::Result<()> {
    let Imported { added, present } = roommq_bridge::import_passwords(file, from)?;
    if json {
        let file = file.to_string_lossy();
        return Ok(writeln!(
            out,
            "{}",
            json!({"file": file, "added": added, "present": present})
        )?);
    }
    writeln!(
        out,
        "{} users were imported into {}; a running server reads it within seconds",
        added.len(),
        file.display()
    )?;
    if !present.is_empty() {
        let names = shown::line(&present.join(", ")).into_owned();
        writeln!(
            out,
            "these were there already and keep their passwords: {names}"
        )?;
    }
    Ok(())
}

fn delete(file: &Path, user: &str, json: bool, out: &mut impl Write) -> anyhow::Result<()> {
    if !roommq_bridge::delete_user(file, user)? {
        bail!("{} has no user {user}", file.display());
    }
    if json {
        let file = file.to_string_lossy();
        writeln!(out, "{}", json!({"file": file, "deleted": user}))?;
    } else {
        let file = file.display();
        writeln!(
            out,
            "{user} is deleted from {file}; a running server reads it within seconds"
        )?;
    }
    Ok(())
}

fn list(file: &Path, json: bool, out: &mut impl Write) -> anyhow::Result<()> {
    let users = roommq_bridge::list_users(file)?;
    if json {
        let users = users.iter().map(
            |one| json!({"user": one.name, "password": one.by_password, "scram": one.by_scram}),
        );
        let users: Value = users.collect();
        return Ok(writeln!(out, "{users}")?);
    }
    let yes = |can: bool| if can { "yes" } else { "no" }.to_owned();
    let row = |one: ListedUser| [one.name, yes(one.by_password), yes(one.by_scram)];
    Ok(table::write(
        out,
        ["USER", "PASSWORD", "SCRAM"],
        users.into_iter().map(row),
    )?)
}

fn set(args: &PasswdArgs, user: &str, json: bool, out: &mut impl Write) -> anyhow::Result<()> {
    // Before the password is asked for, so that problems of the settings come first.
    let iterations = iterations(args)?;
    let stdin = std::io::stdin();
    let password = if stdin.is_terminal() {
        ask_twice(user)?
    } else {
        read_line(stdin.lock())?
    };
    roommq_bridge::set_password(&args.file, user, &password, iterations)?;
    if json {
        let file = args.file.to_string_lossy();
        writeln!(out, "{}", json!({"file": file, "user": user}))?;
    } else {
        let file = args.file.display();
        writeln!(
            out,
            "{user} has a new password in {file}; a running server reads it within seconds"
        )?;
    }
    Ok(())
}

fn iterations(args: &PasswdArgs) -> anyhow::Result<Option<u32>> {
    if args.no_scram {
        return Ok(None);
    }
    let source = SettingsArgs {
        config: args.config.clone(),
        ..SettingsArgs::default()
    };
    let settings = roommq_config::load(&source.sources())?.settings;
    Ok(Some(settings.auth.scram_iterations))
}

/// Asks twice, without echo.
fn ask_twice(user: &str) -> anyhow::Result<String> {
    let ask = |prompt: String| {
        rpassword::prompt_password(prompt).context("the password could not be read")
    };
    let first = ask(format!("New password for {user}: "))?;
    if first.is_empty() {
        bail!("an empty password lets everybody in: type one");
    }
    if ask("The same again: ".to_owned())? != first {
        bail!("the two passwords differ: nothing was changed");
    }
    Ok(first)
}

/// Reads one line.
fn read_line(input: impl BufRead) -> anyhow::Result<String> {
    let mut line = String::new();
    input
        .take(LINE_BYTES)
        .read_line(&mut line)
        .context("stdin cannot be read, or is not UTF-8")?;
    let password = line.trim_end_matches(['\r', '\n']);
    if password.is_empty() {
        bail!("the first line of stdin is empty: it should be the password");
    }
    Ok(password.to_owned())
}

fn user(text: &str) -> Result<String, BadUserName> {
    topics::user_name(text).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;

    #[test]
    fn one_line_of_stdin() {
        assert_eq!(read_line(&b"a secret \r\nmore\n"[..]).unwrap(), "a secret ");
        assert_eq!(read_line(&b"secret"[..]).unwrap(), "secret");
        assert!(read_line(&b"\nsecret\n"[..]).is_err());
        assert!(read_line(&b""[..]).is_err());
        assert!(read_line(&b"\xff\n"[..]).is_err());
    }
}
