//! Waiting until lanes have applied all that was appended before.

use parking_lot::{Condvar, Mutex};
use std::collections::HashMap;
use std::time::{Duration, Instant};

/// Counts lanes that have come to a barrier.
#[derive(Default)]
pub(crate) struct Barriers {
    reached: Mutex<HashMap<u64, usize>>,
    changed: Condvar,
}

impl Barriers {
    pub(super) fn reach(&self, number: u64) {
        *self.reached.lock().entry(number).or_default() += 1;
        self.changed.notify_all();
    }

    /// Blocks until `lanes` lanes have come to the barrier; false at the deadline.
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
