//! A server as a child process, on a free port, with a configuration of its own.

use crate::program::{Finished, Lines, Program, roommq};
use rustix::process::Signal;
use serde_json::Value as Json;
use std::net::SocketAddr;
use std::process::Command;
use tempfile::TempDir;

/// A running server. Dropping it kills the process.
#[derive(Debug)]
pub struct Broker {
    program: Program,
    address: SocketAddr,
    places: Vec<(String, SocketAddr)>,
    directory: TempDir,
}

impl Broker {
    /// Starts a server with the defaults.
    pub fn start() -> Broker {
        Broker::with("")
    }

    /// Starts a server with this text as its configuration file.
    pub fn with(config: &str) -> Broker {
        Broker::with_users(config, &[])
    }

    /// Starts a server with a configuration, and a `users.toml` beside it that `roommq passwd` makes for these names and
    /// passwords.
    pub fn with_users(config: &str, users: &[(&str, &str)]) -> Broker {
        let directory = TempDir::new().expect("a temporary directory");
        let users_file = directory.path().join("users.toml");
        for (name, password) in users {
            let mut command = roommq();
            command.arg("passwd").arg(&users_file).arg(name);
            let made = Program::run(&mut command, &format!("{password}\n"));
            assert_eq!(made.code, Some(0), "roommq passwd: {}", made.stderr);
        }
        let config = config.replace("@users@", &users_file.display().to_string());
        Broker::run(directory, &config, &["--listen", "127.0.0.1:0"])
    }

    /// Starts a server with the listeners of this configuration, and files of these names and texts beside it. Each
    /// `listener.bind` should have port 0.
    pub fn listening(config: &str, files: &[(&str, &str)]) -> Broker {
        let directory = TempDir::new().expect("a temporary directory");
        for (name, text) in files {
            std::fs::write(directory.path().join(name), text).expect("a temporary file");
        }
        Broker::run(directory, config, &[])
    }

    /// Starts a server with a configuration and these environment variables.
    pub fn with_environment(config: &str, environment: &[(&str, &str)]) -> Broker {
        let directory = TempDir::new().expect("a temporary directory");
        Broker::run_with(directory, config, &["--listen", "127.0.0.1:0"], environment)
    }

    fn run(directory: TempDir, config: &str, arguments: &[&str]) -> Broker {
        Broker::run_with(directory, config, arguments, &[])
    }

    fn run_with(
        directory: TempDir,
        config: &str,
        arguments: &[&str],
        environment: &[(&str, &str)],
    ) -> Broker {
        let file = directory.path().join("roommq.toml");
        std::fs::write(&file, config).expect("a temporary file");
        let mut command = roommq();
        command
            .args(["serve", "--json"])
            .args(arguments)
            .arg("--config")
            .arg(&file)
            .envs(environment.iter().copied());
        let program = Program::start(&mut command);
        let places = listening(&program);
        Broker {
            program,
            address: places[0].1,
            places,
            directory,
        }
    }

    /// The address of the listener of this number, counted from 0.
    pub fn place(&self, number: usize) -> SocketAddr {
        self.places[number].1
    }

    /// The address as the server prints it.
    pub fn url(&self, number: usize) -> &str {
        &self.places[number].0
    }

    /// Sends a signal.
    pub fn signal(&self, signal: Signal) {
        self.program.signal(signal);
    }

    /// SIGHUP.
    pub fn hang_up(&self) {
        self.program.signal(Signal::HUP);
    }

    /// SIGSTOP: it stops until [`Broker::go_on`].
    pub fn stop(&self) {
        self.program.signal(Signal::STOP);
    }

    /// SIGCONT.
    pub fn go_on(&self) {
        self.program.signal(Signal::CONT);
    }

    /// The address of the first listener.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// A `roommq` command that connects to this server.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = roommq();
        command
            .env("ROOMMQ_SERVER", self.address.to_string())
            .args(arguments);
        command
    }

    /// A file beside its configuration.
    pub fn file(&self, name: &str, text: &str) -> std::path::PathBuf {
        let path = self.directory.path().join(name);
        std::fs::write(&path, text).expect("a temporary file");
        path
    }

    /// Its log.
    pub fn log(&self) -> &Lines {
        &self.program.stderr
    }

    /// The process id.
    pub fn id(&self) -> u32 {
        self.program.id()
    }

    /// SIGINT, as by Ctrl-C, and no waiting.
    pub fn interrupt(&self) {
        self.program.signal(Signal::INT);
    }

    /// SIGTERM, and no waiting.
    pub fn terminate(&self) {
        self.program.signal(Signal::TERM);
    }

    /// Waits for the end of the process.
    pub fn finish(self) -> Finished {
        self.program.finish()
    }
}

/// The printed addresses, and their socket addresses. A Unix socket has none.
fn listening(program: &Program) -> Vec<(String, SocketAddr)> {
    let first = program.stdout.line_within(crate::PATIENCE, |_| true);
    let Some(first) = first else {
        // Its last words may come a little later.
        let _ = program.stderr.line_within(crate::PATIENCE, |_| false);
        panic!("the server did not start:\n{}", program.stderr.text());
    };
    let parsed: Json = serde_json::from_str(&first)
        .unwrap_or_else(|e| panic!("the first line, {first:?}, is no JSON: {e}"));
    let places = parsed["listeners"].as_array().expect("a list");
    let address = |shown: &str| {
        let rest = shown.split_once("://").map_or(shown, |(_, rest)| rest);
        let rest = rest.split('/').next().unwrap_or_default();
        rest.parse().unwrap_or_else(|_| {
            assert!(shown.starts_with("unix:"), "no address in {shown}");
            SocketAddr::from(([0, 0, 0, 0], 0))
        })
    };
    let shown = places.iter().map(|place| place.as_str().expect("text"));
    let places: Vec<_> = shown.map(|s| (s.to_owned(), address(s))).collect();
    assert!(!places.is_empty(), "no listener in {first}");
    places
}
