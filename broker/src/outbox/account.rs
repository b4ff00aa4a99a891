//! Reports one outbox to the server's counters: what it has sent and dropped, and what it holds.

use crate::metrics::Counters;
use crate::session::{Held, Outbound};
use std::sync::Arc;

/// Remembers what the counters know of one outbox, so that each report adds only the difference.
#[derive(Debug)]
pub(super) struct Account {
    counters: Arc<Counters>,
    reported: Held,
}

impl Account {
    pub(super) fn new(counters: Arc<Counters>) -> Account {
        Account {
            counters,
            reported: Held::default(),
        }
    }

    /// An account of another outbox with the same counters.
    pub(super) fn new_empty(&self) -> Account {
        Account::new(self.counters.clone())
    }

    /// Reports an outbox whose session has not ended.
    pub(super) fn report(&mut self, outbound: &mut Outbound) {
        let held = outbound.held();
        self.record(outbound, held);
    }

    /// Reports an outbox whose session has ended: all that it still holds counts as ending.
    pub(super) fn report_ended(&mut self, outbound: &mut Outbound) {
        let leaving = outbound.held().kept;
        let held = Held {
            leaving,
            ..Held::default()
        };
        self.record(outbound, held);
    }

    /// Reports an outbox that is dropped: it holds nothing any more.
    pub(super) fn close(&mut self, outbound: &mut Outbound) {
        self.record(outbound, Held::default());
    }

    fn record(&mut self, outbound: &mut Outbound, held: Held) {
        let tally = outbound.tally();
        self.counters.outbound(tally, held, &mut self.reported);
    }

    /// Whether `limits.kept_bytes` leaves `bytes` more.
    pub(super) fn has_capacity(&self, bytes: u64) -> bool {
        self.counters.kept.has_capacity(bytes)
    }

    /// Bytes of this outbox that count for `limits.kept_bytes`.
    pub(super) fn kept_bytes(&self) -> u64 {
        self.reported.kept
    }

    /// Counts `bytes` that the socket has taken.
    pub(super) fn wrote(&self, bytes: u64) {
        self.counters.wrote(bytes);
    }
}
