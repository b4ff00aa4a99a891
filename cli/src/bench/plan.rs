//! The checked plan of a benchmark run.

use super::args::{BenchArgs, Scenario};
use super::client::{ClientSpec, Dialer};
use super::stream::TlsOptions;
use super::wire::{MqttVersion, STAMP_BYTES};
use crate::address::{ServerAddress, bracketed};
use crate::options::LoginArgs;
use crate::{connect, tls};
use anyhow::{Context, bail};
use std::net::{SocketAddr, ToSocketAddrs};
use std::sync::Arc;
use std::time::Duration;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::client::Resumption;
use tokio_rustls::rustls::pki_types::ServerName;

/// The numbers of rooms and clients.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LoadShape {
    /// Rooms.
    pub rooms: u32,
    /// Members of each room.
    pub members: u32,
    /// Publishers of each room.
    pub publishers: u32,
}

/// A checked run.
#[derive(Clone)]
pub struct Plan {
    /// The options as typed.
    pub asked: BenchArgs,
    /// The server and how to log in.
    pub dialer: Dialer,
    /// Bytes of payload, at least those of a stamp.
    pub payload: usize,
    /// Measured time.
    pub measured: Duration,
    /// Messages of each publisher instead of a measured time.
    pub messages: Option<u64>,
}

impl Plan {
    /// Checks the options.
    ///
    /// # Errors
    /// The server is unknown or on another machine, the password file cannot be read, or a number is out of
    /// range.
    pub fn new(args: BenchArgs) -> anyhow::Result<Plan> {
        let server = resolve(&args.login.server, args.i_own_this_server)?;
        if !(args.seconds > 0.0 && args.seconds <= 3600.0) {
            bail!(
                "--seconds is {}; it must be above 0 and at most 3600",
                args.seconds
            );
        }
        if !(args.rate >= 1.0 && args.rate <= 1e6) {
            bail!("--rate is {}; it must be from 1 to 1000000", args.rate);
        }
        if !args.topic.contains("{room}")
            || args.topic.contains(['+', '#'])
            || args.topic.len() > 1000
        {
            bail!("--topic must hold {{room}}, no wildcard, and at most 1,000 bytes");
        }
        let version = match args.protocol {
            3 | 4 => MqttVersion::V3,
            _ => MqttVersion::V5,
        };
        Ok(Plan {
            dialer: Dialer {
                server,
                login: connect::credentials(&args.login)?,
                secure: secure(&args.login)?,
                version,
                qos: args.qos,
            },
            payload: usize::try_from(args.payload)?.max(STAMP_BYTES),
            measured: Duration::from_secs_f64(args.seconds),
            messages: args.messages.map(u64::from),
            asked: args,
        })
    }

    /// The numbers of the options, with these defaults.
    pub fn shape(&self, rooms: u32, members: u32) -> LoadShape {
        LoadShape {
            rooms: self.asked.rooms.unwrap_or(rooms),
            members: self.asked.members.unwrap_or(members),
            publishers: self.asked.publishers,
        }
    }

    /// The most connections that are open at once.
    pub fn connections(&self) -> u64 {
        let with = |rooms, members| {
            let shape = self.shape(rooms, members);
            u64::from(shape.rooms) * (u64::from(shape.members) + u64::from(shape.publishers))
        };
        match self.asked.scenario {
            Scenario::Fanout => with(1, 100),
            Scenario::Paced => with(1, 10),
            Scenario::Rooms => {
                let shape = self.shape(1000, 1);
                let joining = shape.rooms.div_ceil(self.asked.rooms_per_connection);
                u64::from(joining) * u64::from(shape.members) + 1
            }
            Scenario::Connect => u64::from(self.asked.clients),
            Scenario::All => 1100,
        }
    }

    /// The time before measuring: up to a second.
    pub fn warm_up(&self) -> Duration {
        if self.messages.is_some() {
            return Duration::ZERO;
        }
        self.measured.min(Duration::from_secs(1))
    }

    /// The topic of a room. It contains the process id, so that two benchmarks do not mix.
    pub fn topic(&self, room: u32) -> String {
        let name = format!("{}-{room}", std::process::id());
        self.asked.topic.replace("{room}", &name)
    }

    /// Client `number`, which joins `rooms`.
    pub fn client(&self, number: usize, rooms: impl IntoIterator<Item = u32>) -> ClientSpec {
        ClientSpec {
            client_id: format!("bench-{}-{number}", std::process::id()),
            filters: rooms.into_iter().map(|room| self.topic(room)).collect(),
        }
    }
}

/// The TLS options, if the server has TLS. TLS sessions are not resumed, because each connection is
/// a different client.
fn secure(login: &LoginArgs) -> anyhow::Result<Option<TlsOptions>> {
    let Some(mut config) = tls::config(login)? else {
        return Ok(None);
    };
    config.resumption = Resumption::disabled();
    let ServerAddress::Host { host, .. } = &login.server else {
        return Ok(None);
    };
    let name = ServerName::try_from(host.clone())
        .with_context(|| format!("a certificate cannot be for {host}"))?;
    let connector = TlsConnector::from(Arc::new(config));
    Ok(Some(TlsOptions { connector, name }))
}

/// The address of `server`. An address of another machine is an error unless `any_machine`.
fn resolve(server: &ServerAddress, any_machine: bool) -> anyhow::Result<SocketAddr> {
    let ServerAddress::Host { host, port, .. } = server else {
        bail!(
            "roommq bench does not support Unix sockets: name a listener for mqtt:// or mqtts://"
        );
    };
    let addresses: Vec<SocketAddr> = format!("{}:{port}", bracketed(host))
        .to_socket_addrs()
        .with_context(|| format!("the address of {server} cannot be found"))?
        .collect();
    let here = |address: &&SocketAddr| address.ip().to_canonical().is_loopback();
    if let Some(address) = addresses.iter().find(|address| !here(address))
        && !any_machine
    {
        bail!(
            "{server} is {}, another machine's address. roommq bench loads a server to its limit, so it \
             goes to this machine only (127.0.0.1 or ::1); add --i-own-this-server if that one is yours \
             to load",
            address.ip()
        );
    }
    // `localhost` may have both; more servers listen on IPv4.
    addresses
        .iter()
        .find(|address| address.is_ipv4())
        .or(addresses.first())
        .copied()
        .with_context(|| format!("{server} has no address"))
}

#[cfg(test)]
pub(crate) mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct CommandLine {
        #[command(flatten)]
        bench: BenchArgs,
    }

    /// The options as the command line would give them.
    pub fn typed(words: &[&str]) -> BenchArgs {
        CommandLine::try_parse_from(["bench"].iter().chain(words))
            .unwrap()
            .bench
    }

    fn refusal(words: &[&str]) -> String {
        Plan::new(typed(words)).err().unwrap().to_string()
    }

    #[test]
    fn another_machine_is_refused_unless_owned() {
        for server in [
            "mqtts://192.0.2.1",
            "192.0.2.1:1883",
            "[2001:db8::1]:1883",
            "0.0.0.0:1883",
        ] {
            let text = refusal(&["--server", server]);
            assert!(text.contains("--i-own-this-server"), "{text}");
            Plan::new(typed(&["--server", server, "--i-own-this-server"])).unwrap();
        }
        for server in [
            "127.0.0.1:1",
            "127.9.9.9:1",
            "[::1]:1",
            "[::ffff:127.0.0.1]:1",
        ] {
            Plan::new(typed(&["--server", server])).unwrap();
        }
    }

    #[test]
    fn errors_name_the_option() {
        assert!(refusal(&["--server", "127.0.0.1:1", "--seconds", "0"]).contains("--seconds"));
        assert!(refusal(&["--server", "127.0.0.1:1", "--seconds", "NaN"]).contains("--seconds"));
        assert!(refusal(&["--server", "127.0.0.1:1", "--rate", "0"]).contains("--rate"));
        assert!(refusal(&["--server", "127.0.0.1:1", "--topic", "a/b"]).contains("{room}"));
        assert!(refusal(&["--server", "127.0.0.1:1", "--topic", "{room}/#"]).contains("wildcard"));
    }

    #[test]
    fn the_scheme_of_the_server_decides_about_tls() {
        let plan = Plan::new(typed(&["--server", "mqtt://127.0.0.1"])).unwrap();
        assert!(plan.dialer.secure.is_none());
        assert_eq!(plan.dialer.server.port(), 1883);
        let told = refusal(&["--server", "mqtts://127.0.0.1", "--ca", "/nowhere/ca.pem"]);
        assert!(told.contains("--ca /nowhere/ca.pem"), "{told}");
        assert!(refusal(&["--server", "unix:/x"]).contains("mqtts://"));
    }

    #[test]
    fn a_seat_joins_its_rooms_under_names_of_this_run() {
        let plan = Plan::new(typed(&["--server", "127.0.0.1:1"])).unwrap();
        let spec = plan.client(3, [0, 1]);
        let run = std::process::id();
        assert_eq!(spec.client_id, format!("bench-{run}-3"));
        assert_eq!(
            spec.filters,
            [
                format!("rooms/bench-{run}-0/chat"),
                format!("rooms/bench-{run}-1/chat")
            ]
        );
    }
}
