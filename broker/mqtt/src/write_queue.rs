//! Bytes that wait for a socket: small frames are copied together, large ones shared.

use bytes::{Buf, Bytes};
use std::cell::RefCell;
use std::collections::VecDeque;
use std::io::IoSlice;

/// Bytes from which on a frame is shared instead of copied: about where copying costs more than an
/// entry of `writev` and a reference count.
pub const SHARE_FROM: usize = 2048;

/// Bytes of the largest buffer that a thread keeps for the next queue, and how many it keeps. An empty queue has none, so that an
/// idle session stays small.
const POOLED_BYTES: usize = 16 << 10;
const POOLED: usize = 128;

/// Written bytes from which on they are cut off the front of a buffer that is never empty: about where moving the rest
/// is cheaper than keeping them.
const COMPACT_FROM: usize = 64 << 10;

thread_local! {
    /// Empty buffers of queues that were written. The last one is used next, since it is still in the processor's cache.
    static POOL: RefCell<Vec<Vec<u8>>> = const { RefCell::new(Vec::new()) };
}

/// Bytes in order: [`tail`](WriteQueue::tail) and [`push_shared`](WriteQueue::push_shared) add to the end,
/// [`advance`](WriteQueue::advance) takes from the front what has been written.
#[derive(Debug, Default)]
pub struct WriteQueue {
    /// Before `tail`.
    chunks: VecDeque<Bytes>,
    tail: Vec<u8>,
    /// Bytes of `tail` already written; only while `chunks` is empty.
    tail_written: usize,
    chunk_bytes: usize,
}

impl WriteQueue {
    /// The number of bytes that wait.
    #[must_use]
    pub fn len(&self) -> usize {
        self.chunk_bytes + self.tail.len() - self.tail_written
    }

    /// Whether no byte waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The buffer to append small frames to. Bytes that are in it must not be changed.
    pub fn tail(&mut self) -> &mut Vec<u8> {
        if self.tail.capacity() == 0 {
            self.tail = POOL.with_borrow_mut(Vec::pop).unwrap_or_default();
        }
        &mut self.tail
    }

    /// Adds a large frame without copying it.
    pub fn push_shared(&mut self, frame: Bytes) {
        if self.tail.len() > self.tail_written {
            let mut tail = Bytes::from(std::mem::take(&mut self.tail));
            tail.advance(self.tail_written);
            self.chunk_bytes += tail.len();
            self.chunks.push_back(tail);
        } else {
            self.tail.clear();
        }
        self.tail_written = 0;
        self.chunk_bytes += frame.len();
        self.chunks.push_back(frame);
    }

    /// All bytes that wait, if they are in one piece.
    #[must_use]
    pub fn single(&self) -> Option<&[u8]> {
        self.chunks
            .is_empty()
            .then(|| &self.tail[self.tail_written..])
    }

    /// Fills `out` with the first pieces of the bytes that wait, for a vectored write; the number of pieces.
    pub fn slices<'a>(&'a self, out: &mut [IoSlice<'a>]) -> usize {
        let tail = (!self.tail.is_empty()).then_some(&self.tail[self.tail_written..]);
        let pieces = self.chunks.iter().map(|c| &c[..]).chain(tail);
        let mut n = 0;
        for (slot, piece) in out.iter_mut().zip(pieces) {
            *slot = IoSlice::new(piece);
            n += 1;
        }
        n
    }

    /// Takes `n` bytes off the front, which have been written.
    pub fn advance(&mut self, mut n: usize) {
        while let Some(first) = self.chunks.front_mut() {
            if n < first.len() {
                first.advance(n);
                self.chunk_bytes -= n;
                return;
            }
            n -= first.len();
            self.chunk_bytes -= first.len();
            self.chunks.pop_front();
        }
        if self.chunks.is_empty() && self.chunks.capacity() > 16 {
            self.chunks = VecDeque::new();
        }
        self.tail_written += n;
        if self.tail_written == self.tail.len() {
            self.tail_written = 0;
            let mut written = std::mem::take(&mut self.tail);
            if (1..=POOLED_BYTES).contains(&written.capacity()) {
                written.clear();
                POOL.with_borrow_mut(|pool| {
                    if pool.len() < POOLED {
                        pool.push(written);
                    }
                });
            }
        } else if self.tail_written >= COMPACT_FROM && self.tail_written * 2 >= self.tail.len() {
            // A reader that is always a little behind never empties it. No more is moved than was written.
            self.tail.drain(..self.tail_written);
            self.tail_written = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_reader_that_is_always_behind_does_not_grow_it() {
        let mut queue = WriteQueue::default();
        queue.tail().extend_from_slice(&[0; 1_000]);
        for round in 0..10_000_u32 {
            queue
                .tail()
                .extend_from_slice(&[round.to_le_bytes()[0]; 100]);
            queue.advance(100);
        }
        assert_eq!(queue.len(), 1_000);
        assert_eq!(queue.single().and_then(|s| s.last()), Some(&15));
        let held = queue.tail.capacity();
        assert!(held <= 4 * COMPACT_FROM, "{held} bytes for 1,000");
    }

    #[test]
    fn a_queue_that_is_written_leaves_its_buffer_to_the_next() {
        let (mut queue, mut next) = (WriteQueue::default(), WriteQueue::default());
        queue.tail().extend_from_slice(&[0; 1_000]);
        let buffer = queue.tail().as_ptr();
        queue.advance(1_000);
        assert_eq!(queue.tail.capacity(), 0);
        assert_eq!(next.tail().as_ptr(), buffer);
        queue.tail().resize(POOLED_BYTES + 1, 0);
        queue.advance(POOLED_BYTES + 1);
        assert_eq!(queue.tail().capacity(), 0, "it was too large");
    }

    proptest! {
        #[test]
        fn gives_back_every_byte_in_order(
            steps in proptest::collection::vec((any::<bool>(), 0usize..50, 0usize..80), 0..40)
        ) {
            let (mut queue, mut expected, mut got) = (WriteQueue::default(), Vec::new(), Vec::new());
            let mut next = 0u8;
            for (shared, size, written) in steps {
                let frame: Vec<u8> = (0..size).map(|i| next.wrapping_add(u8::try_from(i).unwrap_or(0))).collect();
                next = next.wrapping_add(u8::try_from(size).unwrap_or(0));
                expected.extend_from_slice(&frame);
                if shared {
                    queue.push_shared(frame.into());
                } else {
                    queue.tail().extend_from_slice(&frame);
                }
                let mut slices = [IoSlice::new(&[]); 4];
                let n = queue.slices(&mut slices);
                let flat: Vec<u8> = slices[..n].iter().flat_map(|s| s.to_vec()).collect();
                if let Some(single) = queue.single() {
                    prop_assert_eq!(single, &flat[..]);
                }
                let take = written.min(flat.len());
                got.extend_from_slice(&flat[..take]);
                queue.advance(take);
                prop_assert_eq!(queue.len(), expected.len() - got.len());
            }
            prop_assert!(expected.starts_with(&got));
        }
    }
}
