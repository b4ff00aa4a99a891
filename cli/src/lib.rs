//! The command line of `RoomMQ`: the server and every client command.
//!
//! Architecture invariant: no rule about rooms lives here. The server's rules are the bridge's, plugged into
//! the broker by [`start`]; the client commands see only what any MQTT client sees.

mod address;
mod args;
mod bench;
mod client;
mod config_command;
mod connect;
mod join;
mod logging;
mod options;
mod passwd;
mod peek;
mod refusal;
mod room_view;
mod rooms;
mod send;
mod serve;
mod shown;
mod signals;
mod table;
mod tls;
mod typed;
mod who;

pub use args::Cli;
pub use serve::start;

use args::Command;
use clap::Parser;
use clap::error::ErrorKind;
use config_command::ConfigCommand;
use roommq_config::{ConfigError, Location, Problem};
use std::ffi::OsString;
use std::io::{self, Write};
use std::process::ExitCode;

/// The exit code where the command line is wrong.
const WRONG_USAGE: u8 = 2;

/// Does what the command line says, the name of the program first, and says how it went: 0 it is done, 1 it
/// failed and stderr says why, 2 the command line is wrong.
pub fn run<I, T>(arguments: I) -> ExitCode
where
    I: IntoIterator<Item = T>,
    T: Into<OsString> + Clone,
{
    let cli = match Cli::try_parse_from(arguments).and_then(Cli::checked) {
        Ok(cli) => cli,
        Err(error) => return usage(&error),
    };
    match dispatch(cli) {
        Ok(code) => code,
        Err(error) if reader_has_gone(&error) => ExitCode::SUCCESS,
        Err(error) => {
            say(&told(&error));
            if of_a_flag(&error) {
                WRONG_USAGE.into()
            } else {
                ExitCode::FAILURE
            }
        }
    }
}

/// Whether a flag of the command line gave a setting a value that it cannot take.
fn of_a_flag(error: &anyhow::Error) -> bool {
    let of_flag = |problem: &Problem| {
        let Problem::BadValue { location, .. } = problem else {
            return false;
        };
        matches!(location, Location::Flag(_))
    };
    let problems = error.downcast_ref().map(ConfigError::problems);
    problems.is_some_and(|problems| problems.iter().any(of_flag))
}

fn dispatch(cli: Cli) -> anyhow::Result<ExitCode> {
    let json = cli.json;
    // Not locked: `serve`, `join` and `bench` write from where they are.
    let mut out = io::stdout();
    match cli.command {
        None => serve::run(&cli.serve, json)?,
        Some(Command::Serve(source)) => serve::run(&source, json)?,
        Some(Command::Join(join)) => join::run(&join, json)?,
        Some(Command::Send(send)) => send::run(&send, json, &mut out)?,
        Some(Command::Who(who)) => who::run(&who, json, &mut out)?,
        Some(Command::Rooms(rooms)) => rooms::run(&rooms, json, &mut out)?,
        Some(Command::Passwd(passwd)) => passwd::run(&passwd, json, &mut out)?,
        Some(Command::Bench(bench)) => bench::run(bench, json)?,
        Some(Command::Config(ConfigCommand::Show(source))) => {
            config_command::show(&source.sources(), json, &mut out)?;
            out.flush()?;
        }
        Some(Command::Config(ConfigCommand::Check { file })) => {
            let good = config_command::check(&file, json, &mut out)?;
            out.flush()?;
            if !good {
                return Ok(ExitCode::FAILURE);
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// The error and its causes in one line; a cause that an error before it has told is not told again.
fn told(error: &anyhow::Error) -> String {
    error.chain().fold(String::new(), |told, cause| {
        let cause = cause.to_string();
        match told.as_str() {
            "" => cause,
            before if before.contains(&cause) => told,
            before => format!("{before}: {cause}"),
        }
    })
}

/// What clap says, under the program's own prefix; help and version are no errors.
fn usage(error: &clap::Error) -> ExitCode {
    if !error.use_stderr() {
        let _ = error.print();
        return ExitCode::SUCCESS;
    }
    let mut text = error.render().to_string();
    if error.kind() == ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand {
        text.insert_str(0, "a command is missing\n\n");
    }
    say(text.strip_prefix("error: ").unwrap_or(&text).trim_end());
    WRONG_USAGE.into()
}

/// One report on stderr. Nothing can be done if that has gone as well.
fn say(text: &str) {
    let _ = writeln!(io::stderr(), "roommq: {text}");
}

/// Whoever read our stdout has seen enough (`roommq rooms | head -1`): no error.
fn reader_has_gone(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| {
        cause
            .downcast_ref::<io::Error>()
            .is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;
    use anyhow::Context;

    #[test]
    fn a_gone_reader_is_told_from_other_errors() {
        let gone = Err::<(), _>(io::Error::from(io::ErrorKind::BrokenPipe))
            .context("while writing")
            .unwrap_err();
        assert!(reader_has_gone(&gone));
        let full = anyhow::Error::from(io::Error::from(io::ErrorKind::StorageFull));
        assert!(!reader_has_gone(&full));
        assert!(!reader_has_gone(&anyhow::anyhow!("broken pipe")));
    }

    #[test]
    fn a_cause_is_told_once() {
        let error = anyhow::anyhow!("no such file")
            .context("users.toml cannot be written: no such file")
            .context("no password was set");
        assert_eq!(
            told(&error),
            "no password was set: users.toml cannot be written: no such file"
        );
        let error = anyhow::anyhow!("no such file").context("users.toml cannot be written");
        assert_eq!(told(&error), "users.toml cannot be written: no such file");
    }
}
