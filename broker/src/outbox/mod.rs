//! What waits for one client, shared by the keepers that fill it and the connection that owns the socket.
//!
//! Either side may write to a plain socket, never blocking, under the one lock: a keeper right after a
//! batch, which saves a hop between threads; the connection when the socket takes bytes again. Where TLS or
//! WebSocket frames stand between, a keeper finds that the socket takes nothing, and the connection writes.
//!
//! It lives as long as the session: between two connections it is asleep and only collects.

mod account;
mod lifecycle;
mod outlet;
mod shared;

pub(crate) use outlet::Outlet;

use crate::packet::{ReasonCode, Version};
use crate::session::{Close, Outbound};
use account::Account;
use parking_lot::{Mutex, MutexGuard};
use std::io::{self, IoSlice};
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Poll;
use tokio::sync::Notify;

/// Pieces handed to one `writev`.
const PIECES: usize = 64;

/// One session's outbox.
#[derive(Debug)]
pub(crate) struct Outbox {
    /// Whether 5.0 is spoken, or may be the next time.
    v5: AtomicBool,
    /// Whether a connection serves it: what may go to somebody else should.
    connected: AtomicBool,
    state: Mutex<State>,
    /// Wakes the connection: the socket is full or broken, or the session is to be closed.
    changed: Notify,
}

/// Under the lock.
#[derive(Debug)]
struct State {
    outbound: Outbound,
    /// None once it has ended.
    outlet: Option<Outlet>,
    stage: Stage,
    /// The socket takes nothing; the connection waits for it to.
    blocked: bool,
    /// The socket is gone, and the connection is about to see it.
    broken: bool,
    /// A keeper has it on its list of outboxes to flush.
    flush_pending: bool,
    closing: Option<Close>,
    /// Bytes that the socket has taken, to see progress by.
    written: u64,
    account: Account,
}

impl State {
    /// Brings the counters up to date.
    fn report(&mut self) {
        match self.stage {
            Stage::Ended => self.account.report_ended(&mut self.outbound),
            _ => self.account.report(&mut self.outbound),
        }
    }
}

/// How far a session has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// Without a connection.
    Offline,
    Connected,
    /// The connection is to read no more.
    Draining,
    /// The session is over: nothing goes in or out any more.
    Ended,
}

/// What the connection learns when it looks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Condition {
    pub blocked: bool,
    /// Blocked, and more waits than may: the peer has to read before it is read from.
    pub pause_reading: bool,
    pub written: u64,
    pub draining: bool,
    pub closing: Option<Close>,
}

impl Outbox {
    /// The version to encode for, while asleep the one that says more; a frame of another is translated on its way.
    pub(crate) fn version(&self) -> Version {
        if self.v5.load(Ordering::Relaxed) {
            Version::V5
        } else {
            Version::V3
        }
    }

    /// Whether a connection serves the session.
    pub(crate) fn is_connected(&self) -> bool {
        self.connected.load(Ordering::Relaxed)
    }

    /// Bytes of it that count for `limits.kept_bytes`.
    pub(crate) fn kept_bytes(&self) -> u64 {
        self.state.lock().account.kept_bytes()
    }

    /// Puts something in for the connection itself, which flushes when it is through; none once the
    /// session is over.
    pub(crate) fn queue<T>(&self, fill: impl FnOnce(&mut Outbound) -> T) -> Option<T> {
        let mut state = self.state.lock();
        (state.stage != Stage::Ended).then(|| fill(&mut state.outbound))
    }

    /// Puts something in. True where the caller is the first since the last flush, and so has to see to
    /// a [`Outbox::flush`]; nothing happens once the session is over.
    pub(crate) fn fill(&self, fill: impl FnOnce(&mut Outbound)) -> bool {
        self.try_fill(fill).unwrap_or(false)
    }

    /// The same; none where nothing happened.
    pub(crate) fn try_fill(&self, fill: impl FnOnce(&mut Outbound)) -> Option<bool> {
        let mut state = self.state.lock();
        match state.stage {
            Stage::Ended => return None,
            Stage::Offline => {
                let before = state.outbound.held().kept;
                fill(&mut state.outbound);
                let more = state.outbound.held().kept.saturating_sub(before);
                if more > 0 && !state.account.has_capacity(more) {
                    state.outbound.give_way(before);
                }
                state.report();
                if state.outbound.has_resumed() {
                    self.changed.notify_one();
                }
                return Some(false);
            }
            Stage::Connected | Stage::Draining => fill(&mut state.outbound),
        }
        self.close_if_undeliverable(&mut state);
        Some(!std::mem::replace(&mut state.flush_pending, true))
    }

    /// Closes where what must reach the client cannot.
    fn close_if_undeliverable(&self, state: &mut State) {
        if state.closing.is_some() {
            return;
        }
        let (reason, text) = if state.outbound.overflowed() {
            let text = "reads too slowly: QoS 1 and 2 messages have filled its queue";
            (ReasonCode::QuotaExceeded, text)
        } else if state.outbound.is_unanswerable() {
            let text = "an answer is larger than the maximum packet size of CONNECT";
            (ReasonCode::PacketTooLarge, text)
        } else {
            return;
        };
        let text = text.to_owned();
        state.closing = Some(Close { reason, text });
        self.changed.notify_one();
    }

    /// Whether bytes wait that nobody has seen to; the caller has to, by a [`Outbox::flush`].
    pub(crate) fn wants_flush(&self) -> bool {
        let mut state = self.state.lock();
        state.report();
        self.close_if_undeliverable(&mut state);
        !state.outbound.queue().is_empty() && !std::mem::replace(&mut state.flush_pending, true)
    }

    /// Writes what the socket takes now.
    pub(crate) fn flush(&self) {
        let mut state = self.state.lock();
        state.flush_pending = false;
        // Before anybody can have read it.
        state.report();
        if state.blocked {
            return;
        }
        self.write(&mut state);
    }

    /// The socket takes bytes again.
    pub(crate) fn unblock(&self) {
        let mut state = self.state.lock();
        state.blocked = false;
        self.write(&mut state);
    }

    /// One write of what waits by a stream's `write`, which must not block: a [`Outlet::Framed`] is written by
    /// its connection. Ready with 0 where nothing waits; nobody counts as blocked then.
    pub(crate) fn write_through(
        &self,
        write: impl FnOnce(&[IoSlice<'_>]) -> Poll<io::Result<usize>>,
    ) -> Poll<io::Result<usize>> {
        let mut state = self.state.lock();
        let queue = state.outbound.queue();
        if queue.is_empty() {
            state.blocked = false;
            return Poll::Ready(Ok(0));
        }
        let mut slices = [IoSlice::new(&[]); PIECES];
        let n = queue.slices(&mut slices);
        let written = match std::task::ready!(write(&slices[..n]))? {
            0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
            n => n,
        };
        queue.advance(written);
        state.written += written as u64;
        state.account.wrote(written as u64);
        Poll::Ready(Ok(written))
    }

    fn write(&self, state: &mut MutexGuard<'_, State>) {
        let State {
            outbound, outlet, ..
        } = &mut **state;
        let Some(outlet) = outlet else { return };
        let queue = outbound.queue();
        let mut written = 0;
        let problem = loop {
            if queue.is_empty() {
                break None;
            }
            let result = if let Some(bytes) = queue.single() {
                outlet.try_write(bytes)
            } else {
                let mut slices = [IoSlice::new(&[]); PIECES];
                let n = queue.slices(&mut slices);
                outlet.try_write_vectored(&slices[..n])
            };
            match result {
                Ok(0) => break Some(io::ErrorKind::WriteZero),
                Ok(n) => {
                    queue.advance(n);
                    written += n as u64;
                }
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => break Some(e.kind()),
            }
        };
        state.written += written;
        state.account.wrote(written);
        match problem {
            None => {}
            Some(io::ErrorKind::WouldBlock) => {
                state.blocked = true;
                self.changed.notify_one();
            }
            // Reading says why, most of the time.
            Some(_) => {
                state.broken = true;
                state.outlet = None;
                self.changed.notify_one();
            }
        }
    }

    /// Asks the connection to end; the first reason stays. Nothing happens where there is none.
    pub(crate) fn close(&self, close: Close) {
        let mut state = self.state.lock();
        if matches!(state.stage, Stage::Connected | Stage::Draining) {
            state.closing.get_or_insert(close);
            self.changed.notify_one();
        }
    }

    /// Asks the connection to read no more, and to live on for what goes out.
    pub(crate) fn stop_reading(&self) {
        let mut state = self.state.lock();
        if state.stage == Stage::Connected {
            state.stage = Stage::Draining;
        }
        drop(state);
        self.changed.notify_one();
    }

    /// Resolves when there is something to look at.
    pub(crate) async fn changed(&self) {
        self.changed.notified().await;
    }

    /// Where things stand.
    pub(crate) fn condition(&self) -> Condition {
        let state = self.state.lock();
        Condition {
            blocked: state.blocked,
            pause_reading: state.blocked && state.outbound.is_full(),
            written: state.written,
            draining: state.stage == Stage::Draining,
            closing: state.closing.clone(),
        }
    }

    /// Whether as much waits for the socket as may; see [`Outbound::is_full`].
    pub(crate) fn is_full(&self) -> bool {
        self.state.lock().outbound.is_full()
    }

    /// Whether the socket takes nothing any more.
    pub(crate) fn is_broken(&self) -> bool {
        self.state.lock().broken
    }

    /// Whether all messages have been handed to the socket's queue: none waits for an acknowledgement.
    pub(crate) fn is_settled(&self) -> bool {
        let state = self.state.lock();
        state.broken || state.outbound.is_settled()
    }

    /// Whether all has been written, or nothing more can be.
    pub(crate) fn is_drained(&self) -> bool {
        let mut state = self.state.lock();
        state.broken || state.outlet.is_none() || state.outbound.queue().is_empty()
    }

    /// Messages dropped since the start of the session.
    pub(crate) fn dropped(&self) -> u64 {
        self.state.lock().outbound.dropped()
    }
}

#[cfg(test)]
mod tests;
