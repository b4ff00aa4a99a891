//! What the user types or pipes in, read on a thread of its own, since neither can be awaited.

use rustix::termios::{OptionalActions, Termios, tcgetattr, tcsetattr};
use rustyline::config::Config;
use rustyline::error::ReadlineError;
use rustyline::history::MemHistory;
use rustyline::{Editor, ExternalPrinter};
use std::io::{BufRead, Write};
use tokio::sync::mpsc;

/// Lines that wait to be sent; a faster hand waits.
const WAITING_LINES: usize = 64;

/// Lines, without their ends. The channel closes when the input has ended.
pub(crate) type InputLines = mpsc::Receiver<std::io::Result<Vec<u8>>>;

/// Prints above the line that is being edited.
pub(crate) type Printer = Box<dyn ExternalPrinter + Send>;

/// The lines of stdin, as the bytes they are.
pub(crate) fn piped() -> InputLines {
    let (sender, lines) = mpsc::channel(WAITING_LINES);
    std::thread::spawn(move || {
        for line in std::io::stdin().lock().split(b'\n') {
            let line = line.map(|mut line| {
                if line.last() == Some(&b'\r') {
                    line.pop();
                }
                line
            });
            let over = line.is_err();
            if sender.blocking_send(line).is_err() || over {
                return;
            }
        }
    });
    lines
}

/// Lines edited on the terminal under `prompt`; Ctrl-C, Ctrl-D and a line that is the `last` one end them.
pub(crate) fn edited(
    prompt: String,
    last: fn(&[u8]) -> bool,
) -> rustyline::Result<(InputLines, Printer)> {
    // Bracketed paste would stay switched on if the process ended in the middle of a line.
    let config = Config::builder()
        .auto_add_history(true)
        .bracketed_paste(false)
        .build();
    let history = MemHistory::with_config(&config);
    let mut editor = Editor::<(), _>::with_history(config, history)?;
    let printer = Box::new(editor.create_external_printer()?);
    let (sender, lines) = mpsc::channel(WAITING_LINES);
    std::thread::spawn(move || {
        loop {
            let line = match editor.readline(&prompt) {
                Ok(line) => Ok(line.into_bytes()),
                Err(ReadlineError::Eof | ReadlineError::Interrupted) => return,
                Err(error) => Err(std::io::Error::other(error)),
            };
            let over = line.as_ref().map_or(true, |line| last(line));
            if sender.blocking_send(line).is_err() || over {
                return;
            }
        }
    });
    Ok((lines, printer))
}

/// The terminal as it was found, put back when this goes: the editing thread may be in the middle of a
/// line when the process ends.
pub(crate) struct TerminalGuard(Option<Termios>);

impl TerminalGuard {
    pub(crate) fn remember() -> TerminalGuard {
        TerminalGuard(tcgetattr(std::io::stdin()).ok())
    }
}

impl Drop for TerminalGuard {
    fn drop(&mut self) {
        let (Some(found), Ok(now)) = (&self.0, tcgetattr(std::io::stdin())) else {
            return; // it has gone
        };
        if now.local_modes != found.local_modes {
            let _ = tcsetattr(std::io::stdin(), OptionalActions::Now, found);
            // What is said next does not belong to the line that was being edited.
            let _ = writeln!(std::io::stdout());
        }
    }
}
