//! The signals that processes obey.

use std::io::{self, IsTerminal};
use tokio::signal::unix::{Signal, SignalKind, signal};

/// Hears SIGINT, SIGTERM and SIGHUP from when it is made; none of them ends the process by itself then.
pub(crate) struct Signals {
    interrupt: Signal,
    terminate: Signal,
    hangup: Signal,
    reloads: bool,
}

/// What a signal asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SignalAction {
    /// The end, by the signal of this name.
    End(&'static str),
    /// Files are to be read again.
    Reload,
}

impl Signals {
    /// Within a tokio runtime. Where `reloads`, SIGHUP asks for files to be read again, but not on a terminal: there it
    /// says that the terminal has gone.
    pub(crate) fn listen(reloads: bool) -> io::Result<Signals> {
        Ok(Signals {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            hangup: signal(SignalKind::hangup())?,
            reloads: reloads && !io::stdin().is_terminal(),
        })
    }

    /// What the next one asks for. May be dropped and called again without loss.
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

    /// The name of the next one that asks for the end.
    pub(crate) async fn end(&mut self) -> &'static str {
        loop {
            if let SignalAction::End(signal) = self.next().await {
                return signal;
            }
        }
    }
}
