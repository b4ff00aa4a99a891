//! The machine of a reader: a directory of its own, terminals, and ports that are free here.

use crate::page::{Block, Line, Terminal, taken};
use roommq_tests::program::{Program, roommq};
use roommq_tests::workspace::root;
use rustix::process::Signal;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs::{create_dir_all, write};
use std::net::TcpListener;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use tempfile::TempDir;

/// The ports that pages name: MQTT, TLS, WebSocket, secure WebSocket, a web server, another broker.
const PORTS: [&str; 6] = ["1883", "8883", "8083", "8084", "8000", "1884"];

/// Where a page runs.
pub struct Stage {
    page: &'static str,
    directory: TempDir,
    /// The port that a page names, and the one that is used.
    ports: Vec<(&'static str, String)>,
    terminals: BTreeMap<String, Open>,
}

/// A terminal whose command goes on.
struct Open {
    program: Program,
    /// Lines of its output that the page has shown.
    shown: usize,
}

impl Stage {
    pub fn new(page: &str) -> Stage {
        let page: &'static str = page.to_owned().leak();
        let stage = Stage {
            page,
            directory: TempDir::new().expect("a temporary directory"),
            ports: free_ports(),
            terminals: BTreeMap::new(),
        };
        stage.furnish();
        stage
    }

    /// The programs that a reader has: `cargo run --release` and `roommq` are the server of this build, and the clients
    /// find it at its port.
    fn furnish(&self) {
        let program = roommq().get_program().to_owned();
        let built = self.path("target/release/roommq");
        create_dir_all(self.path("bin")).expect("a directory");
        create_dir_all(built.parent().expect("it has one")).expect("a directory");
        let examples = Path::new(&program)
            .parent()
            .expect("it has one")
            .display()
            .to_string();
        let program = program.to_string_lossy();
        let here = self.actual("127.0.0.1:1883");
        // Only a configuration file names another place to listen on.
        let server = format!(
            "#!/bin/sh\ncase \"$1\" in\n''|-*|serve) grep -qs listener roommq.toml || export ROOMMQ_LISTEN={here} ;;\n\
             passwd|config) ;;\n*) export ROOMMQ_SERVER=\"${{ROOMMQ_SERVER:-{here}}}\" ;;\nesac\n\
             exec {program} \"$@\"\n"
        );
        script(&self.path("bin/roommq"), &server);
        script(&built, &server);
        // `cargo run`, with `--release` or `--example NAME`, and what comes behind `--`.
        let cargo = format!(
            "#!/bin/sh\nprogram=roommq\nwhile [ $# -gt 0 ] && [ \"$1\" != -- ]; do\n\
             [ \"$1\" != --example ] || program={examples}/$2\nshift\ndone\n[ $# = 0 ] || shift\n\
             exec $program \"$@\"\n"
        );
        script(&self.path("bin/cargo"), &cargo);
        let browser = root().join("tests/foreign/browser.mjs");
        let browser = format!("#!/bin/sh\nexec node {} \"$@\"\n", browser.display());
        script(&self.path("bin/browser"), &browser);
        create_dir_all(self.path("mosquitto")).expect("a directory");
        for client in ["mosquitto_sub", "mosquitto_pub", "mosquitto_rr"] {
            let options = self.actual("-p 1883\n");
            write(self.path("mosquitto").join(client), options).expect("a file");
        }
        symlink(root().join("tests/node_modules"), self.path("node_modules")).expect("a link");
        symlink(root().join("docs"), self.path("docs")).expect("a link");
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// With the ports that are used in place of those that the page names.
    fn actual(&self, text: &str) -> String {
        let replace = |text: String, (named, used): &(&str, String)| text.replace(named, used);
        self.ports.iter().fold(text.to_owned(), replace)
    }

    /// The reverse, for what programs write.
    fn as_named(&self, text: &str) -> String {
        let replace =
            |text: String, (named, used): &(&str, String)| text.replace(used.as_str(), named);
        self.ports.iter().fold(text.to_owned(), replace)
    }

    fn command(&self, line: &str, keeps: bool) -> Command {
        let mut command = Command::new("bash");
        let line = self.actual(line);
        let exec = if keeps { "exec " } else { "" };
        command.args(["-c", &format!("exec 2>&1; {exec}{line}")]);
        let path = std::env::var("PATH").unwrap_or_default();
        let venv = root().join("tests/.venv/bin");
        let path = format!("{}:{}:{path}", self.path("bin").display(), venv.display());
        command
            .current_dir(self.directory.path())
            .env("PATH", path)
            .env("XDG_CONFIG_HOME", self.path("mosquitto"))
            .env("PYTHONUNBUFFERED", "1")
            .env("NO_COLOR", "1")
            .env("TZ", "UTC");
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("ROOMMQ") {
                command.env_remove(name);
            }
        }
        command
    }

    pub fn play(&mut self, block: &Block) {
        match block {
            // What has to be compiled is a file of the project, and the page shows all of it.
            Block::File { name, text } if name.starts_with("docs/") => {
                let compiled = std::fs::read_to_string(root().join(name)).expect(name);
                assert_eq!(*text, compiled, "{}: {name}", self.page);
            }
            Block::File { name, text } => write(self.path(name), self.actual(text)).expect(name),
            Block::Console {
                terminal: Terminal::Of(name),
                lines,
            } => self.go_on(name, lines),
            Block::Console { terminal, lines } => self.run(terminal, lines),
        }
    }

    /// Runs commands, each with the output that follows it.
    fn run(&mut self, terminal: &Terminal, lines: &[Line]) {
        let commands = lines.chunk_by(|_, next| matches!(next, Line::Output(_)));
        let commands: Vec<&[Line]> = commands.collect();
        for (at, lines) in commands.iter().enumerate() {
            let [Line::Command(line), rest @ ..] = lines else {
                panic!("{}: {lines:?} does not begin with a command", self.page);
            };
            let last = at + 1 == commands.len();
            match terminal {
                Terminal::Keeps(name) if last => {
                    let program = Program::start(&mut self.command(line, true));
                    let open = Open { program, shown: 0 };
                    self.terminals.insert(name.clone(), open);
                    self.shows(name, rest);
                }
                _ => {
                    let done = Program::run(&mut self.command(line, false), "");
                    let said: Vec<String> = done.stdout.lines().map(|l| self.as_named(l)).collect();
                    let (shown, all) = (outputs(rest), said.len());
                    let same = taken(&shown, &said) == Some(all) || shown.last() == Some(&"…");
                    assert!(
                        same,
                        "{}: $ {line}\n{}",
                        self.page,
                        difference(&shown, &said)
                    );
                }
            }
        }
    }

    /// More of a terminal: what the reader does there, and what it shows then.
    fn go_on(&mut self, name: &str, lines: &[Line]) {
        for part in lines.chunk_by(|a, b| matches!((a, b), (Line::Output(_), Line::Output(_)))) {
            let open = self.terminals.get_mut(name);
            let open = open.unwrap_or_else(|| panic!("{}: no terminal {name}", self.page));
            match part {
                [Line::Typed(text)] => open.program.write(&format!("{text}\n")),
                [Line::Interrupt] => end(open, Signal::INT),
                [Line::Closed] => end(open, Signal::HUP),
                [Line::Command(line)] => panic!("{}: {name} still runs before {line}", self.page),
                part => self.shows(name, part),
            }
        }
    }

    /// Waits until a terminal shows these lines next.
    fn shows(&mut self, name: &str, lines: &[Line]) {
        let shown = outputs(lines);
        let open = &self.terminals[name];
        let (from, out) = (open.shown, &open.program.stdout);
        let next = |all: &[String]| -> Vec<String> {
            all[from..].iter().map(|l| self.as_named(l)).collect()
        };
        let came = out.until(|all| taken(&shown, &next(all)).is_some());
        let said = next(&out.lines());
        assert!(came, "{}: {name}\n{}", self.page, difference(&shown, &said));
        let taken = taken(&shown, &said).expect("it was complete");
        self.terminals.get_mut(name).expect("it is open").shown += taken;
    }
}

fn script(path: &Path, text: &str) {
    write(path, text).expect("a file");
    let mode = PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(path, mode).expect("it is ours");
}

fn end(open: &mut Open, signal: Signal) {
    open.program.signal(signal);
    open.program.wait();
}

fn outputs(lines: &[Line]) -> Vec<&str> {
    let mut outputs = Vec::new();
    for line in lines {
        if let Line::Output(text) = line {
            outputs.push(text.as_str());
        }
    }
    outputs
}

fn difference(shown: &[&str], said: &[String]) -> String {
    let mut text = "the page shows:\n".to_owned();
    for line in shown {
        let _ = writeln!(text, "  {line}");
    }
    text += "there is:\n";
    for line in said {
        let _ = writeln!(text, "  {line}");
    }
    text
}

/// Free ports of 127.0.0.1, all of five digits, so that they occur nowhere else.
fn free_ports() -> Vec<(&'static str, String)> {
    let listeners = PORTS.map(|_| TcpListener::bind("127.0.0.1:0").expect("a free port"));
    let used = listeners
        .iter()
        .map(|l| l.local_addr().expect("it is bound").port());
    PORTS
        .into_iter()
        .zip(used.map(|port| port.to_string()))
        .collect()
}
