//! SIGINT, SIGTERM and SIGHUP.

use std::io::{self, IsTerminal};
use tokio::signal::unix::{Signal, SignalKind, signal};

/// Receives SIGINT, SIGTERM and SIGHUP. While it exists, no such signal ends the process by itself.
pub(crate) struct Signals {
    interrupt: Signal,
    terminate: Signal,
    hangup: Signal,
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
            reloads: reloads && !io::stdin().is_terminal(),
        })
    }

    /// Waits for the next signal. The future may be dropped without loss of a signal.
    pub(crate) async fn next(&mut self) -> SignalAction {
        tokio::select! {
            _ = self.interrupt.recv() => SignalAction::End("SIGINT"),
            _ = self.terminate.recv() => SignalAction::End("SIGTERM"),
            _ = self.hangup.recv() => if self.reloads {
                SignalAction::Reload
            } else {
                SignalAction::End("SIGHUP")
            },
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
}
