//! Waiting until lanes have applied everything that was appended before.

use parking_lot::{Condvar, Mutex};
use std::collections::HashMap;
use std::time::{Duration, Instant};

/// Counts the lanes that have applied a barrier.
///
/// To wait, append [`Entry::Barrier`](crate::lane::Entry::Barrier) with one number to each lane's
/// log, then call [`wait`](Self::wait) with it. A number is used once.
#[derive(Default)]
pub(crate) struct Barriers {
    /// How many lanes have applied the barrier with this number.
    reached: Mutex<HashMap<u64, usize>>,
    changed: Condvar,
}

impl Barriers {
    /// A lane has applied the barrier.
    pub(super) fn reach(&self, number: u64) {
        *self.reached.lock().entry(number).or_default() += 1;
        self.changed.notify_all();
    }

    /// Blocks until `lanes` lanes have applied the barrier, for `limit` at most. False if some have
    /// not.
    pub(crate) fn wait(&self, number: u64, lanes: usize, limit: Duration) -> bool {
        let deadline = Instant::now() + limit;
        let mut reached = self.reached.lock();
        while reached.get(&number).copied().unwrap_or(0) < lanes {
            if self.changed.wait_until(&mut reached, deadline).timed_out() {
                return false;
            }
        }
        true
    }
}
