//! The messages and replies that wait for one client, and writing them to its socket.
//!
//! ```text
//! lane:       try_fill, fill --.                   .--> flush --> socket, never blocking
//!                              +--> Outbox (lock) -+
//! connection: queue -----------'                   '--> changed --> connection: the socket is full or
//!                                                    broken, or the connection must end
//! ```
//!
//! Any thread may write to a plain socket: an applier right after a batch, which saves a hop to
//! another thread; the connection's task once a full socket takes bytes again. A TLS or WebSocket
//! stream seems always full to others, so its connection's task does all the writing.

mod lifecycle;
mod outlet;
mod replaying;
mod replays;
mod shared;

pub(crate) use outlet::Outlet;

use crate::metrics::Counters;
use crate::packet::{ReasonCode, Version};
use crate::session::{Backlog, Close, Outbound};
use parking_lot::{Mutex, MutexGuard};
use replays::Replays;
use std::io::{self, IoSlice};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Poll;
use tokio::sync::Notify;
use tokio::sync::futures::Notified;

/// Slices in one `writev`, at most.
const PIECES: usize = 64;

/// The outbox of one session. It outlives connections: while its client is offline it only
/// collects.
///
/// ```text
///              connect                start_draining
/// Offline ---------------> Connected --------------> Draining
///    ^                         |                        |
///    |  resumable              v                        |
///    +-------------------- disconnect <-----------------'
///                              |  not resumable
///                              v
///                            Ended
/// ```
///
/// An offline session ends by `disconnect`, too, when it expires or is evicted.
///
/// `fill` and `queue` put packets in at any stage before `Ended`. A caller that gets true from
/// `fill` arranges one [`flush`](Outbox::flush) for all that is filled until then:
///
/// ```text
/// if outbox.fill(|out| { out.deliver(lane, &frame, now); }) {
///     to_flush.push(outbox.clone());
/// }
/// ```
#[derive(Debug)]
pub(crate) struct Outbox {
    /// The client is a bridge.
    bridge: AtomicBool,
    /// Whether to encode for 5.0: the connection's version, and 5.0 while offline.
    v5: AtomicBool,
    /// Whether the session has a connection. Readable without the lock.
    connected: AtomicBool,
    /// Whether the connection's own task has queued something since it last asked for a flush. Only
    /// that task uses it, so it needs no lock.
    queued: AtomicBool,
    /// Whether the connection's task has something to do for lanes: see
    /// [`has_lane_work`](Outbox::has_lane_work).
    lane_work: AtomicBool,
    /// Whether the connection's task is to ask the policy again for its client.
    recheck: AtomicBool,
    state: Mutex<State>,
    /// Tells the connection's task to look at [`Outbox::condition`].
    changed: Notify,
}

/// The part under the lock.
#[derive(Debug)]
struct State {
    outbound: Outbound,
    /// Boxed, since most sessions have none.
    replays: Option<Box<Replays>>,
    /// None while offline, after the end, and once the socket is broken.
    outlet: Option<Outlet>,
    stage: Stage,
    /// The socket is full. The connection's task calls [`Outbox::unblock`] when it takes bytes
    /// again.
    blocked: bool,
    /// A write has failed. The connection's task ends the connection.
    broken: bool,
    /// A [`Outbox::flush`] is arranged.
    flush_pending: bool,
    /// Boxed, since a connection needs it once.
    closing: Option<Box<Close>>,
    /// Bytes that the socket has taken from this connection. A number that does not change means a
    /// peer that does not read.
    written: u64,
    counters: Arc<Counters>,
    /// The backlog that the counters include already: each report adds only the difference.
    reported: Backlog,
}

impl State {
    /// Brings the counters up to date.
    fn report(&mut self) {
        let mut held = self.outbound.backlog();
        if self.stage == Stage::Offline {
            held.kept_bytes += self.replay_bytes() as u64;
        }
        if self.stage == Stage::Ended {
            // All that it still holds counts as ending.
            let ending_bytes = held.kept_bytes;
            held = Backlog {
                ending_bytes,
                ..Backlog::default()
            };
        }
        self.report_held(held);
    }

    fn report_held(&mut self, held: Backlog) {
        let tally = self.outbound.tally();
        self.counters.outbound(tally, held, &mut self.reported);
    }
}

/// The stage of a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// The client is disconnected; messages collect.
    Offline,
    Connected,
    /// The server is shutting down: the client's acknowledgements count, new messages do not.
    Draining,
    /// The session has ended: nothing goes in or out.
    Ended,
}

/// The state of an outbox, for its connection's task.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Condition {
    /// The socket is full.
    pub blocked: bool,
    /// The socket is full, and more than `limits.outbox_bytes` wait for it, or many replays. The
    /// connection must not read on: answers to a peer that does not read them would fill the memory.
    pub pause_reading: bool,
    /// Bytes that the socket has taken from this connection.
    pub written: u64,
    /// Take acknowledgements only, no new messages.
    pub draining: bool,
    /// End the connection for this reason.
    pub closing: Option<Close>,
}

impl Outbox {
    /// Whether the client sees the RETAIN flag as published where its subscription asks for it. 3.1.1 has no such option:
    /// one that was made by 5.0 counts only for 5.0 [3.1.1 MQTT-3.3.1-9], but that of a bridge counts.
    pub(crate) fn shows_retain(&self) -> bool {
        self.v5.load(Ordering::Relaxed) || self.is_bridge()
    }

    /// Whether the client is a bridge: its subscriptions are "no local" and "retain as published".
    pub(crate) fn is_bridge(&self) -> bool {
        self.bridge.load(Ordering::Relaxed)
    }

    /// Says whether the client of the next connection is a bridge.
    pub(crate) fn set_bridge(&self, bridge: bool) {
        self.bridge.store(bridge, Ordering::Relaxed);
    }

    /// The version to encode frames for: the connection's, and 5.0 while offline since it holds all
    /// properties. A frame of the other version is translated when it is sent.
    pub(crate) fn version(&self) -> Version {
        if self.v5.load(Ordering::Relaxed) {
            Version::V5
        } else {
            Version::V3
        }
    }

    /// Whether the session has a connection. Without the lock: the answer may be outdated.
    pub(crate) fn is_connected(&self) -> bool {
        self.connected.load(Ordering::Relaxed)
    }

    /// Bytes of this outbox that count for `limits.kept_bytes`.
    pub(crate) fn kept_bytes(&self) -> u64 {
        self.state.lock().reported.kept_bytes
    }

    /// Runs `fill` for the connection's own task, which flushes afterwards. None, without a call,
    /// once the session has ended.
    pub(crate) fn queue<T>(&self, fill: impl FnOnce(&mut Outbound) -> T) -> Option<T> {
        self.queued.store(true, Ordering::Relaxed);
        let mut state = self.state.lock();
        (state.stage != Stage::Ended).then(|| fill(&mut state.outbound))
    }

    /// Runs `fill` for a lane. If it returns true, the caller must arrange a
    /// [`flush`](Outbox::flush). Nothing happens once the session has ended.
    pub(crate) fn fill(&self, fill: impl FnOnce(&mut Outbound)) -> bool {
        self.try_fill(fill).unwrap_or(false)
    }

    /// The same. None, without a call, once the session has ended.
    pub(crate) fn try_fill(&self, fill: impl FnOnce(&mut Outbound)) -> Option<bool> {
        self.fill_state(|state| fill(&mut state.outbound))
    }

    fn fill_state(&self, fill: impl FnOnce(&mut State)) -> Option<bool> {
        let mut state = self.state.lock();
        match state.stage {
            Stage::Ended => return None,
            Stage::Offline => {
                let before = state.outbound.backlog().kept_bytes;
                fill(&mut state);
                let more = state.outbound.backlog().kept_bytes.saturating_sub(before);
                if more > 0 && !state.counters.kept.has_capacity(more) {
                    state.outbound.drop_oldest_to(before);
                }
                state.report();
                if state.outbound.has_resumed() {
                    self.changed.notify_one();
                }
                return Some(false);
            }
            Stage::Connected | Stage::Draining => fill(&mut state),
        }
        self.wake_for_lanes(&mut state);
        self.close_if_undeliverable(&mut state);
        Some(!std::mem::replace(&mut state.flush_pending, true))
    }

    /// Whether retained messages, or messages that wait in lanes, can be sent, or lanes have to be told of
    /// messages that the session has finished with. For the connection's own task.
    pub(crate) fn has_lane_work(&self) -> bool {
        self.lane_work.load(Ordering::Relaxed)
    }

    /// Keeps [`has_lane_work`](Outbox::has_lane_work) up to date, and wakes the connection's task if
    /// the work is new or cannot wait.
    fn wake_for_lanes(&self, state: &mut State) {
        // Once for what can wait: the task looks at its time.
        let is_known = self.has_lane_work();
        if self.note_lane_work(state)
            && (!is_known || state.outbound.needs_lane_work() || state.wants_replay())
        {
            self.changed.notify_one();
        }
    }

    /// Keeps [`has_lane_work`](Outbox::has_lane_work) up to date.
    fn note_lane_work(&self, state: &mut State) -> bool {
        let has_work = state.outbound.has_lane_work() || state.wants_replay();
        if has_work != self.has_lane_work() {
            self.lane_work.store(has_work, Ordering::Relaxed);
        }
        has_work
    }

    /// Requests the end of the connection if a packet that the client must get cannot be delivered.
    fn close_if_undeliverable(&self, state: &mut State) {
        if state.closing.is_some() {
            return;
        }
        let (reason, text) = if state.outbound.overflowed() {
            let text = "the client reads too slowly: its queue of QoS 1 and 2 messages is full";
            (ReasonCode::QuotaExceeded, text)
        } else if state.outbound.has_unsendable_reply() {
            let text = "an answer exceeds the client's maximum packet size";
            (ReasonCode::PacketTooLarge, text)
        } else {
            return;
        };
        let text = text.to_owned();
        state.closing = Some(Box::new(Close { reason, text }));
        self.changed.notify_one();
    }

    /// Whether bytes of [`queue`](Outbox::queue) wait and no flush is arranged. If it returns true,
    /// the caller must arrange a [`flush`](Outbox::flush).
    pub(crate) fn wants_flush(&self) -> bool {
        if !self.queued.load(Ordering::Relaxed) {
            return false;
        }
        self.queued.store(false, Ordering::Relaxed);
        let mut state = self.state.lock();
        state.report();
        self.note_lane_work(&mut state);
        self.close_if_undeliverable(&mut state);
        !state.outbound.queue().is_empty() && !std::mem::replace(&mut state.flush_pending, true)
    }

    /// Writes as much as the socket takes without blocking.
    pub(crate) fn flush(&self) {
        let mut state = self.state.lock();
        state.flush_pending = false;
        // Counted before the peer can have read it.
        state.report();
        if state.blocked {
            return;
        }
        self.write(&mut state);
    }

    /// Writes after a full socket has become writable.
    pub(crate) fn unblock(&self) {
        let mut state = self.state.lock();
        state.blocked = false;
        self.write(&mut state);
    }

    /// Passes what waits to a stream's `write`, once. For [`Outlet::Framed`], whose connection's
    /// task writes. `write` must not block. Ready with 0, and no longer blocked, if nothing waits.
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
        state.counters.wrote(written as u64);
        self.note_lane_work(&mut state);
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
        state.counters.wrote(written);
        // The queue may have capacity again.
        self.wake_for_lanes(state);
        match problem {
            None => {}
            Some(io::ErrorKind::WouldBlock) => {
                state.blocked = true;
                self.changed.notify_one();
            }
            // A read usually reports the cause.
            Some(_) => {
                state.broken = true;
                state.outlet = None;
                self.changed.notify_one();
            }
        }
    }

    /// Requests the end of the connection, if there is one. The first reason counts.
    pub(crate) fn close(&self, close: Close) {
        let mut state = self.state.lock();
        if matches!(state.stage, Stage::Connected | Stage::Draining) {
            state.closing.get_or_insert_with(|| Box::new(close));
            self.changed.notify_one();
        }
    }

    /// Tells the connection to take no new messages. It goes on writing, and takes
    /// acknowledgements.
    pub(crate) fn start_draining(&self) {
        let mut state = self.state.lock();
        if state.stage == Stage::Connected {
            state.stage = Stage::Draining;
        }
        drop(state);
        self.changed.notify_one();
    }

    /// Tells the connection to ask the policy again whether its client may stay.
    pub(crate) fn recheck(&self) {
        self.recheck.store(true, Ordering::Release);
        self.changed.notify_one();
    }

    /// Whether the connection is to ask the policy again. The next call returns false.
    pub(crate) fn take_recheck(&self) -> bool {
        self.recheck.swap(false, Ordering::AcqRel)
    }

    /// Resolves when [`condition`](Outbox::condition) has changed. For the connection's task only.
    pub(crate) fn changed(&self) -> Notified<'_> {
        self.changed.notified()
    }

    /// The state that the connection's task acts on.
    pub(crate) fn condition(&self) -> Condition {
        let state = self.state.lock();
        Condition {
            blocked: state.blocked,
            pause_reading: state.blocked && (state.outbound.is_full() || state.has_many_replays()),
            written: state.written,
            draining: state.stage == Stage::Draining,
            closing: state.closing.as_deref().cloned(),
        }
    }

    /// Whether more than `limits.outbox_bytes` wait for the socket.
    pub(crate) fn is_full(&self) -> bool {
        self.state.lock().outbound.is_full()
    }

    /// Whether a write has failed.
    pub(crate) fn is_broken(&self) -> bool {
        self.state.lock().broken
    }

    /// Whether no message waits for the send window and no answer is owed, or nothing more can be
    /// written. Messages may still be unacknowledged, and bytes unwritten.
    pub(crate) fn has_sent_all(&self) -> bool {
        let state = self.state.lock();
        state.broken || state.outbound.has_sent_all()
    }

    /// Whether everything has been written, or nothing more can be.
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
