//! What may be typed. What it means is decided by the commands.

use crate::address::Address;
use crate::bench::BenchArgs;
use clap::error::ErrorKind;
use clap::{Args, CommandFactory, Parser, Subcommand};
use roommq_bridge::topics::{self, BadRoomName, BadUserName};
use roommq_config::{Flags, Source};
use std::path::PathBuf;

/// An MQTT broker in which rooms/NAME is a room. Without a command: serve.
#[derive(Debug, Parser)]
#[command(name = "roommq", version, disable_help_subcommand = true)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub(crate) command: Option<Command>,
    /// For the bare `roommq`, which is `roommq serve`.
    #[command(flatten)]
    pub(crate) serve: SourceArgs,
    /// Print facts as JSON, one value a line
    #[arg(long, global = true)]
    pub(crate) json: bool,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run the server (the default)
    Serve(SourceArgs),
    /// Enter a room: see what happens in it, write into it
    Join(JoinArgs),
    /// Send a message to a room, or each line of stdin as one
    Send(SendArgs),
    /// Show who is in a room, without entering it
    Who(WhoArgs),
    /// List the rooms that you may see
    Rooms(RoomsArgs),
    /// Set a user's password in a users file
    Passwd(PasswdArgs),
    /// Show or check settings
    #[command(subcommand)]
    Config(ConfigCommand),
    /// Measure a broker: this one or any other
    Bench(BenchArgs),
}

/// Where settings come from.
#[derive(Debug, Clone, Default, PartialEq, Eq, Args)]
pub(crate) struct SourceArgs {
    /// Read settings from this TOML file; without it, from the one that `ROOMMQ_CONFIG` names, if any
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Listen on this address alone, as 127.0.0.1:1883; port 0 takes a free one
    #[arg(long, value_name = "ADDR")]
    pub listen: Option<String>,
    /// Whether clients without credentials are let in
    #[arg(long, value_name = "true|false")]
    pub anonymous: Option<bool>,
    /// The users and their passwords, a file made by `roommq passwd`
    #[arg(long, value_name = "FILE")]
    pub users_file: Option<String>,
    /// error, warn, info, debug or trace, or tracing directives
    #[arg(long, value_name = "LEVEL")]
    pub log_level: Option<String>,
    /// human or json
    #[arg(long, value_name = "FORMAT")]
    pub log_format: Option<String>,
}

/// Which server, and as whom.
#[derive(Debug, Clone, Args)]
pub(crate) struct LoginArgs {
    /// The server: `HOST:PORT` or `mqtt://HOST:PORT`, `mqtts://HOST:PORT` for TLS, or `unix:PATH`; a port left out
    /// is 1883, and 8883 for TLS
    #[arg(
        long,
        env = "ROOMMQ_SERVER",
        value_name = "PLACE",
        default_value = "127.0.0.1:1883"
    )]
    pub server: Address,
    /// mqtts: PEM file with the CA that the server's certificate comes from; without it, those that this
    /// system trusts
    #[arg(long, env = "ROOMMQ_CA", value_name = "FILE")]
    pub ca: Option<PathBuf>,
    /// mqtts: PEM file with your own certificate, for a server that asks for one
    #[arg(long, env = "ROOMMQ_CERT", value_name = "FILE", requires = "key")]
    pub cert: Option<PathBuf>,
    /// mqtts: PEM file with the private key of --cert
    #[arg(long, env = "ROOMMQ_KEY", value_name = "FILE", requires = "cert")]
    pub key: Option<PathBuf>,
    /// Your user name; without one you are anonymous
    #[arg(long, env = "ROOMMQ_USER", value_name = "NAME")]
    pub user: Option<String>,
    /// A file whose first line is the password; without one you are asked
    #[arg(
        long,
        env = "ROOMMQ_PASSWORD_FILE",
        value_name = "FILE",
        requires = "user"
    )]
    pub password_file: Option<PathBuf>,
}

/// What all client commands take.
#[derive(Debug, Clone, Args)]
pub(crate) struct ClientArgs {
    #[command(flatten)]
    pub login: LoginArgs,
    /// The MQTT client id; an anonymous user is named by it
    #[arg(long, value_name = "ID")]
    pub client_id: Option<String>,
    /// Quality of service: 0 at most once, 1 at least once, 2 exactly once; by default 1 for messages and 0
    /// for a look
    #[arg(long, value_name = "LEVEL", value_parser = clap::value_parser!(u8).range(0..=2))]
    pub qos: Option<u8>,
}

/// `roommq join`
#[derive(Debug, Args)]
#[command(
    after_help = "On a terminal: type lines; /who shows who is here, /quit or Ctrl-D leaves.\n\
    Otherwise: what happens in the room is written to stdout, a line each; lines of a piped stdin are sent.\n\
    After the end of stdin it goes on listening until it is interrupted, unless --leave-at-eof is given."
)]
pub(crate) struct JoinArgs {
    /// The room
    #[arg(value_parser = room)]
    pub room: String,
    /// Leave when stdin has ended and all of it was taken by the server
    #[arg(long)]
    pub leave_at_eof: bool,
    #[command(flatten)]
    pub client: ClientArgs,
}

/// `roommq send`
#[derive(Debug, Args)]
pub(crate) struct SendArgs {
    /// The room
    #[arg(value_parser = room)]
    pub room: String,
    /// The message; words are joined by a space. Without it each line of stdin is one message
    pub text: Vec<String>,
    /// Keep it for who comes later, in place of the one kept so far
    #[arg(long)]
    pub retain: bool,
    /// Send below the room, to rooms/ROOM/LEVELS
    #[arg(long, value_name = "LEVELS", value_parser = levels)]
    pub topic: Option<String>,
    #[command(flatten)]
    pub client: ClientArgs,
}

/// `roommq who`
#[derive(Debug, Args)]
pub(crate) struct WhoArgs {
    /// The room
    #[arg(value_parser = room)]
    pub room: String,
    #[command(flatten)]
    pub client: ClientArgs,
}

/// `roommq rooms`
#[derive(Debug, Args)]
pub(crate) struct RoomsArgs {
    #[command(flatten)]
    pub client: ClientArgs,
}

/// `roommq passwd`
#[derive(Debug, Args)]
#[command(
    after_help = "The password is asked for twice on a terminal; otherwise it is the first line of stdin."
)]
pub(crate) struct PasswdArgs {
    /// The users file; made if it is not there
    pub file: PathBuf,
    /// The user
    #[arg(value_parser = user)]
    pub user: String,
    /// Keep nothing for logins by SCRAM-SHA-256: this user shows its password to log in
    #[arg(long)]
    pub no_scram: bool,
    /// Read `auth.scram_iterations` from this TOML file; without it, from the one that `ROOMMQ_CONFIG` names, if any
    #[arg(long, value_name = "FILE", conflicts_with = "no_scram")]
    pub config: Option<PathBuf>,
}

/// `roommq config`
#[derive(Debug, Subcommand)]
pub(crate) enum ConfigCommand {
    /// Show the settings in effect, and where each comes from
    Show(SourceArgs),
    /// Check a settings file
    Check {
        /// The file
        file: PathBuf,
    },
}

impl Cli {
    /// What clap cannot say: the options of the bare `roommq` stand before no command, where they
    /// would be ignored.
    pub(crate) fn checked(self) -> Result<Cli, clap::Error> {
        if self.command.is_some() && self.serve != SourceArgs::default() {
            return Err(Cli::command().error(
                ErrorKind::ArgumentConflict,
                "options of the server belong behind the command, as in `roommq serve --listen ADDR`",
            ));
        }
        let login = self.command.as_ref().and_then(Command::login);
        if let Some(option) = login.and_then(LoginArgs::tls_in_vain) {
            return Err(Cli::command().error(
                ErrorKind::ArgumentConflict,
                format!(
                    "{option} is for TLS, and the server is named without: write --server mqtts://HOST:PORT"
                ),
            ));
        }
        Ok(self)
    }
}

impl Command {
    fn login(&self) -> Option<&LoginArgs> {
        match self {
            Command::Join(args) => Some(&args.client.login),
            Command::Send(args) => Some(&args.client.login),
            Command::Who(args) => Some(&args.client.login),
            Command::Rooms(args) => Some(&args.client.login),
            Command::Bench(args) => Some(&args.login),
            Command::Serve(_) | Command::Passwd(_) | Command::Config(_) => None,
        }
    }
}

impl LoginArgs {
    /// An option for TLS where none would be spoken: whoever gives it must not send a password in the clear.
    fn tls_in_vain(&self) -> Option<&'static str> {
        if self.server.is_tls() {
            return None;
        }
        let given = self.ca.as_ref().map(|_| "--ca (or ROOMMQ_CA)");
        given.or(self.cert.as_ref().map(|_| "--cert (or ROOMMQ_CERT)"))
    }
}

fn room(text: &str) -> Result<String, BadRoomName> {
    topics::room_name(text).map(str::to_owned)
}

fn user(text: &str) -> Result<String, BadUserName> {
    topics::user_name(text).map(str::to_owned)
}

/// Levels of a topic below a room.
fn levels(text: &str) -> Result<String, String> {
    if text.is_empty() || text.contains(['+', '#', '\0']) {
        return Err("it is one or more levels without + and #, like game/moves".to_owned());
    }
    Ok(text.to_owned())
}

impl SourceArgs {
    /// The sources of the settings, this process's environment among them.
    pub(crate) fn source(&self) -> Source {
        Source {
            file: self.config.clone(),
            flags: Flags {
                listen: self.listen.clone(),
                anonymous: self.anonymous,
                users_file: self.users_file.clone(),
                log_level: self.log_level.clone(),
                log_format: self.log_format.clone(),
            },
            environment: roommq_config::process_environment(),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;

    fn parse(line: &str) -> Result<Cli, clap::Error> {
        Cli::try_parse_from(line.split_whitespace()).and_then(Cli::checked)
    }

    #[test]
    fn the_definition_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn bare_means_serve() {
        let cli = parse("roommq --listen 127.0.0.1:0 --json").unwrap();
        assert!(cli.command.is_none());
        assert!(cli.json);
        assert_eq!(cli.serve.listen.as_deref(), Some("127.0.0.1:0"));
    }

    #[test]
    fn options_before_a_command_are_not_dropped() {
        let error = parse("roommq --listen 127.0.0.1:0 who lobby").unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ArgumentConflict);
        assert_eq!(error.exit_code(), 2);
    }

    #[test]
    fn json_is_taken_before_and_behind_a_command() {
        assert!(parse("roommq --json who lobby").unwrap().json);
        assert!(parse("roommq who lobby --json").unwrap().json);
        assert!(parse("roommq config show --json").unwrap().json);
    }

    #[test]
    fn client_options() {
        let cli =
            parse("roommq send lobby --server h:1 --user a --password-file p --qos 0 hello there")
                .unwrap();
        let Some(Command::Send(send)) = cli.command else {
            panic!("not send")
        };
        assert_eq!(send.text, ["hello", "there"]);
        assert_eq!(send.client.login.server.to_string(), "h:1");
        assert_eq!(send.client.login.user.as_deref(), Some("a"));
        assert_eq!(send.client.qos, Some(0));
    }

    #[test]
    fn tls_options() {
        let line = "roommq who lobby --server mqtts://h --ca ca.pem --cert me.pem --key me.key";
        let Some(Command::Who(who)) = parse(line).unwrap().command else {
            panic!("not who")
        };
        let login = who.client.login;
        assert_eq!(login.server.to_string(), "mqtts://h:8883");
        for (file, name) in [
            (login.ca, "ca.pem"),
            (login.cert, "me.pem"),
            (login.key, "me.key"),
        ] {
            assert_eq!(file, Some(PathBuf::from(name)));
        }
        parse("roommq bench connect --server mqtts://127.0.0.1 --ca ca.pem").unwrap();
    }

    #[test]
    fn tls_options_without_tls_are_not_dropped() {
        for line in [
            "roommq who lobby --ca ca.pem",
            "roommq send lobby --server h:8883 --ca ca.pem x",
            "roommq join lobby --server unix:/x --cert a --key b",
            "roommq bench --server mqtt://127.0.0.1 --ca ca.pem",
        ] {
            let error = parse(line).unwrap_err();
            assert_eq!(error.exit_code(), 2, "{line}");
            assert!(error.to_string().contains("mqtts://"), "{error}");
        }
    }

    #[test]
    fn wrong_usage() {
        for line in [
            "roommq who lobby --server mqtts://h --cert a",
            "roommq who lobby --server mqtts://h --key a",
            "roommq who lobby --server ws://h/mqtt",
            "roommq join",
            "roommq fly",
            "roommq send lobby --qos 3 x",
            "roommq who lobby --password-file p",
            "roommq passwd users.toml",
            "roommq config",
            "roommq join no/room",
            "roommq join _room",
            "roommq who lobby --server host:port",
            "roommq send lobby --topic a/# x",
            "roommq send lobby --topic=+ x",
            "roommq send lobby --topic= x",
            "roommq passwd users.toml ~x",
            "roommq passwd users.toml me",
            "roommq bench --server a:b:1",
        ] {
            assert_eq!(parse(line).unwrap_err().exit_code(), 2, "{line}");
        }
    }
}
