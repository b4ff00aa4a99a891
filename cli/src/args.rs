//! The command line: the commands and the global options. Each command's file has its own options.

use crate::bench::BenchArgs;
use crate::config_command::ConfigCommand;
use crate::join::JoinArgs;
use crate::options::{LoginArgs, ServeArgs};
use crate::passwd::PasswdArgs;
use crate::rooms::RoomsArgs;
use crate::send::SendArgs;
use crate::token::TokenArgs;
use crate::who::WhoArgs;
use clap::error::ErrorKind;
use clap::{CommandFactory, Parser, Subcommand};

/// Version and commit.
const VERSION: &str = concat!(env!("CARGO_PKG_VERSION"), " (", env!("BUILD_COMMIT"), ")");

/// The same, and what the server speaks.
const LONG_VERSION: &str = concat!(
    env!("CARGO_PKG_VERSION"),
    " (",
    env!("BUILD_COMMIT"),
    ")\nprotocols: MQTT 5.0, MQTT 3.1.1, MQTT 3.1\n",
    "transports: TCP, TLS 1.3, TLS 1.2, WebSocket, Unix sockets, PROXY protocol v1 and v2\n",
    "logins: password, token (JWT), SCRAM-SHA-256, client certificates",
);

/// An MQTT broker in which rooms/NAME is a room. Without a command: serve.
#[derive(Debug, Parser)]
#[command(name = "roommq", version = VERSION, long_version = LONG_VERSION)]
pub struct Cli {
    /// The command.
    #[command(subcommand)]
    pub(crate) command: Option<Command>,
    /// Options of `roommq` without a command, which is `roommq serve`.
    #[command(flatten)]
    pub(crate) serve: ServeArgs,
    /// Print facts as JSON, one value a line
    #[arg(long, global = true)]
    pub(crate) json: bool,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run the server (the default)
    Serve(ServeArgs),
    /// Join a room: see what happens in it, and write to it
    Join(JoinArgs),
    /// Send a message to a room, or each line of stdin as a message
    Send(SendArgs),
    /// Show who is in a room, without joining it
    Who(WhoArgs),
    /// List the rooms that you may see
    Rooms(RoomsArgs),
    /// Set, delete or list the passwords of a users file
    Passwd(PasswdArgs),
    /// Make a token that a client sends as its password, or a key for tokens
    Token(TokenArgs),
    /// Show or check settings
    #[command(subcommand)]
    Config(ConfigCommand),
    /// Measure a broker: RoomMQ or any other
    Bench(BenchArgs),
}

impl Cli {
    /// Checks that clap cannot express: server options before a command would be ignored, and TLS
    /// options need a server with TLS.
    pub(crate) fn checked(self) -> Result<Cli, clap::Error> {
        if self.command.is_some() && self.serve != ServeArgs::default() {
            return Err(Cli::command().error(
                ErrorKind::ArgumentConflict,
                "options of the server belong after the command, as in `roommq serve --listen ADDR`",
            ));
        }
        let login = self.command.as_ref().and_then(Command::login);
        if let Some(option) = login.and_then(LoginArgs::unused_tls_option) {
            return Err(Cli::command().error(
                ErrorKind::ArgumentConflict,
                format!(
                    "{option} is for TLS, and --server is without: write --server mqtts://HOST:PORT"
                ),
            ));
        }
        Ok(self)
    }
}

impl Command {
    /// Whether it connects to a server.
    pub(crate) fn is_client(&self) -> bool {
        self.login().is_some()
    }

    fn login(&self) -> Option<&LoginArgs> {
        match self {
            Command::Join(args) => Some(&args.client.login),
            Command::Send(args) => Some(&args.client.login),
            Command::Who(args) => Some(&args.client.login),
            Command::Rooms(args) => Some(&args.client.login),
            Command::Bench(args) => Some(&args.login),
            Command::Serve(_) | Command::Passwd(_) | Command::Token(_) | Command::Config(_) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;
    use std::path::PathBuf;

    fn parse(line: &str) -> Result<Cli, clap::Error> {
        Cli::try_parse_from(line.split_whitespace()).and_then(Cli::checked)
    }

    #[test]
    fn the_definition_is_valid() {
        Cli::command().debug_assert();
    }

    #[test]
    fn the_variables_of_all_options_are_known() {
        let command = Cli::command();
        let commands = command.get_subcommands();
        let options = commands.flat_map(clap::Command::get_arguments);
        let variables = options.filter_map(|option| option.get_env()?.to_str());
        let variables = variables.map(|name| (name.to_owned(), "x".to_owned()));
        let variables: std::collections::BTreeMap<_, _> = variables.collect();
        assert!(variables.len() > 3);
        assert_eq!(roommq_config::check_environment(&variables), Ok(()));
    }

    #[test]
    fn no_command_means_serve() {
        let cli = parse("roommq --listen 127.0.0.1:0 --json").unwrap();
        assert!(cli.command.is_none());
        assert!(cli.json);
        assert_eq!(cli.serve.settings.listen.as_deref(), Some("127.0.0.1:0"));
    }

    #[test]
    fn options_before_a_command_are_an_error() {
        let error = parse("roommq --listen 127.0.0.1:0 who lobby").unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ArgumentConflict);
        assert_eq!(error.exit_code(), 2);
    }

    #[test]
    fn json_is_accepted_before_and_after_a_command() {
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
    fn tls_options_without_tls_are_an_error() {
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
            "roommq passwd users.toml al --delete --list",
            "roommq passwd users.toml al --list",
            "roommq passwd users.toml --delete",
            "roommq token key.json",
            "roommq token key.json ~x",
            "roommq token key.json al --new-key",
            "roommq token key.json al --for never",
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
