//! What the server's counters know of one outbox: what it has sent and dropped, and what it holds now.

use crate::metrics::Counters;
use crate::session::{Held, Outbound};
use std::sync::Arc;

/// One outbox's account with the counters.
#[derive(Debug)]
pub(super) struct Account {
    counters: Arc<Counters>,
    /// What the counters know of what it holds.
    reported: Held,
}

impl Account {
    pub(super) fn new(counters: Arc<Counters>) -> Account {
        Account {
            counters,
            reported: Held::default(),
        }
    }

    /// An account of nothing with the same counters.
    pub(super) fn new_empty(&self) -> Account {
        Account::new(self.counters.clone())
    }

    /// Tells the counters what has been sent and dropped, and what waits.
    pub(super) fn report(&mut self, outbound: &mut Outbound) {
        let held = outbound.held();
        self.record(outbound, held);
    }

    /// The same for a session that has ended: what it holds is leaving.
    pub(super) fn report_ended(&mut self, outbound: &mut Outbound) {
        let leaving = outbound.held().kept;
        let held = Held {
            leaving,
            ..Held::default()
        };
        self.record(outbound, held);
    }

    /// The same for an outbox that goes with all that it holds.
    pub(super) fn close(&mut self, outbound: &mut Outbound) {
        self.record(outbound, Held::default());
    }

    fn record(&mut self, outbound: &mut Outbound, held: Held) {
        let tally = outbound.tally();
        self.counters.outbound(tally, held, &mut self.reported);
    }

    /// Whether so many bytes more may wait for offline sessions.
    pub(super) fn has_capacity(&self, more: u64) -> bool {
        self.counters.kept.has_capacity(more)
    }

    /// Bytes of it that count for `limits.kept_bytes`.
    pub(super) fn kept_bytes(&self) -> u64 {
        self.reported.kept
    }

    /// The socket has taken so many bytes.
    pub(super) fn wrote(&self, bytes: u64) {
        self.counters.wrote(bytes);
    }
}
