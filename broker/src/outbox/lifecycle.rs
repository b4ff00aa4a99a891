//! The life of an outbox: offline, connected, offline again, ended. It is as long as that of its session.

use super::account::Account;
use super::outlet::Outlet;
use super::{Outbox, Stage, State};
use crate::metrics::Counters;
use crate::packet::{Reply, Version};
use crate::session::{Close, Outbound, OutboundLimits};
use parking_lot::Mutex;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::sync::Notify;

impl Outbox {
    /// Of a session whose connection is to be [opened](Outbox::open).
    pub(crate) fn offline(
        version: Version,
        limits: OutboundLimits,
        counters: Arc<Counters>,
    ) -> Self {
        let mut outbound = Outbound::new(version, limits);
        outbound.sleep(0);
        Outbox::new(outbound, Stage::Offline, None, Account::new(counters))
    }

    /// A new connection takes the session up; see [`Outbound::wake`].
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
        state.outbound.wake(version, limits, connack, now);
        state.outlet = outlet;
        state.stage = Stage::Connected;
        (state.blocked, state.broken, state.written) = (false, false, 0);
        state.report();
        self.write(&mut state);
    }

    /// The connection is over, with these last words to a 5.0 client [MQTT-4.13.1-1], which nothing may
    /// follow [MQTT-3.14.4-1]; 3.1.1 has none. The session is over with it unless it `resumable`. What the socket
    /// does not take now goes with it into an outbox of its own.
    pub(crate) fn disconnect(&self, last: Option<&Close>, resumable: bool, now: u64) -> Outbox {
        let mut state = self.state.lock();
        if let Some(close) = last {
            let text = close.text.as_str().into();
            let goodbye = Reply::Disconnect(close.reason, Some(text));
            state.outbound.reply(&goodbye);
        }
        state.report();
        if !state.blocked {
            self.write(&mut state);
        }
        self.connected.store(false, Ordering::Relaxed);
        // What waits has to lose nothing where the client comes back in another version.
        self.v5.store(true, Ordering::Relaxed);
        state.stage = if resumable {
            Stage::Offline
        } else {
            Stage::Ended
        };
        state.closing = None;
        let mut rest = state.outbound.bare();
        *rest.queue() = state.outbound.sleep(now);
        if !resumable {
            state.outbound.let_go();
        }
        state.report();
        let outlet = state.outlet.take();
        Outbox::new(rest, Stage::Connected, outlet, state.account.new_empty())
    }

    fn new(outbound: Outbound, stage: Stage, outlet: Option<Outlet>, account: Account) -> Self {
        Outbox {
            v5: AtomicBool::new(outbound.version() == Version::V5),
            connected: AtomicBool::new(stage == Stage::Connected),
            state: Mutex::new(State {
                outbound,
                outlet,
                stage,
                blocked: false,
                broken: false,
                flush_pending: false,
                closing: None,
                written: 0,
                account,
            }),
            changed: Notify::new(),
        }
    }
}

impl Drop for Outbox {
    /// What it held ends with it.
    fn drop(&mut self) {
        let state = self.state.get_mut();
        state.stage = Stage::Ended;
        state.account.close(&mut state.outbound);
    }
}
