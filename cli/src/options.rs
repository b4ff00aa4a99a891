//! Options that several commands share.

use crate::address::ServerAddress;
use clap::Args;
use roommq_bridge::topics::{self, BadRoomName};
use roommq_config::{Flags, Sources};
use std::path::PathBuf;

/// `roommq serve`
#[derive(Debug, Clone, Default, PartialEq, Eq, Args)]
pub(crate) struct ServeArgs {
    #[command(flatten)]
    pub settings: SettingsArgs,
    /// Check everything that the start needs, as `roommq config check` does, and do not serve
    #[arg(long)]
    pub dry_run: bool,
}

/// Where the settings come from.
#[derive(Debug, Clone, Default, PartialEq, Eq, Args)]
pub(crate) struct SettingsArgs {
    /// Read settings from this TOML file; default: the file that `ROOMMQ_CONFIG` names, if any
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Listen only on this address, such as 127.0.0.1:1883; port 0 is replaced by a free port
    #[arg(long, value_name = "ADDR")]
    pub listen: Option<String>,
    /// Whether clients without credentials may connect
    #[arg(long, value_name = "true|false")]
    pub anonymous: Option<bool>,
    /// File with users and passwords, made by `roommq passwd`
    #[arg(long, value_name = "FILE")]
    pub users_file: Option<String>,
    /// error, warn, info, debug or trace, or tracing directives
    #[arg(long, value_name = "LEVEL")]
    pub log_level: Option<String>,
    /// human or json
    #[arg(long, value_name = "FORMAT")]
    pub log_format: Option<String>,
}

impl SettingsArgs {
    /// The sources of the settings, with the environment of this process.
    pub(crate) fn sources(&self) -> Sources {
        Sources {
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

/// The server, and the user to log in as.
#[derive(Debug, Clone, Args)]
pub(crate) struct LoginArgs {
    /// The server: `HOST:PORT` or `mqtt://HOST:PORT`, `mqtts://HOST:PORT` for TLS, or `unix:PATH`;
    /// the default port is 1883, and 8883 for TLS
    #[arg(
        long,
        env = "ROOMMQ_SERVER",
        value_name = "PLACE",
        default_value = "127.0.0.1:1883"
    )]
    pub server: ServerAddress,
    /// mqtts: PEM file with the CA of the server's certificate; default: the CAs that this system
    /// trusts
    #[arg(long, env = "ROOMMQ_CA", value_name = "FILE")]
    pub ca: Option<PathBuf>,
    /// mqtts: PEM file with your certificate, for a server that asks for one
    #[arg(long, env = "ROOMMQ_CERT", value_name = "FILE", requires = "key")]
    pub cert: Option<PathBuf>,
    /// mqtts: PEM file with the private key of --cert
    #[arg(long, env = "ROOMMQ_KEY", value_name = "FILE", requires = "cert")]
    pub key: Option<PathBuf>,
    /// Your user name; without it you are anonymous
    #[arg(long, env = "ROOMMQ_USER", value_name = "NAME")]
    pub user: Option<String>,
    /// File whose first line is the password; without it roommq asks for the password
    #[arg(
        long,
        env = "ROOMMQ_PASSWORD_FILE",
        value_name = "FILE",
        requires = "user"
    )]
    pub password_file: Option<PathBuf>,
}

impl LoginArgs {
    /// The TLS option that was given although the server is without TLS. It is an error: the user
    /// expects that the password is encrypted.
    pub(crate) fn unused_tls_option(&self) -> Option<&'static str> {
        if self.server.is_tls() {
            return None;
        }
        let given = self.ca.as_ref().map(|_| "--ca (or ROOMMQ_CA)");
        given.or(self.cert.as_ref().map(|_| "--cert (or ROOMMQ_CERT)"))
    }
}

/// Options of all client commands.
#[derive(Debug, Clone, Args)]
pub(crate) struct ClientArgs {
    #[command(flatten)]
    pub login: LoginArgs,
    /// The MQTT client id; it names an anonymous user
    #[arg(long, value_name = "ID")]
    pub client_id: Option<String>,
    /// Quality of service: 0 at most once, 1 at least once, 2 exactly once; default: 1 for
    /// messages, 0 for who and rooms
    #[arg(long, value_name = "LEVEL", value_parser = clap::value_parser!(u8).range(0..=2))]
    pub qos: Option<u8>,
}

/// Checks the name of a room.
pub(crate) fn room(text: &str) -> Result<String, BadRoomName> {
    topics::room_name(text).map(str::to_owned)
}
