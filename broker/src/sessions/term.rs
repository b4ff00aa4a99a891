//! The term of a server: the half of its session ids that makes them unique over restarts.

use crate::clock;
use std::sync::atomic::{AtomicU64, Ordering};
use uuid::Uuid;

/// The random bits of a term, below the milliseconds.
const RANDOM_BITS: u32 = 16;

/// A term that no server has had: the milliseconds of this start, and 16 random bits for the case
/// that a clock which was set back shows the same millisecond again.
///
/// Call it once for each server. Within a process terms grow, so two servers in it differ as well.
pub(crate) fn new_term() -> u64 {
    static LAST: AtomicU64 = AtomicU64::new(0);
    let [.., high, low] = *Uuid::new_v4().as_bytes();
    let term = term(clock::wall_time().0, u16::from_be_bytes([high, low]));
    let after = |last: u64| term.max(last + 1);
    LAST.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |last| {
        Some(after(last))
    })
    .map_or(term, after)
}

fn term(boot_ms: u64, random: u16) -> u64 {
    (boot_ms << RANDOM_BITS) | u64::from(random)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn terms_of_one_process_grow() {
        let terms: Vec<u64> = (0..100).map(|_| new_term()).collect();
        assert!(terms.is_sorted_by(|a, b| a < b), "{terms:?}");
        assert!(terms[0] >> RANDOM_BITS > 1_700_000_000_000, "of this age");
    }

    proptest! {
        #[test]
        fn starts_at_other_times_or_with_other_bits_have_other_terms(
            a in (0..1_u64 << 45, any::<u16>()),
            b in (0..1_u64 << 45, any::<u16>()),
        ) {
            prop_assert_eq!(a == b, term(a.0, a.1) == term(b.0, b.1));
            prop_assert_eq!(a.0 < b.0, a.0 != b.0 && term(a.0, a.1) < term(b.0, b.1));
        }
    }
}
