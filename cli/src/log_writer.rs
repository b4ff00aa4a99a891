//! Log lines on their way to stderr or a file.
//!
//! Architecture invariant: the log never harms service. A thread of the server only puts a line into a
//! bounded queue; it neither waits nor sees an error. One thread of its own writes the lines. Lines
//! that do not fit into the queue or cannot be written are dropped and counted.

use rustix::event::{PollFd, PollFlags, poll};
use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, ErrorKind, Write};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tracing_subscriber::fmt::MakeWriter;

/// The most bytes of lines that wait to be written.
const QUEUE_BYTES: usize = 4 << 20;

/// The queue of log lines. Clones share it.
#[derive(Debug, Clone)]
pub(crate) struct LogWriter(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    queue: Mutex<LogLines>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct LogLines {
    lines: VecDeque<Vec<u8>>,
    /// Bytes of `lines`.
    bytes: usize,
    /// Lines that were dropped and are not reported yet.
    dropped: u64,
    /// Whether the thread is writing a line that is in `lines` no more.
    writing: bool,
    /// Whether the file must be opened again before the next line.
    reopen: bool,
}

impl LogWriter {
    /// Starts the thread that writes to `file`, or to stderr.
    ///
    /// # Errors
    /// The file cannot be opened, or the system refuses a thread or a descriptor.
    pub(crate) fn start(file: Option<&Path>) -> io::Result<LogWriter> {
        let output = Output::open(file)?;
        let writer = LogWriter(Arc::default());
        let shared = Arc::clone(&writer.0);
        let thread = std::thread::Builder::new().name("log".to_owned());
        thread.spawn(move || shared.write_all_to(output))?;
        Ok(writer)
    }

    /// Opens the file again, before any further line is written.
    pub(crate) fn reopen(&self) {
        self.0.lock().reopen = true;
        self.0.changed.notify_all();
    }

    /// Waits until all lines are written, for at most `limit`.
    pub(crate) fn flush(&self, limit: Duration) {
        let until = Instant::now() + limit;
        let mut queue = self.0.lock();
        while queue.writing || !queue.lines.is_empty() {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            let waited = self.0.changed.wait_timeout(queue, left);
            queue = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, LogLines> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn push(&self, line: &[u8]) {
        let mut queue = self.lock();
        if queue.bytes + line.len() > QUEUE_BYTES {
            queue.dropped = queue.dropped.saturating_add(1);
            return;
        }
        queue.bytes += line.len();
        queue.lines.push_back(line.to_vec());
        self.changed.notify_all();
    }

    /// Waits for the next line. Returns it, and whether the file must be opened again first. Then the
    /// line may be empty.
    fn next(&self) -> (Vec<u8>, bool) {
        let mut queue = self.lock();
        queue.writing = false;
        self.changed.notify_all();
        loop {
            let reopen = std::mem::take(&mut queue.reopen);
            let line = queue.lines.pop_front();
            if reopen || line.is_some() {
                let line = line.unwrap_or_default();
                queue.bytes -= line.len();
                queue.writing = true;
                return (line, reopen);
            }
            let waited = self.changed.wait(queue);
            queue = waited.unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn write_all_to(&self, mut output: Output) {
        loop {
            let (line, reopen) = self.next();
            if reopen && let Err(error) = output.reopen() {
                tracing::error!(%error, "the log file could not be opened again; the old one is used");
            }
            let written = output.write(&line);
            let mut queue = self.lock();
            if written.is_err() {
                queue.dropped = queue.dropped.saturating_add(1);
                continue;
            }
            // A queue that is nearly full would drop this report, too.
            if queue.dropped == 0 || queue.bytes > QUEUE_BYTES / 2 {
                continue;
            }
            let lines = std::mem::take(&mut queue.dropped);
            drop(queue);
            tracing::warn!(lines, "log lines were dropped");
        }
    }
}

/// One line. `tracing-subscriber` formats it whole and writes it with one call.
impl Write for LogWriter {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.0.push(line);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for LogWriter {
    type Writer = LogWriter;

    fn make_writer(&'a self) -> LogWriter {
        self.clone()
    }
}

/// The destination of the lines.
struct Output {
    to: File,
    /// None for stderr.
    path: Option<PathBuf>,
    /// Whether the last line was written in part.
    torn: bool,
}

impl Output {
    fn open(path: Option<&Path>) -> io::Result<Output> {
        let to = match path {
            Some(path) => open(path)?,
            // A descriptor of its own: `std::io::Stderr` has a lock, which a blocked write would hold.
            None => io::stderr().as_fd().try_clone_to_owned()?.into(),
        };
        Ok(Output {
            to,
            path: path.map(Path::to_owned),
            torn: false,
        })
    }

    fn reopen(&mut self) -> io::Result<()> {
        if let Some(path) = &self.path {
            (self.to, self.torn) = (open(path)?, false);
        }
        Ok(())
    }

    fn write(&mut self, line: &[u8]) -> io::Result<()> {
        if line.is_empty() {
            return Ok(());
        }
        if self.torn {
            self.write_whole(b"\n")?;
        }
        self.torn = true;
        self.write_whole(line)?;
        self.torn = false;
        Ok(())
    }

    /// Writes all bytes. Waits for a pipe or terminal that is non-blocking and full.
    fn write_whole(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            match self.to.write(bytes) {
                Ok(0) => return Err(ErrorKind::WriteZero.into()),
                Ok(n) => bytes = &bytes[n..],
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    poll(&mut [PollFd::new(&self.to, PollFlags::OUT)], None)?;
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

fn open(path: &Path) -> io::Result<File> {
    File::options().append(true).create(true).open(path)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn the_queue_is_bounded_and_dropped_lines_are_counted() {
        let shared = Shared::default();
        let line = vec![b'x'; QUEUE_BYTES / 4];
        for _ in 0..10 {
            shared.push(&line);
        }
        let queue = shared.lock();
        assert_eq!((queue.lines.len(), queue.dropped), (4, 6));
        assert!(queue.bytes <= QUEUE_BYTES);
    }

    #[test]
    fn a_flush_waits_for_the_lines_and_not_for_ever() {
        let (mut read, write) = io::pipe().unwrap();
        let writer = LogWriter(Arc::default());
        let shared = Arc::clone(&writer.0);
        let output = Output {
            to: File::from(std::os::fd::OwnedFd::from(write)),
            path: None,
            torn: false,
        };
        std::thread::spawn(move || shared.write_all_to(output));
        // More than the pipe holds, so the thread waits for a reader.
        let line = vec![b'x'; 1 << 20];
        writer.0.push(&line);
        writer.flush(Duration::from_millis(10));
        assert!(writer.0.lock().writing);
        let mut got = vec![0; line.len()];
        io::Read::read_exact(&mut read, &mut got).unwrap();
        writer.flush(Duration::from_mins(1));
        assert!(!writer.0.lock().writing && got == line);
    }
}
