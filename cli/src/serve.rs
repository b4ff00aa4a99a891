//! `roommq serve`: connects settings, users, the bridge and the broker.

use crate::bind_error;
use crate::credentials::load_credentials;
use crate::logging::{self, Log};
use crate::options::SettingsArgs;
use crate::reloading::{FileWatch, Reloader};
use crate::signals::{SignalAction, Signals};
use anyhow::{Context, anyhow, bail};
use roommq_bridge::Bridge;
use roommq_broker::policy::Policy;
use roommq_broker::{ListenAddress, Options, Server, StartError};
use roommq_config::{Loaded, Settings, Sources};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use serde_json::json;
use std::io::Write;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

/// The default port of client commands.
const PORT: u16 = 1883;

/// The longest wait for the last log lines to be written.
const LAST_LINES_TIME: Duration = Duration::from_secs(1);

/// Starts a server in this process, and returns when it listens. [`Server::shutdown`] ends it.
///
/// # Errors
/// The users file cannot be read, or a listener cannot be opened.
pub fn start(settings: &Settings) -> anyhow::Result<Server> {
    start_with(settings).map(|(server, _)| server)
}

/// The same with the policy of the server, which [`Reloader`] changes.
fn start_with(settings: &Settings) -> anyhow::Result<(Server, Arc<Bridge>)> {
    let bridge = Bridge::new(settings, load_credentials(settings)?);
    let options = Options {
        listeners: settings.listeners.clone(),
        limits: settings.limits.clone(),
        lanes: settings.lanes.clone(),
        sys_interval: settings.sys.interval,
    };
    let policy: Arc<dyn Policy> = bridge.clone();
    let started = Server::start(options, &policy, bridge.as_ref());
    let server = started.map_err(|error| match error {
        StartError::Bind(error) => anyhow!(bind_error::text(&error)),
        error => error.into(),
    })?;
    Ok((server, bridge))
}

pub(crate) fn run(source: &SettingsArgs, json: bool) -> anyhow::Result<()> {
    let sources = source.sources();
    // Taken first, so that a file that changes meanwhile is read again.
    let watch = FileWatch::new(&sources);
    let loaded = roommq_config::load(&sources)?;
    let log = logging::start(&loaded.settings.log)?;
    let ended = serve(sources, loaded, watch, &log, json);
    log.writer.flush(LAST_LINES_TIME);
    ended
}

/// Serves until a signal ends the process.
fn serve(
    sources: Sources,
    loaded: Loaded,
    watch: FileWatch,
    log: &Log,
    json: bool,
) -> anyhow::Result<()> {
    let settings = &loaded.settings;
    let fd_limit = raise_fd_limit();
    reserve_fd_table(fd_limit);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("no runtime could be started")?;
    // Before the server is announced, so that a signal from then on shuts it down in order.
    let mut signals = {
        let _within = runtime.enter();
        Signals::listen(true).context("signals cannot be handled")?
    };
    let (mut server, bridge) = start_with(settings)?;
    tracing::info!(
        version = env!("CARGO_PKG_VERSION"),
        listeners = ?shown(server.listening()),
        fd_limit,
        "listening"
    );
    announce_aside(
        server.listening().to_vec(),
        fd_limit,
        settings.auth.anonymous,
        json,
    )?;
    let mut reloader = Reloader::new(sources, loaded, watch, bridge);
    runtime.block_on(async {
        let signal = loop {
            tokio::select! {
                signal = signals.next() => match signal {
                    SignalAction::End(signal) => break signal,
                    SignalAction::Reload => {
                        log.writer.reopen();
                        tracing::info!("SIGHUP: files are read again");
                    }
                },
                () = reloader.changed() => tracing::info!("a file has changed: files are read again"),
            }
            reloader.reload(&mut server, log).await;
        };
        tracing::info!(signal, "shutting down; a later signal ends it at once");
        // On a thread of its own, because it blocks and a later signal must be handled.
        let (done, ended) = tokio::sync::oneshot::channel();
        std::thread::spawn(move || {
            server.shutdown();
            let _ = done.send(());
        });
        tokio::select! {
            ended = ended => ended.context("the shutdown failed"),
            signal = signals.end_again() => bail!("ended at once by {signal}"),
        }
    })?;
    tracing::info!("ended");
    Ok(())
}

/// Announces the server on a thread of its own: stdout may be a pipe that nobody reads.
fn announce_aside(
    listeners: Vec<ListenAddress>,
    fd_limit: u64,
    anonymous: bool,
    json: bool,
) -> std::io::Result<()> {
    let announce = move || {
        // One write, so that no line of the log comes between.
        let mut text = Vec::new();
        let written = announce(&mut text, &listeners, fd_limit, anonymous, json).and_then(|()| {
            let mut out = std::io::stdout();
            out.write_all(&text)?;
            out.flush()
        });
        if let Err(error) = written {
            // The server also runs if nobody reads its stdout.
            tracing::warn!(%error, "stdout cannot be written");
        }
    };
    let thread = std::thread::Builder::new().name("announce".to_owned());
    thread.spawn(announce).map(drop)
}

/// Writes where the server listens, and commands to try.
fn announce(
    out: &mut impl Write,
    listeners: &[ListenAddress],
    fd_limit: u64,
    anonymous: bool,
    json: bool,
) -> std::io::Result<()> {
    if json {
        let listeners = shown(listeners);
        let event = json!({"event": "listening", "listeners": listeners, "fd_limit": fd_limit});
        writeln!(out, "{event}")?;
        return out.flush();
    }
    for place in listeners {
        writeln!(
            out,
            "RoomMQ {} listens on {place}",
            env!("CARGO_PKG_VERSION")
        )?;
    }
    // Only for a listener without TLS: the commands for TLS depend on the files of the reader.
    if let Some(address) = listeners
        .iter()
        .find_map(ListenAddress::plain)
        .map(reachable)
    {
        let (host, port) = (address.ip(), address.port());
        let server = if address == SocketAddr::from((Ipv4Addr::LOCALHOST, PORT)) {
            String::new()
        } else {
            format!(" --server {address}")
        };
        // Without anonymous clients the server would refuse commands without a password.
        let (theirs, ours) = if anonymous {
            ("", "")
        } else {
            (" -u NAME -P PASSWORD", " --user NAME")
        };
        writeln!(out, "See a room called lobby from another terminal:")?;
        writeln!(
            out,
            "  mosquitto_sub -h {host} -p {port}{theirs} -t 'rooms/lobby/#' -t 'inbox/me/#' -v"
        )?;
        writeln!(out, "  {} join lobby{server}{ours}", program())?;
    }
    out.flush()
}

/// The listeners as text, for JSON.
fn shown(places: &[ListenAddress]) -> Vec<String> {
    places.iter().map(ToString::to_string).collect()
}

/// How this program was called, if that can be typed again.
fn program() -> String {
    let called = std::env::args().next().unwrap_or_default();
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-".contains(c);
    if called.ends_with("roommq") && called.chars().all(plain) {
        called
    } else {
        "roommq".to_owned()
    }
}

/// The loopback address in place of one that means every interface.
fn reachable(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, address.port())
}

/// Raises the limit of open files as far as the user may. Returns the limit.
fn raise_fd_limit() -> u64 {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        maximum: limit.maximum,
    };
    let current = match setrlimit(Resource::Nofile, raised) {
        Ok(()) => limit.maximum,
        Err(error) => {
            tracing::warn!(%error, "cannot raise the limit of open files");
            limit.current
        }
    };
    current.unwrap_or(u64::MAX)
}

/// Descriptors for which the kernel makes a table at the start: half a megabyte.
const FD_TABLE: u64 = 1 << 16;

/// Makes the kernel's table of open files large while the process has one thread.
///
/// Later, the kernel waits for an RCU grace period, some 20 ms, whenever it doubles the table of a
/// process with threads. The thread that accepts would stand still so long.
fn reserve_fd_table(fd_limit: u64) {
    let last = i32::try_from(fd_limit.min(FD_TABLE)).unwrap_or(0) - 1;
    if let Err(error) = rustix::io::fcntl_dupfd_cloexec(std::io::stdin(), last) {
        tracing::debug!(%error, "the table of open files grows later");
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;
    use roommq_config::Transport;

    fn place(address: &str, transport: Transport, path: &str) -> ListenAddress {
        ListenAddress::Ip {
            address: address.parse().unwrap(),
            transport,
            path: path.to_owned(),
        }
    }

    fn announced(address: &str, json: bool) -> String {
        let mut out = Vec::new();
        let places = [place(address, Transport::Tcp, "")];
        announce(&mut out, &places, 1024, true, json).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn lines_to_copy() {
        let text = announced("127.0.0.1:1883", false);
        assert!(text.contains(" listens on 127.0.0.1:1883\n"), "{text}");
        assert!(
            text.contains(
                "\n  mosquitto_sub -h 127.0.0.1 -p 1883 -t 'rooms/lobby/#' -t 'inbox/me/#' -v\n"
            ),
            "{text}"
        );
        assert!(text.ends_with("roommq join lobby\n"), "{text}");
    }

    #[test]
    fn every_interface_is_shown_as_loopback() {
        let text = announced("0.0.0.0:7", false);
        assert!(text.contains("-h 127.0.0.1 -p 7 "), "{text}");
        assert!(
            text.ends_with("join lobby --server 127.0.0.1:7\n"),
            "{text}"
        );
        assert!(announced("[::]:7", false).ends_with("--server [::1]:7\n"));
    }

    #[test]
    fn without_anonymous_clients_the_commands_have_a_user() {
        let mut out = Vec::new();
        let places = [place("127.0.0.1:1883", Transport::Tcp, "")];
        announce(&mut out, &places, 1024, false, false).unwrap();
        let text = String::from_utf8(out).unwrap();
        assert!(text.contains(" -u NAME -P PASSWORD -t "), "{text}");
        assert!(text.ends_with("join lobby --user NAME\n"), "{text}");
    }

    #[test]
    fn each_listener_is_shown_as_its_url() {
        let places = [
            place("127.0.0.1:8884", Transport::Wss, "/mqtt"),
            place("[::1]:8883", Transport::Tls, ""),
            ListenAddress::Unix("/run/roommq.sock".into()),
        ];
        let mut out = Vec::new();
        announce(&mut out, &places, 1024, true, false).unwrap();
        let text = String::from_utf8(out).unwrap();
        for wanted in [
            "wss://127.0.0.1:8884/mqtt",
            "tls://[::1]:8883",
            "unix:/run/roommq.sock",
        ] {
            assert!(text.contains(&format!(" listens on {wanted}\n")), "{text}");
        }
        assert!(
            !text.contains("mosquitto_sub"),
            "no command that would fail: {text}"
        );
    }

    #[test]
    fn one_object_for_programs() {
        let event: serde_json::Value =
            serde_json::from_str(&announced("127.0.0.1:9", true)).unwrap();
        assert_eq!(
            event,
            json!({"event": "listening", "listeners": ["127.0.0.1:9"], "fd_limit": 1024})
        );
    }
}
