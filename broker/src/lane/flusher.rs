//! Writing to sockets what the tasks of one thread have put into outboxes.

use crate::fairness::{SOCKETS, Turn};
use crate::outbox::Outbox;
use parking_lot::Mutex;
use std::sync::Arc;
use tokio::sync::Notify;

/// Flushes outboxes once for all tasks of a thread that were ready, instead of once a message.
#[derive(Default)]
pub(crate) struct Flusher {
    /// Outboxes with bytes to write. After adding one, wake the flusher.
    pub(super) to_flush: Mutex<Vec<Arc<Outbox>>>,
    pub(super) wake: Notify,
}

impl Flusher {
    /// Flushes for ever. A task that wakes this one lets it run after all tasks that are ready
    /// already, so it writes once for all of them. After some sockets the others go first: a message to
    /// a large room is for thousands.
    pub(crate) async fn run(&self) {
        let mut round = Vec::new();
        loop {
            self.wake.notified().await;
            std::mem::swap(&mut round, &mut *self.to_flush.lock());
            let mut turn = Turn::of(SOCKETS);
            for outbox in round.drain(..) {
                turn.spend(1).await;
                outbox.flush();
            }
        }
    }
}
