//! What waits for one client, shared by the keepers that fill it and the connection that owns the socket.
//!
//! Either side may write to the socket, never blocking, under the one lock: a keeper right after a
//! batch, which saves a hop between threads; the connection when the socket takes bytes again.

use crate::packet::{ReasonCode, Reply, Version};
use crate::session::{Close, Outbound};
use parking_lot::{Mutex, MutexGuard};
use std::io::{self, IoSlice};
use tokio::net::tcp::OwnedWriteHalf;
use tokio::sync::Notify;

/// Pieces handed to one `writev`.
const PIECES: usize = 64;

/// One session's outbox.
#[derive(Debug)]
pub(crate) struct Outbox {
    version: Version,
    state: Mutex<State>,
    /// Wakes the connection: the socket is full or broken, or the session is to be closed.
    attention: Notify,
}

/// Under the lock.
#[derive(Debug)]
struct State {
    outbound: Outbound,
    /// None where the connection does all writing itself, and once it has ended.
    socket: Option<OwnedWriteHalf>,
    stage: Stage,
    /// The socket takes nothing; the connection waits for it to.
    blocked: bool,
    /// A keeper has it on its list of outboxes to flush.
    touched: bool,
    closing: Option<Close>,
    /// Bytes that the socket has taken, to see progress by.
    written: u64,
}

/// How far a session has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Open,
    /// The connection is to read no more.
    Draining,
    /// The last packet is in the queue: nothing may follow it [MQTT-3.14.4-1].
    Parting,
    /// Nothing goes out any more.
    Over,
}

impl Stage {
    /// Whether anything may still be put in.
    fn takes(self) -> bool {
        matches!(self, Stage::Open | Stage::Draining)
    }
}

/// What the connection learns when it looks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Condition {
    pub blocked: bool,
    /// Blocked, and more waits than may: the peer has to read before it is read from.
    pub choked: bool,
    pub written: u64,
    pub draining: bool,
    pub closing: Option<Close>,
}

impl Outbox {
    pub(crate) fn new(outbound: Outbound, socket: Option<OwnedWriteHalf>) -> Self {
        Outbox {
            version: outbound.version(),
            state: Mutex::new(State {
                outbound,
                socket,
                stage: Stage::Open,
                blocked: false,
                touched: false,
                closing: None,
                written: 0,
            }),
            attention: Notify::new(),
        }
    }

    /// The version to encode for.
    pub(crate) fn version(&self) -> Version {
        self.version
    }

    /// Puts something in for the connection itself, which flushes when it is through.
    pub(crate) fn queue<T>(&self, fill: impl FnOnce(&mut Outbound) -> T) {
        let mut state = self.state.lock();
        if state.stage.takes() {
            fill(&mut state.outbound);
        }
    }

    /// Puts something in. True where the caller is the first since the last flush, and so has to see to
    /// a [`Outbox::flush`]; nothing happens once the session is over.
    pub(crate) fn fill(&self, fill: impl FnOnce(&mut Outbound)) -> bool {
        let mut state = self.state.lock();
        if !state.stage.takes() {
            return false;
        }
        fill(&mut state.outbound);
        if state.outbound.overflowed() && state.closing.is_none() {
            state.closing = Some(Close {
                reason: ReasonCode::QuotaExceeded,
                text: "reads too slowly: QoS 1 and 2 messages have filled its queue".to_owned(),
            });
            self.attention.notify_one();
        }
        !std::mem::replace(&mut state.touched, true)
    }

    /// Whether bytes wait that nobody has seen to; the caller has to, by a [`Outbox::flush`].
    pub(crate) fn wants_flush(&self) -> bool {
        let mut state = self.state.lock();
        !state.outbound.queue().is_empty() && !std::mem::replace(&mut state.touched, true)
    }

    /// Writes what the socket takes now.
    pub(crate) fn flush(&self) {
        let mut state = self.state.lock();
        state.touched = false;
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

    fn write(&self, state: &mut MutexGuard<'_, State>) {
        let State {
            outbound, socket, ..
        } = &mut **state;
        let Some(socket) = socket else { return };
        let queue = outbound.queue();
        let mut written = 0;
        let problem = loop {
            if queue.is_empty() {
                break None;
            }
            let result = if let Some(bytes) = queue.single() {
                socket.try_write(bytes)
            } else {
                let mut slices = [IoSlice::new(&[]); PIECES];
                let n = queue.slices(&mut slices);
                socket.try_write_vectored(&slices[..n])
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
        match problem {
            None => {}
            Some(io::ErrorKind::WouldBlock) => {
                state.blocked = true;
                self.attention.notify_one();
            }
            // The connection sees the broken socket when it reads, and says why.
            Some(_) => {
                state.stage = Stage::Over;
                state.socket = None;
                self.attention.notify_one();
            }
        }
    }

    /// Asks the connection to end the session; the first reason stays.
    pub(crate) fn close(&self, close: Close) {
        self.state.lock().closing.get_or_insert(close);
        self.attention.notify_one();
    }

    /// Asks the connection to read no more, and to live on for what goes out.
    pub(crate) fn stop_reading(&self) {
        let mut state = self.state.lock();
        if state.stage == Stage::Open {
            state.stage = Stage::Draining;
        }
        drop(state);
        self.attention.notify_one();
    }

    /// Resolves when there is something to look at.
    pub(crate) async fn attention(&self) {
        self.attention.notified().await;
    }

    /// Where things stand.
    pub(crate) fn condition(&self) -> Condition {
        let state = self.state.lock();
        Condition {
            blocked: state.blocked,
            choked: state.blocked && state.outbound.is_full(),
            written: state.written,
            draining: state.stage == Stage::Draining,
            closing: state.closing.clone(),
        }
    }

    /// The last words to a 5.0 client [MQTT-4.13.1-1]; 3.1.1 has none.
    pub(crate) fn say_goodbye(&self, close: &Close) {
        let text = close.text.as_str().into();
        let mut state = self.state.lock();
        if state.stage.takes() {
            let goodbye = Reply::Disconnect(close.reason, Some(text));
            state.outbound.reply(&goodbye);
            state.stage = Stage::Parting;
        }
        drop(state);
        self.flush();
    }

    /// Whether all messages have been handed to the socket's queue: none waits for an acknowledgement.
    pub(crate) fn is_settled(&self) -> bool {
        let state = self.state.lock();
        state.stage == Stage::Over || state.outbound.is_settled()
    }

    /// Whether all has been written, or nothing more can be.
    pub(crate) fn is_drained(&self) -> bool {
        let mut state = self.state.lock();
        state.stage == Stage::Over || state.outbound.queue().is_empty()
    }

    /// Gives the socket up: shuts its sending side. Messages dropped since the start.
    pub(crate) fn hang_up(&self) -> u64 {
        let mut state = self.state.lock();
        state.stage = Stage::Over;
        state.socket = None;
        state.outbound.dropped()
    }

    #[cfg(test)]
    pub(crate) fn take_bytes(&self) -> Vec<u8> {
        let mut state = self.state.lock();
        state.touched = false;
        let queue = state.outbound.queue();
        let mut slices = [IoSlice::new(&[]); PIECES];
        let n = queue.slices(&mut slices);
        let bytes: Vec<u8> = slices[..n].iter().flat_map(|s| s.to_vec()).collect();
        queue.advance(bytes.len());
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::OutboundLimits;

    fn outbox() -> Outbox {
        let limits = OutboundLimits {
            bytes: 10,
            messages: 1,
            receive_maximum: 1,
            maximum_packet_size: None,
            problem_information: true,
        };
        Outbox::new(Outbound::new(Version::V5, limits), None)
    }

    #[test]
    fn nothing_follows_a_goodbye() {
        let outbox = outbox();
        outbox.say_goodbye(&Close {
            reason: ReasonCode::SessionTakenOver,
            text: String::new(),
        });
        assert!(!outbox.fill(|out| out.reply(&Reply::PingResp)));
        outbox.queue(|out| out.reply(&Reply::PingResp));
        let bytes = outbox.take_bytes();
        let length = bytes.get(1).copied().map_or(0, usize::from);
        assert_eq!((bytes.first(), bytes.len()), (Some(&0xE0), 2 + length));
    }

    #[test]
    fn who_asks_and_does_not_read_chokes() {
        let outbox = outbox();
        let ask = || outbox.queue(|out| out.reply(&Reply::PingResp));
        outbox.state.lock().blocked = true;
        (0..5).for_each(|_| ask());
        assert!(!outbox.condition().choked, "10 of 10 bytes");
        ask();
        assert!(outbox.condition().choked);
        outbox.take_bytes();
        assert!(!outbox.condition().choked);
    }
}
