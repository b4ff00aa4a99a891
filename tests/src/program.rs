//! A child process. Tests can wait for its output, and it never outlives its test.

use crate::PATIENCE;
use rustix::fs::{Mode, OFlags};
use rustix::process::{Pid, Signal, kill_process};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::fd::OwnedFd;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::{Duration, Instant};

/// The command that starts the server or a command of its: `roommq` as built for the tests.
pub fn roommq() -> Command {
    // Cargo sets this variable for the binaries of the test's own package.
    let path = std::env::var_os("CARGO_BIN_EXE_roommq_under_test")
        .expect("this runs under `cargo test` only");
    let mut command = Command::new(path);
    // The environment of the machine's user must not change a test.
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("ROOMMQ") {
            command.env_remove(name);
        }
    }
    command
}

/// The lines that came out of one stream of a process.
#[derive(Debug, Default)]
pub struct Lines {
    state: Mutex<Written>,
    grown: Condvar,
}

#[derive(Debug, Default)]
struct Written {
    lines: Vec<String>,
    ended: bool,
}

impl Lines {
    fn follow(stream: impl Read + Send + 'static) -> Arc<Lines> {
        let lines = Arc::new(Lines::default());
        let kept = Arc::clone(&lines);
        thread::spawn(move || {
            for line in BufReader::new(stream).split(b'\n').map_while(Result::ok) {
                let line = String::from_utf8_lossy(&line).into_owned();
                kept.state.lock().unwrap().lines.push(line);
                kept.grown.notify_all();
            }
            kept.state.lock().unwrap().ended = true;
            kept.grown.notify_all();
        });
        lines
    }

    /// Waits for a line that `wanted` accepts.
    pub fn line(&self, wanted: impl Fn(&str) -> bool) -> String {
        self.line_within(PATIENCE, wanted)
            .unwrap_or_else(|| panic!("the line did not come; there is:\n{}", self.text()))
    }

    /// The same. None if no such line comes within `time` or before the end.
    pub fn line_within(&self, time: Duration, wanted: impl Fn(&str) -> bool) -> Option<String> {
        let deadline = Instant::now() + time;
        let mut seen = 0;
        let mut state = self.state.lock().unwrap();
        loop {
            if let Some(found) = state.lines[seen..].iter().find(|line| wanted(line)) {
                return Some(found.clone());
            }
            seen = state.lines.len();
            let left = deadline.saturating_duration_since(Instant::now());
            if state.ended || left.is_zero() {
                return None;
            }
            state = self.grown.wait_timeout(state, left).unwrap().0;
        }
    }

    /// Waits until `wanted` accepts all lines so far. False if it does not before the end.
    pub fn until(&self, mut wanted: impl FnMut(&[String]) -> bool) -> bool {
        let deadline = Instant::now() + PATIENCE;
        let mut state = self.state.lock().unwrap();
        loop {
            if wanted(&state.lines) {
                return true;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if state.ended || left.is_zero() {
                return false;
            }
            state = self.grown.wait_timeout(state, left).unwrap().0;
        }
    }

    /// Waits for a line that contains `part`.
    pub fn line_with(&self, part: &str) -> String {
        self.line(|line| line.contains(part))
    }

    /// All lines so far.
    pub fn text(&self) -> String {
        self.state.lock().unwrap().lines.join("\n")
    }

    /// All lines so far.
    pub fn lines(&self) -> Vec<String> {
        self.state.lock().unwrap().lines.clone()
    }

    /// Whether the stream ended before the deadline.
    fn ended(&self, deadline: Instant) -> bool {
        let mut state = self.state.lock().unwrap();
        while !state.ended {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            state = self.grown.wait_timeout(state, left).unwrap().0;
        }
        true
    }
}

/// A running process. Dropping it kills the process.
#[derive(Debug)]
pub struct Program {
    child: Child,
    stdin: Option<File>,
    /// Its standard output.
    pub stdout: Arc<Lines>,
    /// Its standard error.
    pub stderr: Arc<Lines>,
}

/// The result of a process.
#[derive(Debug)]
pub struct Finished {
    /// Exit code; none if a signal ended the process.
    pub code: Option<i32>,
    /// All of its standard output.
    pub stdout: String,
    /// All of its standard error.
    pub stderr: String,
}

impl Program {
    /// Starts it with pipes for all three streams.
    pub fn start(command: &mut Command) -> Program {
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|e| panic!("cannot start {command:?}: {e}"));
        Program {
            stdin: child.stdin.take().map(|pipe| OwnedFd::from(pipe).into()),
            stdout: Lines::follow(child.stdout.take().expect("a pipe")),
            stderr: Lines::follow(child.stderr.take().expect("a pipe")),
            child,
        }
    }

    /// Starts it with a terminal for its input and output, as a person would. Enter is `\r`.
    pub fn on_terminal(command: &mut Command) -> Program {
        let ours = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).expect("a terminal");
        grantpt(&ours).expect("the terminal is ours");
        unlockpt(&ours).expect("the terminal is ours");
        let name = ptsname(&ours, Vec::new()).expect("terminals have names");
        let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC;
        let its = rustix::fs::open(name, flags, Mode::empty()).expect("the other end");
        let mut child = command
            .env("TERM", "xterm")
            .stdin(its.try_clone().expect("a second handle"))
            .stdout(its)
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|e| panic!("cannot start {command:?}: {e}"));
        // The command would keep the other end open, and the terminal would not end with the process.
        command.stdin(Stdio::null()).stdout(Stdio::null());
        let ours = File::from(ours);
        Program {
            stdin: Some(ours.try_clone().expect("a second handle")),
            stdout: Lines::follow(ours),
            stderr: Lines::follow(child.stderr.take().expect("a pipe")),
            child,
        }
    }

    /// Starts it, gives it `input` and waits for its end.
    pub fn run(command: &mut Command, input: &str) -> Finished {
        let mut program = Program::start(command);
        program.write(input);
        program.finish()
    }

    /// Writes to its standard input.
    pub fn write(&mut self, text: &str) {
        if let Some(stdin) = &mut self.stdin {
            // A process may end without reading all of it.
            let _ = stdin.write_all(text.as_bytes());
        }
    }

    /// Ends its standard input.
    pub fn end_input(&mut self) {
        self.stdin = None;
    }

    /// The process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// SIGKILL: the process cannot send DISCONNECT.
    pub fn kill(&mut self) {
        self.child.kill().expect("a child can be killed");
    }

    /// Sends a signal.
    pub fn signal(&self, signal: Signal) {
        let id = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw);
        kill_process(id.expect("a process id"), signal).expect("the process lives");
    }

    /// Waits for its end.
    pub fn wait(&mut self) -> ExitStatus {
        let deadline = Instant::now() + PATIENCE;
        let ended = self.stdout.ended(deadline) && self.stderr.ended(deadline);
        assert!(
            ended,
            "process {} does not end; it wrote:\n{}\n{}",
            self.id(),
            self.stdout.text(),
            self.stderr.text()
        );
        self.child.wait().expect("a child can be waited for")
    }

    /// Ends its standard input and waits for its end.
    pub fn finish(mut self) -> Finished {
        self.end_input();
        Finished {
            code: self.wait().code(),
            stdout: self.stdout.text(),
            stderr: self.stderr.text(),
        }
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
