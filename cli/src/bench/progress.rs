//! One line on a terminal's stderr that says what is going on; silent elsewhere.

use super::figures::grouped;
use std::cell::Cell;
use std::io::{self, IsTerminal, Write};
use std::time::{Duration, Instant};

/// Often enough to look alive, seldom enough to cost nothing.
const PACE: Duration = Duration::from_millis(100);

/// The line.
pub struct ProgressLine {
    shown: bool,
    last: Cell<Option<Instant>>,
    dirty: Cell<bool>,
}

impl ProgressLine {
    /// Shows itself where stderr is a terminal.
    pub fn new() -> ProgressLine {
        ProgressLine {
            shown: io::stderr().is_terminal(),
            last: Cell::new(None),
            dirty: Cell::new(false),
        }
    }

    /// `done` of `all` things, at most ten times a second.
    pub fn count(&self, what: &str, done: u64, all: u64) {
        if self.is_due() {
            self.write(&format!("{what}: {} of {}", grouped(done), grouped(all)));
        }
    }

    /// Any text, at most ten times a second.
    pub fn text(&self, text: impl FnOnce() -> String) {
        if self.is_due() {
            self.write(&text());
        }
    }

    /// Takes the line away.
    pub fn clear(&self) {
        if self.dirty.replace(false) {
            self.put("\r\x1b[K");
        }
        self.last.set(None);
    }

    fn is_due(&self) -> bool {
        self.shown && self.last.get().is_none_or(|last| last.elapsed() >= PACE)
    }

    fn write(&self, text: &str) {
        self.last.set(Some(Instant::now()));
        self.dirty.set(true);
        self.put(&format!("\r\x1b[K{text}"));
    }

    fn put(&self, text: &str) {
        if self.shown {
            let mut stderr = io::stderr();
            // A terminal that is gone is no reason to stop measuring.
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
