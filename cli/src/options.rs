//! Options that several commands share.

use crate::address::ServerAddress;
use clap::Args;
use roommq_bridge::topics::{self, BadRoomName};
use roommq_config::{Flags, Sources};
use std::path::PathBuf;

/// Where settings come from.
#[derive(Debug, Clone, Default, PartialEq, Eq, Args)]
pub(crate) struct SettingsArgs {
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

impl SettingsArgs {
    /// The sources of the settings, this process's environment among them.
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
    pub server: ServerAddress,
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

impl LoginArgs {
    /// An option for TLS where none would be spoken: whoever gives it must not send a password in the clear.
    pub(crate) fn tls_in_vain(&self) -> Option<&'static str> {
        if self.server.is_tls() {
            return None;
        }
        let given = self.ca.as_ref().map(|_| "--ca (or ROOMMQ_CA)");
        given.or(self.cert.as_ref().map(|_| "--cert (or ROOMMQ_CERT)"))
    }
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

/// Checks the name of a room.
pub(crate) fn room(text: &str) -> Result<String, BadRoomName> {
    topics::room_name(text).map(str::to_owned)
}
