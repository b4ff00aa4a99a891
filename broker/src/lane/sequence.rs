//! The numbers of the batches that this node writes to one lane.
//!
//! A batch gets its number and its place in the lane's order together: in place while the lane is
//! locked and nothing is in the log, by the log under the lock of its sequence.
//!
//! If the engine keeps its log, it may lose batches, and then the lane ignores those behind them.
//! So the sequence keeps all that were not applied, and appends them again:
//!
//! ```text
//!   appended  5 6 7      the log  6 7          the lane misses 5, ignores 6 and 7
//!   again     5 6 7      the log  6 7 5 6 7    the lane takes 5, 6 and 7
//! ```
//!
//! The lane takes each number once, so this does no harm if 5 was only late.

use super::log::{Appender, LogError, Promise};
use crate::clock::{Times, times};
use bytes::Bytes;
use parking_lot::Mutex;
use roommq_lane::{Batch, BatchHeader, Lane};
use std::collections::VecDeque;
use std::sync::Arc;
use tokio::sync::oneshot;

/// This node as a writer of batches. There is one node.
pub(super) const WRITER: u32 = 0;

/// Gives the batches of one lane their numbers, and appends them to its log.
///
/// Whoever needs its lock and that of the lane takes that of the lane first. Nobody waits for
/// anything else while holding its lock.
pub(super) struct Sequence {
    pub lane: u16,
    /// This run of the node.
    pub term: u64,
    /// What the engine promises, and the one link by which all batches of the lane are appended: an
    /// engine may mix up the order of two links. The lane of the node has no log.
    pub log: Option<(Promise, Arc<dyn Appender>)>,
    pub numbers: Mutex<Numbers>,
}

#[derive(Default)]
pub(super) struct Numbers {
    /// The last number that a batch got.
    last: u64,
    /// If the engine keeps its log: the batches up to it that were not applied, oldest first. The
    /// sender is dropped when the batch is applied.
    unapplied: VecDeque<(Bytes, oneshot::Sender<()>)>,
    /// The last number that was missed.
    missed: u64,
    /// The last number that had been applied when a tick came last.
    applied_at_tick: u64,
}

impl Numbers {
    /// The last number that was applied, if the engine keeps its log.
    fn applied(&self) -> u64 {
        self.last - self.unapplied.len() as u64
    }
}

impl Sequence {
    /// Whether batches of the log may be missing or come twice.
    pub(super) fn keeps(&self) -> bool {
        matches!(self.log, Some((Promise::Kept, _)))
    }

    /// Whether the lane has applied every batch that has a number.
    pub(super) fn is_applied(&self, lane: &Lane) -> bool {
        self.numbers.lock().last == lane.last_number(WRITER, self.term)
    }

    /// The header of the batch with this number.
    fn header(&self, number: u64, times: Times) -> BatchHeader {
        BatchHeader {
            writer: WRITER,
            term: self.term,
            number,
            at: times.lane,
            wall: times.wall,
        }
    }

    /// Gives the next number to a batch that is applied in place now. None if a batch is in the log,
    /// which must not be overtaken, or if the engine keeps its log.
    ///
    /// While the lane is locked the batch stays the next: one that comes into the log from now on
    /// has a higher number.
    pub(super) fn number_in_place(&self, lane: &Lane, times: Times) -> Option<BatchHeader> {
        let mut numbers = self.numbers.lock();
        if self.keeps() || numbers.last != lane.last_number(WRITER, self.term) {
            return None;
        }
        numbers.last += 1;
        Some(self.header(numbers.last, times))
    }

    /// Waits until the log has capacity for a batch of so many bytes, and takes it.
    ///
    /// # Errors
    /// The log failed, or there is none: then the lane has stopped, or it would have applied the
    /// batch in place.
    pub(super) async fn reserve(&self, bytes: usize) -> Result<(), LogError> {
        let (_, link) = self.log.as_ref().ok_or(LogError::Stopped)?;
        if link.try_reserve(self.lane, bytes)? {
            return Ok(());
        }
        link.reserve(self.lane, bytes).await
    }

    /// Gives the next number to a batch whose capacity was [reserved](Self::reserve), and appends it.
    /// If the engine keeps its log, the batch has its place for certain when the receiver is ready.
    ///
    /// # Errors
    /// As above. If a log that is kept fails, it may have the batch all the same. So that is no
    /// error: the number is used up, and the batch is appended again.
    pub(super) fn append(&self, batch: Batch) -> Result<Option<oneshot::Receiver<()>>, LogError> {
        let (promise, link) = self.log.as_ref().ok_or(LogError::Stopped)?;
        let mut numbers = self.numbers.lock();
        let sealed = batch.seal(&self.header(numbers.last + 1, times()));
        if *promise == Promise::Volatile {
            link.append(self.lane, sealed)?;
            numbers.last += 1;
            return Ok(None);
        }
        let (applied, is_applied) = oneshot::channel();
        numbers.last += 1;
        numbers.unapplied.push_back((sealed.clone(), applied));
        if let Err(error) = link.append(self.lane, sealed) {
            tracing::warn!(lane = self.lane, %error, "a batch will be appended again");
        }
        Ok(Some(is_applied))
    }

    /// Notes what the lane has applied of its log. One that has stopped applies nothing more, so
    /// nothing waits for it.
    pub(super) fn set_applied(&self, lane: &Lane, has_stopped: bool) {
        if self.keeps() {
            let mut numbers = self.numbers.lock();
            let last = lane.last_number(WRITER, self.term);
            while (has_stopped || numbers.applied() < last)
                && numbers.unapplied.pop_front().is_some()
            {}
        }
    }

    /// The lane has got this batch while the one with the number `expected` of the same writer was
    /// missing. If that is this node's, it is appended again: at once when it is first missed, and
    /// then only as time passes, since all that are on their way behind it say the same.
    pub(super) fn miss(&self, got: &BatchHeader, expected: u64) {
        let mut numbers = self.numbers.lock();
        if (got.writer, got.term) == (WRITER, self.term) && numbers.missed != expected {
            numbers.missed = expected;
            self.append_again(&numbers);
        }
    }

    /// Appends again what was not applied, if nothing has been applied since the last call.
    pub(super) fn tick(&self) {
        let mut numbers = self.numbers.lock();
        let applied = numbers.applied();
        if numbers.applied_at_tick == applied {
            self.append_again(&numbers);
        }
        numbers.applied_at_tick = applied;
    }

    fn append_again(&self, numbers: &Numbers) {
        let Some((_, link)) = &self.log else { return };
        for (batch, _) in &numbers.unapplied {
            if let Err(error) = link.append(self.lane, batch.clone()) {
                tracing::warn!(lane = self.lane, %error, "a batch could not be appended again");
                return;
            }
        }
    }
}
