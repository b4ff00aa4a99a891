//! Reads what the user types or pipes in. It reads on a thread, because neither can be awaited.

use rustix::termios::{OptionalActions, Termios, tcgetattr, tcsetattr};
use rustyline::config::Config;
use rustyline::error::ReadlineError;
use rustyline::history::MemHistory;
use rustyline::{Editor, ExternalPrinter};
use std::io::{BufRead, Write};
use tokio::sync::mpsc;

/// The most lines that wait to be sent. The reading thread waits when it is reached.
const WAITING_LINES: usize = 64;

/// Lines without their line ends. The channel closes at the end of input.
pub(crate) type InputLines = mpsc::Receiver<std::io::Result<Vec<u8>>>;

/// Prints above the line that the user edits.
pub(crate) type Printer = Box<dyn ExternalPrinter + Send>;

/// The lines of stdin as bytes.
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

/// Lines edited on the terminal after `prompt`. Ctrl-C, Ctrl-D and a line for which `last` is true
/// end them.
pub(crate) fn edited(
    prompt: String,
    last: fn(&[u8]) -> bool,
) -> rustyline::Result<(InputLines, Printer)> {
    // Bracketed paste would stay on if the process ended while a line is edited.
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

/// Restores the terminal's settings when it is dropped. The editing thread may still edit a line
/// when the process ends.
pub(crate) struct TerminalGuard(Option<Termios>);

impl TerminalGuard {
    pub(crate) fn remember() -> TerminalGuard {
        TerminalGuard(tcgetattr(std::io::stdin()).ok())
    }
}

impl Drop for TerminalGuard {
    fn drop(&mut self) {
        let (Some(found), Ok(now)) = (&self.0, tcgetattr(std::io::stdin())) else {
            return; // stdin is no terminal any more
        };
        if now.local_modes != found.local_modes {
            let _ = tcsetattr(std::io::stdin(), OptionalActions::Now, found);
            // Later output starts on a new line, below the edited one.
            let _ = writeln!(std::io::stdout());
        }
    }
}
