//! What a lane asks of whoever applies its entries.

use crate::outbox::Outbox;
use crate::policy::{Actor, Attempt, Notice, Refusal, SessionId};
use std::sync::Arc;

/// What lies around a lane: it is reached by effects only.
pub(crate) trait LaneHost {
    /// The outbox of a session on this node, while it lives.
    fn outbox(&self, session: SessionId) -> Option<Arc<Outbox>>;
    /// Bytes wait in this outbox now; called once until it is flushed ([`Outbox::fill`] says when).
    fn flush_later(&mut self, outbox: &Arc<Outbox>);
    /// Publishes a notice in its own lane; may be dropped.
    fn send_notice(&mut self, notice: Notice);
    /// The lane refused what had been let in; tells the sender where that is called for.
    fn refused(&mut self, who: Actor<'_>, attempt: Attempt<'_>, refusal: &Refusal, now: u64);
    /// Appends a timer entry to this lane at `at`.
    fn set_timer(&mut self, lane: u16, key: String, generation: u64, at: u64);
    /// A barrier has been reached.
    fn barrier_reached(&mut self, lane: u16, number: u64);
}
