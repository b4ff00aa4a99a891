//! Counts open connections, so that the server can check limits, and wait for the last one at its shutdown.

use parking_lot::{Condvar, Mutex};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// A shared count. It is raised by [`Gate::enter`], and lowered when the guard is dropped. Clones share the count.
#[derive(Debug, Clone, Default)]
pub(crate) struct Gate {
    inner: Arc<(Mutex<usize>, Condvar)>,
}

/// One unit of a [`Gate`]'s count.
#[derive(Debug)]
pub(crate) struct GateGuard(Gate);

impl Gate {
    /// Raises the count by one, as long as the guard lives.
    pub(crate) fn enter(&self) -> GateGuard {
        *self.inner.0.lock() += 1;
        GateGuard(self.clone())
    }

    /// The count now.
    pub(crate) fn count(&self) -> usize {
        *self.inner.0.lock()
    }

    /// Blocks until the count is 0. False if that takes longer than `limit`.
    pub(crate) fn wait_empty(&self, limit: Duration) -> bool {
        let deadline = Instant::now() + limit;
        let mut inside = self.inner.0.lock();
        while *inside > 0 {
            if self.inner.1.wait_until(&mut inside, deadline).timed_out() {
                return *inside == 0;
            }
        }
        true
    }
}

impl Drop for GateGuard {
    fn drop(&mut self) {
        let mut inside = self.0.inner.0.lock();
        *inside -= 1;
        if *inside == 0 {
            self.0.inner.1.notify_all();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_ends_with_the_last_guard_or_at_the_limit() {
        let gate = Gate::default();
        assert!(gate.wait_empty(Duration::ZERO));
        let (first, second) = (gate.enter(), gate.enter());
        assert_eq!(gate.count(), 2);
        drop(first);
        assert!(!gate.wait_empty(Duration::from_millis(1)));
        std::thread::scope(|scope| {
            scope.spawn(|| drop(second));
            assert!(gate.wait_empty(Duration::from_secs(30)));
        });
        assert_eq!(gate.count(), 0);
    }
}
