//! The stages of an outbox: offline, connected, offline again, ended. [`Outbox`] shows them as a
//! picture.

use super::outlet::Outlet;
use super::{Outbox, Stage, State};
use crate::metrics::Counters;
use crate::packet::{Reply, Version};
use crate::session::{Backlog, Close, Outbound, OutboundLimits};
use parking_lot::Mutex;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::sync::Notify;

impl Outbox {
    /// The outbox of a new session. [`connect`](Outbox::connect) comes next.
    pub(crate) fn offline(
        version: Version,
        limits: OutboundLimits,
        counters: Arc<Counters>,
    ) -> Self {
        let mut outbound = Outbound::new(version, limits);
        outbound.disconnect(0);
        Outbox::new(outbound, Stage::Offline, None, counters)
    }

    /// Begins a connection: sends `connack`, then what the last connection left unacknowledged,
    /// then what has waited since. Without an outlet (in tests) the bytes stay in the queue. `now`
    /// is in milliseconds of lane time. Nothing happens unless the outbox is offline.
    pub(crate) fn connect(
        &self,
        outlet: Option<Outlet>,
        version: Version,
        limits: OutboundLimits,
        connack: &Reply,
        now: u64,
    ) {
        let mut state = self.state.lock();
        if state.stage != Stage::Offline {
            return;
        }
        self.v5.store(version == Version::V5, Ordering::Relaxed);
        self.connected.store(true, Ordering::Relaxed);
        state.outbound.reconnect(version, limits, connack, now);
        self.note_lane_work(&mut state);
        state.outlet = outlet;
        state.stage = Stage::Connected;
        (state.blocked, state.broken, state.written) = (false, false, 0);
        state.report();
        self.write(&mut state);
    }

    /// Ends the connection, and the session too unless it is `resumable`.
    ///
    /// A 5.0 client is sent DISCONNECT with the reason of `last` [MQTT-4.13.1-1], and nothing after
    /// it [MQTT-3.14.4-1]; 3.1.1 has no such packet. Returns an outbox of the bytes that the socket
    /// has not taken yet, with the socket: write it, then drop it. `now` is in milliseconds of
    /// lane time.
    pub(crate) fn disconnect(&self, last: Option<&Close>, resumable: bool, now: u64) -> Outbox {
        let mut state = self.state.lock();
        if let Some(Close { reason, text }) = last {
            let disconnect = Reply::Disconnect(*reason, Some(text.as_str().into()));
            state.outbound.reply(&disconnect);
        }
        state.report();
        if !state.blocked {
            self.write(&mut state);
        }
        self.connected.store(false, Ordering::Relaxed);
        // A frame for 5.0 holds all properties, whichever version the next connection has.
        self.v5.store(true, Ordering::Relaxed);
        state.stage = Stage::Offline;
        state.closing = None;
        let mut rest = state.outbound.empty_copy();
        *rest.queue() = state.outbound.disconnect(now);
        if !resumable {
            state.stage = Stage::Ended;
            state.outbound.end();
        }
        state.drop_replays();
        state.report();
        let outlet = state.outlet.take();
        Outbox::new(rest, Stage::Connected, outlet, state.counters.clone())
    }

    fn new(
        outbound: Outbound,
        stage: Stage,
        outlet: Option<Outlet>,
        counters: Arc<Counters>,
    ) -> Self {
        Outbox {
            bridge: AtomicBool::new(false),
            v5: AtomicBool::new(outbound.version() == Version::V5),
            connected: AtomicBool::new(stage == Stage::Connected),
            queued: AtomicBool::new(false),
            lane_work: AtomicBool::new(false),
            recheck: AtomicBool::new(false),
            state: Mutex::new(State {
                outbound,
                replays: None,
                outlet,
                stage,
                blocked: false,
                broken: false,
                flush_pending: false,
                closing: None,
                written: 0,
                counters,
                reported: Backlog::default(),
            }),
            changed: Notify::new(),
        }
    }
}

impl Drop for Outbox {
    /// Tells the counters that the outbox holds nothing any more.
    fn drop(&mut self) {
        let state = self.state.get_mut();
        state.report_held(Backlog::default());
    }
}
