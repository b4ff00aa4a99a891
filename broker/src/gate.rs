//! Counts what is open (connections, listeners' sockets), so that limits can be checked and a shutdown can wait for the
//! last one.

use parking_lot::{Condvar, Mutex};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// A count of open things. Clones share it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Gate {
    inner: Arc<(Mutex<usize>, Condvar)>,
}

/// One of what a [`Gate`] counts, until it is dropped.
#[derive(Debug)]
pub(crate) struct GateGuard(Gate);

impl Gate {
    /// Counts one more, for as long as the result lives.
    pub(crate) fn enter(&self) -> GateGuard {
        *self.inner.0.lock() += 1;
        GateGuard(self.clone())
    }

    /// How many there are now.
    pub(crate) fn count(&self) -> usize {
        *self.inner.0.lock()
    }

    /// Blocks until there is none; false if that takes longer than `limit`.
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
    fn a_wait_ends_with_the_last_or_at_the_limit() {
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
