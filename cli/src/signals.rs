//! The signals that end the process, that reload it, and that it survives.

use rustix::process::Signal as Number;
use std::io::{self, IsTerminal};
use std::time::Duration;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::Instant;

/// Signals within this time of the first one count as the same one: GNU `timeout` signals a process
/// and then its group.
const SAME_SIGNAL: Duration = Duration::from_secs(1);

/// Receives signals. While it exists, none of them ends the process by itself.
pub(crate) struct Signals {
    interrupt: Signal,
    terminate: Signal,
    hangup: Signal,
    /// Signals whose only effect is a log line.
    ignored: [(Signal, &'static str); 3],
    reloads: bool,
}

/// What to do on a signal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SignalAction {
    /// End the process. The text is the signal's name.
    End(&'static str),
    /// Read files again.
    Reload,
}

impl Signals {
    /// Needs a tokio runtime. With `reloads`, SIGHUP means [`SignalAction::Reload`], except on a
    /// terminal: there it means that the terminal was closed.
    pub(crate) fn listen(reloads: bool) -> io::Result<Signals> {
        Ok(Signals {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            hangup: signal(SignalKind::hangup())?,
            ignored: [
                // Other servers write or rotate something on these two.
                (signal(SignalKind::user_defined1())?, "SIGUSR1"),
                (signal(SignalKind::user_defined2())?, "SIGUSR2"),
                // A log file has reached the limit on file sizes. The write fails, which is enough.
                (
                    signal(SignalKind::from_raw(Number::XFSZ.as_raw()))?,
                    "SIGXFSZ",
                ),
            ],
            reloads: reloads && !io::stdin().is_terminal(),
        })
    }

    /// Waits for the next signal. The future may be dropped without loss of a signal.
    pub(crate) async fn next(&mut self) -> SignalAction {
        let [(first, one), (second, two), (third, three)] = &mut self.ignored;
        loop {
            let ignored: &str = tokio::select! {
                _ = self.interrupt.recv() => return SignalAction::End("SIGINT"),
                _ = self.terminate.recv() => return SignalAction::End("SIGTERM"),
                _ = self.hangup.recv() => return if self.reloads {
                    SignalAction::Reload
                } else {
                    SignalAction::End("SIGHUP")
                },
                _ = first.recv() => one,
                _ = second.recv() => two,
                _ = third.recv() => three,
            };
            tracing::info!(signal = ignored, "a signal was ignored");
        }
    }

    /// Waits for the next signal that ends the process. Returns its name.
    pub(crate) async fn end(&mut self) -> &'static str {
        loop {
            if let SignalAction::End(signal) = self.next().await {
                return signal;
            }
        }
    }

    /// Waits for a signal that ends the process, more than a second from now.
    pub(crate) async fn end_again(&mut self) -> &'static str {
        let first = Instant::now();
        loop {
            let signal = self.end().await;
            if first.elapsed() > SAME_SIGNAL {
                return signal;
            }
        }
    }
}
