//! The counters of one run.
//!
//! They are plain cells, because the load generator is one thread. The pacer's thread has atomics
//! of its own.

use super::histogram::Histogram;
use std::cell::{Cell, RefCell};
use std::time::Instant;

/// The time since the run began. Every payload has it.
#[derive(Debug, Clone, Copy)]
pub struct Clock(Instant);

impl Clock {
    /// A clock that starts now.
    pub fn start() -> Clock {
        Clock(Instant::now())
    }

    /// Nanoseconds since the start.
    #[inline]
    pub fn nanos(self) -> u64 {
        u64::try_from(self.0.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }
}

/// The counters of one run.
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
    /// Counters at zero, and a started clock.
    pub fn new() -> RunCounters {
        RunCounters {
            clock: Clock::start(),
            measuring: Cell::new(false),
            stopped: Cell::new(false),
            delivered: Cell::new(0),
            out_of_order: Cell::new(0),
            corrupt: Cell::new(0),
            refused: Cell::new(0),
            stalls: Cell::new(0),
            closed: Cell::new(0),
            latency: RefCell::new(Histogram::new()),
            first_failure: RefCell::new(None),
        }
    }

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
