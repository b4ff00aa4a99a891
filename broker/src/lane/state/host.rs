//! The interface by which a lane reaches the process that runs it.

use super::subscription::Slot;
use crate::outbox::Outbox;
use crate::policy::{Actor, Attempt, Notice, Refusal, SessionId};
use std::sync::Arc;

/// The outside of a lane, as [`Lane::apply`](super::Lane::apply) reaches it.
///
/// A lane changes nothing outside its own state but by these calls and by filling the outboxes that
/// they return. None of them waits or calls the lane back. A node implements this by its links,
/// session registry, mailboxes and timers; a test by a few maps.
pub(crate) trait LaneHost {
    /// The outbox of a session; none if the session has ended, or is another node's.
    fn outbox(&self, session: SessionId) -> Option<Arc<Outbox>>;

    /// The lane has given this slot to a session. Its outbox, if it has one here, is linked.
    fn link(&mut self, slot: Slot, session: SessionId);

    /// The lane has taken the slot back. Returns the outbox that was linked.
    fn unlink(&mut self, slot: Slot) -> Option<Arc<Outbox>>;

    /// The outbox that is linked to a slot.
    fn linked(&self, slot: Slot) -> Option<&Arc<Outbox>>;

    /// Writes the outbox of a slot to its socket once the batch has been applied. The lane calls
    /// this once for each time that [`Outbox::fill`] returns true.
    fn flush_later(&mut self, slot: Slot);

    /// Publishes an error message in the lane of its topic. It is dropped, and counted, if that
    /// lane's mailbox is full.
    fn send_notice(&mut self, notice: Notice);

    /// The lane refused a request that the policy had let in. The sender is told where its protocol
    /// has no acknowledgement for it. `now` is in milliseconds since the Unix epoch.
    fn refused(&mut self, who: Actor<'_>, attempt: Attempt<'_>, refusal: &Refusal, now: u64);

    /// Appends [`Entry::Timer`](super::Entry::Timer) to this lane at `at`, in milliseconds since
    /// the Unix epoch. A timer of the same lane and key is replaced.
    fn set_timer(&mut self, lane: u16, key: String, generation: u64, at: u64);
}
