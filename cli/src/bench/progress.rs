//! A progress line on stderr, if that is a terminal.

use super::figures::grouped;
use std::cell::Cell;
use std::io::{self, IsTerminal, Write};
use std::time::{Duration, Instant};

/// The shortest time between two updates.
const INTERVAL: Duration = Duration::from_millis(100);

/// The progress line.
pub struct ProgressLine {
    shown: bool,
    last: Cell<Option<Instant>>,
    dirty: Cell<bool>,
}

impl ProgressLine {
    /// A line that is shown only if stderr is a terminal.
    pub fn new() -> ProgressLine {
        ProgressLine {
            shown: io::stderr().is_terminal()
                && std::env::var_os("TERM").is_none_or(|term| term != "dumb"),
            last: Cell::new(None),
            dirty: Cell::new(false),
        }
    }

    /// Shows `done` of `all` things, at most ten times a second.
    pub fn count(&self, what: &str, done: u64, all: u64) {
        self.text(|| format!("{what}: {} of {}", grouped(done), grouped(all)));
    }

    /// Shows a text, at most ten times a second.
    pub fn text(&self, text: impl FnOnce() -> String) {
        if self.is_due() {
            self.write(&text());
        }
    }

    /// Removes the line.
    pub fn clear(&self) {
        if self.dirty.replace(false) {
            self.put("\r\x1b[K");
        }
        self.last.set(None);
    }

    fn is_due(&self) -> bool {
        self.shown
            && self
                .last
                .get()
                .is_none_or(|last| last.elapsed() >= INTERVAL)
    }

    fn write(&self, text: &str) {
        self.last.set(Some(Instant::now()));
        self.dirty.set(true);
        self.put(&format!("\r\x1b[K{text}"));
    }

    fn put(&self, text: &str) {
        if self.shown {
            let mut stderr = io::stderr();
            // An error of the terminal must not stop the measurement.
            let _ = stderr
                .write_all(text.as_bytes())
                .and_then(|()| stderr.flush());
        }
    }
}

impl Drop for ProgressLine {
    fn drop(&mut self) {
        self.clear();
    }
}
