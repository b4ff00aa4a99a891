//! What the server's counters know of one outbox: what it has sent and dropped, and what it holds now.

use crate::metrics::Counters;
use crate::session::{Held, Outbound};
use std::sync::Arc;

/// One outbox's account with the counters.
#[derive(Debug)]
pub(super) struct Account {
    counters: Arc<Counters>,
    /// What the counters know of what it holds.
    counted: Held,
}

impl Account {
    pub(super) fn new(counters: Arc<Counters>) -> Account {
        Account {
            counters,
            counted: Held::default(),
        }
    }

    /// An account of nothing with the same counters.
    pub(super) fn another(&self) -> Account {
        Account::new(self.counters.clone())
    }

    /// Tells the counters what has been sent and dropped, and what waits.
    pub(super) fn report(&mut self, outbound: &mut Outbound) {
        let held = outbound.held();
        self.tell(outbound, held);
    }

    /// The same for a session that has ended: what it holds is leaving.
    pub(super) fn report_leaving(&mut self, outbound: &mut Outbound) {
        let leaving = outbound.held().kept;
        let held = Held {
            leaving,
            ..Held::default()
        };
        self.tell(outbound, held);
    }

    /// The same for an outbox that goes with all that it holds.
    pub(super) fn close(&mut self, outbound: &mut Outbound) {
        self.tell(outbound, Held::default());
    }

    fn tell(&mut self, outbound: &mut Outbound, held: Held) {
        let tally = outbound.tally();
        self.counters.outbound(tally, held, &mut self.counted);
    }

    /// Whether so many bytes more may wait for offline sessions.
    pub(super) fn takes(&self, more: u64) -> bool {
        self.counters.kept.takes(more)
    }

    /// Bytes of it that count for `limits.kept_bytes`.
    pub(super) fn kept(&self) -> u64 {
        self.counted.kept
    }

    /// The socket has taken so many bytes.
    pub(super) fn wrote(&self, bytes: u64) {
        self.counters.wrote(bytes);
    }
}
