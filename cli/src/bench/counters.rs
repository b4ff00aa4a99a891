//! The counters of one run.
//!
//! They are plain cells, because the load generator is one thread. The pacer's thread has atomics
//! of its own.

use super::figures::nanos;
use super::histogram::Histogram;
use std::cell::{Cell, RefCell};
use std::time::Instant;

/// The time since the run began. Every payload has it.
#[derive(Debug, Clone, Copy)]
pub struct Clock(Instant);

impl Default for Clock {
    /// A clock that starts now.
    fn default() -> Clock {
        Clock(Instant::now())
    }
}

impl Clock {
    /// Nanoseconds since the start.
    #[inline]
    pub fn nanos(self) -> u64 {
        nanos(self.0.elapsed())
    }
}

/// The counters of one run. They start at zero, and the clock starts with them.
#[derive(Default)]
pub struct RunCounters {
    /// The clock of the stamps.
    pub clock: Clock,
    /// Whether latencies are recorded now.
    pub measuring: Cell<bool>,
    /// Whether publishers must stop.
    pub stopped: Cell<bool>,
    /// Deliveries that arrived.
    pub delivered: Cell<u64>,
    /// Deliveries that arrived after a later message of their stream, or twice.
    pub out_of_order: Cell<u64>,
    /// Deliveries with a payload of another program.
    pub corrupt: Cell<u64>,
    /// PUBLISH packets that the server acknowledged with a refusal (v5).
    pub refused: Cell<u64>,
    /// Times that a full window made no progress and was reset.
    pub stalls: Cell<u64>,
    /// Connections that ended before the run ended.
    pub closed: Cell<u64>,
    /// The latencies that were measured.
    pub latency: RefCell<Histogram>,
    /// The first failure of a connection.
    pub first_failure: RefCell<Option<String>>,
}

impl RunCounters {
    /// Counts a connection that ended too early.
    pub fn connection_lost(&self, whose: &str, why: &str) {
        add(&self.closed, 1);
        self.first_failure
            .borrow_mut()
            .get_or_insert_with(|| format!("a {whose}'s connection ended: {why}"));
    }
}

/// Adds to a counter.
#[inline]
pub fn add(counter: &Cell<u64>, more: u64) {
    counter.set(counter.get() + more);
}
