//! A histogram of nanoseconds in fixed memory. A percentile is at most 1/64 (1.6 %) too high.

use super::figures::{real, wide};
use serde::Serialize;

/// Each power of two is cut into `1 << FINE` buckets of equal width.
const FINE: u32 = 6;
/// Values below this have a bucket each.
const EXACT: u64 = 1 << FINE;
/// Powers of two above the exact part. Larger values (over an hour) count in the last bucket.
const OCTAVES: u32 = 36;

/// The number of times in each bucket.
#[derive(Clone)]
pub struct Histogram {
    buckets: Vec<u64>,
    count: u64,
    max: u64,
}

/// The usual percentiles in microseconds. 0: nothing was measured.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Percentiles {
    /// Measured times.
    pub count: u64,
    /// Median.
    pub p50: f64,
    /// 90 of 100 were not slower.
    pub p90: f64,
    /// 99 of 100 were not slower.
    pub p99: f64,
    /// The slowest, exact.
    pub max: f64,
}

impl Default for Histogram {
    /// An empty histogram. It has about 20 KB.
    fn default() -> Histogram {
        let buckets = usize::try_from(EXACT).unwrap_or(0) * (1 + OCTAVES as usize);
        Histogram {
            buckets: vec![0; buckets],
            count: 0,
            max: 0,
        }
    }
}

impl Histogram {
    /// Counts one time in nanoseconds.
    #[inline]
    pub fn record(&mut self, nanos: u64) {
        let last = self.buckets.len() - 1;
        self.buckets[bucket_of(nanos).min(last)] += 1;
        self.count += 1;
        self.max = self.max.max(nanos);
    }

    /// The time in nanoseconds that a `share` (0 to 1) of all times does not exceed.
    pub fn percentile(&self, share: f64) -> u64 {
        let mut below = 0;
        for (bucket, count) in self.buckets.iter().enumerate() {
            below += count;
            if below > 0 && real(below) >= share * real(self.count) {
                return highest_in(wide(bucket)).min(self.max);
            }
        }
        self.max
    }

    /// The usual percentiles.
    pub fn percentiles(&self) -> Percentiles {
        let micros = |nanos: u64| (real(nanos) / 100.0).round() / 10.0;
        Percentiles {
            count: self.count,
            p50: micros(self.percentile(0.50)),
            p90: micros(self.percentile(0.90)),
            p99: micros(self.percentile(0.99)),
            max: micros(self.max),
        }
    }
}

#[inline]
fn bucket_of(nanos: u64) -> usize {
    let bucket = if nanos < EXACT {
        nanos
    } else {
        let octave = nanos.ilog2() - FINE;
        u64::from(octave) * EXACT + (nanos >> octave)
    };
    usize::try_from(bucket).unwrap_or(usize::MAX)
}

/// The largest value that falls into `bucket`.
fn highest_in(bucket: u64) -> u64 {
    if bucket < 2 * EXACT {
        return bucket;
    }
    let octave = bucket / EXACT - 1;
    ((bucket - octave * EXACT + 1) << octave) - 1
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn small_values_are_exact() {
        let mut h = Histogram::default();
        for nanos in 1..=100 {
            h.record(nanos);
        }
        assert_eq!(h.percentile(0.50), 50);
        assert_eq!(h.percentile(0.99), 99);
        assert_eq!(h.percentile(1.0), 100);
    }

    #[test]
    fn nothing_measured_reads_zero() {
        let p = Histogram::default().percentiles();
        assert_eq!((p.count, p.p50.to_bits(), p.max.to_bits()), (0, 0, 0));
    }

    #[test]
    fn buckets_meet_without_gap_or_overlap() {
        let all = Histogram::default().buckets.len();
        let mut next = 0;
        for bucket in 0..wide(all) {
            assert_eq!(wide(bucket_of(next)), bucket);
            assert_eq!(wide(bucket_of(highest_in(bucket))), bucket);
            next = highest_in(bucket) + 1;
        }
        assert!(next > 3_600_000_000_000, "an hour must fit: {next}");
    }

    #[test]
    fn enormous_values_are_in_the_last_bucket() {
        let mut h = Histogram::default();
        h.record(u64::MAX);
        assert_eq!(h.percentiles().count, 1);
        assert_eq!(h.max, u64::MAX);
    }

    proptest! {
        #[test]
        fn a_percentile_is_at_most_one_part_in_64_too_high(
            mut values in prop::collection::vec(0u64..1_000_000_000_000, 1..300),
            share in 0.0f64..=1.0,
        ) {
            let mut h = Histogram::default();
            for value in &values {
                h.record(*value);
            }
            values.sort_unstable();
            let rank = values.iter().enumerate()
                .position(|(i, _)| real(wide(i + 1)) >= share * real(wide(values.len())))
                .unwrap_or(values.len() - 1);
            let (exact, read) = (values[rank], h.percentile(share));
            prop_assert!(read >= exact, "{read} < {exact}");
            prop_assert!(read - exact <= exact / EXACT, "{read} is far from {exact}");
        }
    }
}
