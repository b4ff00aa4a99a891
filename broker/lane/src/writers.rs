//! The number rule: a lane takes each batch of each writer once, in the order of the numbers.
//!
//! ```text
//!   batch        last before   turn                 last after
//!   term 7, 1    -             Take                 term 7, 1
//!   term 7, 2    term 7, 1     Take                 term 7, 2
//!   term 7, 2    term 7, 2     Duplicate            term 7, 2
//!   term 7, 4    term 7, 2     Hole { expected: 3 } term 7, 2
//!   term 9, 1    term 7, 2     Take                 term 9, 1
//!   term 7, 3    term 9, 1     Fenced               term 9, 1
//! ```

use super::batch::BatchHeader;
use super::errors::RestoreError;

/// What a lane does with a batch. Only [`Take`](Self::Take) changes the lane.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BatchTurn {
    /// The lane takes it: it is the next of its writer.
    Take,
    /// The lane has taken it before.
    Duplicate,
    /// At least one batch before it is missing. The writer sends again from the `expected` number.
    Hole {
        /// The number that comes next.
        expected: u64,
    },
    /// The writer has begun a later term in this lane. What comes from an earlier one is void.
    Fenced,
}

/// The last batch of each writer. On one machine there is one.
#[derive(Debug, Default)]
pub(super) struct Writers(Vec<Writer>);

#[derive(Debug)]
struct Writer {
    id: u32,
    term: u64,
    last: u64,
}

impl Writers {
    /// Judges the batch with this header, and notes it if the lane takes it.
    pub(super) fn begin(&mut self, header: &BatchHeader) -> BatchTurn {
        let known = self.0.iter_mut().find(|w| w.id == header.writer);
        if known.as_ref().is_some_and(|w| w.term > header.term) {
            return BatchTurn::Fenced;
        }
        let same_term = known.as_ref().filter(|w| w.term == header.term);
        let last = same_term.map_or(0, |w| w.last);
        if header.number <= last {
            return BatchTurn::Duplicate;
        }
        if header.number - last > 1 {
            return BatchTurn::Hole { expected: last + 1 };
        }
        let writer = Writer {
            id: header.writer,
            term: header.term,
            last: header.number,
        };
        match known {
            Some(known) => *known = writer,
            None => self.0.push(writer),
        }
        BatchTurn::Take
    }

    /// Id, term and last number of each writer, by id.
    pub(super) fn snapshot(&self) -> Vec<(u32, u64, u64)> {
        let Writers(writers) = self;
        let image = |Writer { id, term, last }: &Writer| (*id, *term, *last);
        let mut image: Vec<_> = writers.iter().map(image).collect();
        image.sort_unstable();
        image
    }

    pub(super) fn restore(image: Vec<(u32, u64, u64)>) -> Result<Self, RestoreError> {
        if !image.is_sorted_by(|(a, ..), (b, ..)| a < b) {
            return Err(RestoreError::Damaged("its writers are not in order"));
        }
        let writer = |(id, term, last)| Writer { id, term, last };
        Ok(Writers(image.into_iter().map(writer).collect()))
    }

    /// The number of the last batch that the lane took of this writer and term; 0: of none.
    pub(super) fn last(&self, writer: u32, term: u64) -> u64 {
        let known = |w: &&Writer| w.id == writer && w.term == term;
        self.0.iter().find(known).map_or(0, |w| w.last)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::WallTime;

    fn header(writer: u32, term: u64, number: u64) -> BatchHeader {
        BatchHeader {
            writer,
            term,
            number,
            at: 0,
            wall: WallTime(0),
        }
    }

    #[test]
    fn each_batch_is_taken_once_in_the_order_of_numbers() {
        let mut writers = Writers::default();
        let mut begin = |number| writers.begin(&header(0, 7, number));
        assert_eq!(begin(2), BatchTurn::Hole { expected: 1 });
        assert_eq!(begin(1), BatchTurn::Take);
        assert_eq!(begin(1), BatchTurn::Duplicate);
        assert_eq!(begin(4), BatchTurn::Hole { expected: 2 });
        assert_eq!(begin(2), BatchTurn::Take);
        assert_eq!(begin(1), BatchTurn::Duplicate);
        assert_eq!(begin(0), BatchTurn::Duplicate, "numbers begin at 1");
        assert_eq!(begin(u64::MAX), BatchTurn::Hole { expected: 3 });
        assert_eq!(writers.last(0, 7), 2);
    }

    #[test]
    fn a_new_term_fences_the_one_before() {
        let mut writers = Writers::default();
        assert_eq!(writers.begin(&header(0, 7, 1)), BatchTurn::Take);
        assert_eq!(writers.begin(&header(0, 7, 2)), BatchTurn::Take);
        let hole = writers.begin(&header(0, 9, 2));
        assert_eq!(hole, BatchTurn::Hole { expected: 1 }, "it begins at 1");
        let late = writers.begin(&header(0, 7, 3));
        assert_eq!(late, BatchTurn::Take, "a hole changes nothing");
        assert_eq!(writers.begin(&header(0, 9, 1)), BatchTurn::Take);
        assert_eq!(writers.begin(&header(0, 7, 4)), BatchTurn::Fenced);
        assert_eq!(writers.begin(&header(0, 7, 1)), BatchTurn::Fenced);
        assert_eq!((writers.last(0, 7), writers.last(0, 9)), (0, 1));
    }

    #[test]
    fn each_writer_has_numbers_of_its_own() {
        let mut writers = Writers::default();
        assert_eq!(writers.begin(&header(1, 7, 1)), BatchTurn::Take);
        assert_eq!(writers.begin(&header(2, 5, 1)), BatchTurn::Take);
        assert_eq!(writers.begin(&header(1, 7, 2)), BatchTurn::Take);
        assert_eq!(writers.begin(&header(2, 5, 2)), BatchTurn::Take);
        assert_eq!((writers.last(1, 7), writers.last(2, 5)), (2, 2));
    }
}
