//! The command line of `RoomMQ`: the server and every client command.
//!
//! Architecture invariant: no rule about rooms lives here. The server's rules are the bridge's, plugged into
//! the broker by [`start`]; the client commands see only what any MQTT client sees.

mod args;
mod bench;
mod client;
mod config_command;
mod connect;
mod join;
mod logging;
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
mod typed;
mod who;

pub use args::Cli;
pub use serve::start;

use args::{Command, ConfigCommand};
use clap::Parser;
use std::ffi::OsString;
use std::io::{ErrorKind, Write};
use std::process::ExitCode;

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
            say(&format!("{error:#}"));
            ExitCode::FAILURE
        }
    }
}

fn dispatch(cli: Cli) -> anyhow::Result<ExitCode> {
    let json = cli.json;
    // Not locked: `serve`, `join` and `bench` write from where they are.
    let mut out = std::io::stdout();
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
            config_command::show(&source.source(), json, &mut out)?;
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

/// What clap says, under the program's own prefix; help and version are no errors.
fn usage(error: &clap::Error) -> ExitCode {
    if !error.use_stderr() {
        let _ = error.print();
        return ExitCode::SUCCESS;
    }
    let text = error.render().to_string();
    say(text.strip_prefix("error: ").unwrap_or(&text).trim_end());
    ExitCode::from(2)
}

/// One report on stderr. Nothing can be done if that has gone as well.
fn say(text: &str) {
    let _ = writeln!(std::io::stderr(), "roommq: {text}");
}

/// Whoever read our stdout has seen enough (`roommq rooms | head -1`): no error.
fn reader_has_gone(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| {
        cause
            .downcast_ref::<std::io::Error>()
            .is_some_and(|io| io.kind() == ErrorKind::BrokenPipe)
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;
    use anyhow::Context;

    #[test]
    fn a_gone_reader_is_told_from_other_errors() {
        let gone = Err::<(), _>(std::io::Error::from(ErrorKind::BrokenPipe))
            .context("while writing")
            .unwrap_err();
        assert!(reader_has_gone(&gone));
        let full = anyhow::Error::from(std::io::Error::from(ErrorKind::StorageFull));
        assert!(!reader_has_gone(&full));
        assert!(!reader_has_gone(&anyhow::anyhow!("broken pipe")));
    }
}
