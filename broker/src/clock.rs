//! The one place that reads the wall clock.

use parking_lot::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Threads may read the time in any order. A clock that is behind by less than this was not set back. In milliseconds.
const TOLERANCE_MS: u64 = 1_000;

/// Milliseconds since the Unix epoch. The time never goes back, since grace periods, expiries and wills depend on it. If
/// the system's clock is set back, this clock runs on at its pace until the system's has caught up.
pub(crate) fn now_ms() -> u64 {
    static STEADY: MonotonicClock = MonotonicClock::new();
    let wall = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |d| u64::try_from(d.as_millis()).unwrap_or(u64::MAX));
    STEADY.read(wall, Instant::now)
}

/// Waits until [`now_ms`] is `at`. Without a time it never returns.
pub(crate) async fn sleep_until(at: Option<u64>) {
    match at {
        Some(at) => {
            let left = at.saturating_sub(now_ms());
            tokio::time::sleep(Duration::from_millis(left)).await;
        }
        None => std::future::pending().await,
    }
}

/// A clock that follows the wall clock and never goes back.
struct MonotonicClock {
    /// The latest time that was read, in milliseconds.
    last: AtomicU64,
    /// If the wall clock was set back: the time at which this was noticed, and the instant since then.
    set_back: Mutex<Option<(u64, Instant)>>,
}

impl MonotonicClock {
    const fn new() -> Self {
        MonotonicClock {
            last: AtomicU64::new(0),
            set_back: Mutex::new(None),
        }
    }

    /// The time, if the wall clock shows `wall`. `runs` reads a clock that nobody sets.
    fn read(&self, wall: u64, runs: impl FnOnce() -> Instant) -> u64 {
        let last = self.last.load(Ordering::Relaxed);
        if wall > last {
            return self.last.fetch_max(wall, Ordering::Relaxed).max(wall);
        }
        if last - wall < TOLERANCE_MS {
            return last;
        }
        let mut set_back = self.set_back.lock();
        let runs = runs();
        let (at, since) = set_back.unwrap_or((last, runs));
        let passed = runs.saturating_duration_since(since).as_millis();
        let mut now = at.saturating_add(u64::try_from(passed).unwrap_or(u64::MAX));
        if now < last || set_back.is_none() {
            now = now.max(last);
            *set_back = Some((now, runs));
        }
        self.last.fetch_max(now, Ordering::Relaxed).max(now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wall_clock_that_is_set_back_does_not_stop_this_one() {
        let (clock, start) = (MonotonicClock::new(), Instant::now());
        // The wall clock shows `wall`, `after` milliseconds since the start.
        let read = |wall, after| clock.read(wall, || start + Duration::from_millis(after));
        assert_eq!(read(100_000, 0), 100_000);
        assert_eq!(read(99_999, 0), 100_000, "another thread read a later time");
        assert_eq!(read(50_000, 10), 100_000, "set back");
        assert_eq!(read(50_500, 510), 100_500);
        assert_eq!(read(90_000, 40_010), 140_000);
        assert_eq!(read(140_001, 90_011), 140_001, "set right");
        assert_eq!(read(200_000, 100_000), 200_000);
        assert_eq!(read(150_000, 100_001), 200_000, "set back again");
        assert_eq!(read(150_007, 100_008), 200_007);
    }
}
