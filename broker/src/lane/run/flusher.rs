//! Writing to the sockets of the sessions that a thread has put something in for.

use crate::outbox::Outbox;
use parking_lot::Mutex;
use std::sync::Arc;
use tokio::sync::Notify;

/// Writes, once a round of a thread's tasks, what they have put into outboxes.
#[derive(Default)]
pub(crate) struct Flusher {
    pub(super) to_flush: Mutex<Vec<Arc<Outbox>>>,
    pub(super) wake: Notify,
}

impl Flusher {
    /// Flushes for ever. Woken within a round of tasks, it runs after those that were ready before, and so
    /// writes once for all of them.
    pub(crate) async fn run(&self) {
        let mut round = Vec::new();
        loop {
            self.wake.notified().await;
            std::mem::swap(&mut round, &mut *self.to_flush.lock());
            for outbox in round.drain(..) {
                outbox.flush();
            }
        }
    }
}
