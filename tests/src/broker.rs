//! A server as a child process, on a free port, with a configuration of its own.

use crate::program::{Finished, Lines, Program, roommq};
use rustix::process::Signal;
use serde_json::Value as Json;
use std::net::SocketAddr;
use std::process::Command;
use tempfile::TempDir;

/// A running server; killed when it is dropped.
#[derive(Debug)]
pub struct Broker {
    program: Program,
    address: SocketAddr,
    directory: TempDir,
}

impl Broker {
    /// With the defaults.
    #[must_use]
    pub fn start() -> Broker {
        Broker::with("")
    }

    /// With this text as its configuration file.
    #[must_use]
    pub fn with(config: &str) -> Broker {
        Broker::with_users(config, &[])
    }

    /// With a configuration, and a `users.toml` beside it that `roommq passwd` made for these names and
    /// passwords.
    #[must_use]
    pub fn with_users(config: &str, users: &[(&str, &str)]) -> Broker {
        let directory = TempDir::new().expect("a temporary directory");
        let users_file = directory.path().join("users.toml");
        for (name, password) in users {
            let mut command = roommq();
            command.arg("passwd").arg(&users_file).arg(name);
            let made = Program::run(&mut command, &format!("{password}\n"));
            assert_eq!(made.code, Some(0), "roommq passwd: {}", made.stderr);
        }
        let file = directory.path().join("roommq.toml");
        let config = config.replace("@users@", &users_file.display().to_string());
        std::fs::write(&file, config).expect("a temporary file");
        let mut command = roommq();
        command
            .args(["serve", "--json", "--listen", "127.0.0.1:0", "--config"])
            .arg(&file);
        let program = Program::start(&mut command);
        let address = listening(&program);
        Broker {
            program,
            address,
            directory,
        }
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// A `roommq` command that goes to this server.
    #[must_use]
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = roommq();
        command
            .env("ROOMMQ_SERVER", self.address.to_string())
            .args(arguments);
        command
    }

    /// A file beside its configuration.
    #[must_use]
    pub fn file(&self, name: &str, text: &str) -> std::path::PathBuf {
        let path = self.directory.path().join(name);
        std::fs::write(&path, text).expect("a temporary file");
        path
    }

    /// Its log.
    #[must_use]
    pub fn log(&self) -> &Lines {
        &self.program.stderr
    }

    /// The process id.
    #[must_use]
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

    /// Waits for its end.
    #[must_use]
    pub fn finish(self) -> Finished {
        self.program.finish()
    }
}

fn listening(program: &Program) -> SocketAddr {
    let first = program.stdout.line_within(crate::PATIENCE, |_| true);
    let Some(first) = first else {
        panic!("the server did not start:\n{}", program.stderr.text());
    };
    let parsed: Json = serde_json::from_str(&first)
        .unwrap_or_else(|e| panic!("the first line, {first:?}, is no JSON: {e}"));
    parsed["listeners"][0]
        .as_str()
        .and_then(|address| address.parse().ok())
        .unwrap_or_else(|| panic!("no address in {first}"))
}
