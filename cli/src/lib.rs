//! The command line of `RoomMQ`: the server and all client commands.
//!
//! Architecture invariant: this crate has no rule about rooms. [`start`] connects the bridge, which
//! has the rules, to the broker. The client commands see only what any MQTT client sees.

mod address;
mod args;
mod bench;
mod bind_error;
mod chat;
mod client;
mod config_command;
mod connect;
mod credentials;
mod join;
mod json_lines;
mod log_writer;
mod logging;
mod options;
mod passwd;
mod peek;
mod refusal;
mod reloading;
mod room_view;
mod rooms;
mod send;
mod serve;
mod shown;
mod signals;
mod table;
mod tls;
mod token;
mod typed;
mod who;

pub use args::Cli;
pub use serve::start;

use args::Command;
use clap::Parser;
use clap::error::{ContextKind, ContextValue, ErrorKind};
use config_command::ConfigCommand;
use options::ServeArgs;
use roommq_config::{ConfigError, Location, Problem, Sources};
use std::ffi::OsString;
use std::io::{self, Write};
use std::process::ExitCode;
use std::sync::mpsc::sync_channel;
use std::time::Duration;

/// The exit code if the command line is wrong.
const WRONG_USAGE: u8 = 2;

/// The longest wait for a reader of stderr.
const SAY_TIME: Duration = Duration::from_secs(5);

/// Runs the command line; the first argument is the program's name. The exit code is 0 for success,
/// 1 for a failure (stderr has the reason), 2 if the command line is wrong.
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
        Err(error) if is_broken_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            say(&one_line(&error));
            if is_wrong_flag(&error) {
                WRONG_USAGE.into()
            } else {
                ExitCode::FAILURE
            }
        }
    }
}

/// Whether a flag of the command line has a wrong value.
fn is_wrong_flag(error: &anyhow::Error) -> bool {
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
    if cli.command.as_ref().is_some_and(Command::is_client) {
        roommq_config::check_environment(&roommq_config::process_environment())?;
    }
    // Not locked: `serve`, `join` and `bench` write to it themselves.
    let mut out = io::stdout();
    let mut good = true;
    match cli.command {
        None => good = serve_or_check(&cli.serve, json, &mut out)?,
        Some(Command::Serve(args)) => good = serve_or_check(&args, json, &mut out)?,
        Some(Command::Join(join)) => join::run(&join, json)?,
        Some(Command::Send(send)) => send::run(&send, json, &mut out)?,
        Some(Command::Who(who)) => who::run(&who, json, &mut out)?,
        Some(Command::Rooms(rooms)) => rooms::run(&rooms, json, &mut out)?,
        Some(Command::Passwd(passwd)) => passwd::run(&passwd, json, &mut out)?,
        Some(Command::Token(token)) => token::run(&token, json, &mut out)?,
        Some(Command::Bench(bench)) => bench::run(bench, json)?,
        Some(Command::Config(ConfigCommand::Show(source))) => {
            config_command::show(&source.sources(), json, &mut out)?;
            out.flush()?;
        }
        Some(Command::Config(ConfigCommand::Check { file })) => {
            let file = Some(file);
            let sources = Sources {
                file,
                ..Sources::default()
            };
            good = config_command::check(&sources, json, &mut out)?;
        }
    }
    Ok(if good {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// Returns whether a dry run has found no problem.
fn serve_or_check(args: &ServeArgs, json: bool, out: &mut impl Write) -> anyhow::Result<bool> {
    if args.dry_run {
        return config_command::check(&args.settings.sources(), json, out);
    }
    serve::run(&args.settings, json).map(|()| true)
}

/// The error and its causes in one line. A cause whose text is already in the line is left out.
fn one_line(error: &anyhow::Error) -> String {
    error.chain().fold(String::new(), |line, cause| {
        let cause = cause.to_string();
        match line.as_str() {
            "" => cause,
            before if before.contains(&cause) => line,
            before => format!("{before}: {cause}"),
        }
    })
}

/// Prints clap's error under the program's prefix. Help and version are no errors.
fn usage(error: &clap::Error) -> ExitCode {
    if !error.use_stderr() {
        let _ = error.print();
        return ExitCode::SUCCESS;
    }
    let mut text = error.render().to_string();
    if error.kind() == ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand {
        text.insert_str(0, "a command is missing\n\n");
    }
    if let Some(tip) = tip(error) {
        text.insert_str(text.find("\n\n").unwrap_or(text.len()), tip);
    }
    say(text.strip_prefix("error: ").unwrap_or(&text).trim_end());
    WRONG_USAGE.into()
}

/// What to write instead of an option that other programs have.
fn tip(error: &clap::Error) -> Option<&'static str> {
    let Some(ContextValue::String(option)) = error.get(ContextKind::InvalidArg) else {
        return None;
    };
    Some(match option.as_str() {
        "--port" | "-p" | "--host" | "--bind" | "--address" => {
            "\n\n  tip: the server takes `--listen 127.0.0.1:PORT`, and clients take `--server HOST:PORT`"
        }
        "-c" => "\n\n  tip: write `--config FILE`",
        "-u" => "\n\n  tip: write `--user NAME`",
        "-P" | "--pw" | "--password" => "\n\n  tip: write `--password-file FILE`",
        "-v" | "--verbose" => "\n\n  tip: write `--log-level debug`",
        "-d" | "--daemon" => {
            "\n\n  tip: the server runs in the foreground; let a service manager start it"
        }
        _ => return None,
    })
}

/// Writes one report to stderr. An error of stderr is ignored, and a pipe that nobody reads delays the
/// end of the process by [`SAY_TIME`] only.
fn say(text: &str) {
    let report = format!("roommq: {text}\n");
    let (done, written) = sync_channel(1);
    std::thread::spawn(move || {
        let _ = io::stderr().write_all(report.as_bytes());
        let _ = done.send(());
    });
    let _ = written.recv_timeout(SAY_TIME);
}

/// Whether the reader of stdout has closed the pipe (`roommq rooms | head -1`), which is no error.
fn is_broken_pipe(error: &anyhow::Error) -> bool {
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
    fn a_broken_pipe_is_distinguished_from_other_errors() {
        let gone = Err::<(), _>(io::Error::from(io::ErrorKind::BrokenPipe))
            .context("while writing")
            .unwrap_err();
        assert!(is_broken_pipe(&gone));
        let full = anyhow::Error::from(io::Error::from(io::ErrorKind::StorageFull));
        assert!(!is_broken_pipe(&full));
        assert!(!is_broken_pipe(&anyhow::anyhow!("broken pipe")));
    }

    #[test]
    fn a_cause_is_shown_once() {
        let error = anyhow::anyhow!("no such file")
            .context("users.toml cannot be written: no such file")
            .context("no password was set");
        assert_eq!(
            one_line(&error),
            "no password was set: users.toml cannot be written: no such file"
        );
        let error = anyhow::anyhow!("no such file").context("users.toml cannot be written");
        assert_eq!(
            one_line(&error),
            "users.toml cannot be written: no such file"
        );
    }
}
