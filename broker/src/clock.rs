//! The one place that reads the wall clock.

use parking_lot::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Threads see the time in any order, so a little behind is not set back, in milliseconds.
const TOLERANCE_MS: u64 = 1_000;

/// Milliseconds since the Unix epoch. It never goes back: where the system's clock is set back, it goes on at its pace
/// until the other has caught up, for grace periods, expiries and wills are waited for by it.
pub(crate) fn now_ms() -> u64 {
    static STEADY: MonotonicClock = MonotonicClock::new();
    let wall = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |d| u64::try_from(d.as_millis()).unwrap_or(u64::MAX));
    STEADY.read(wall, Instant::now)
}

/// Waits until [`now_ms`] is `at`; for ever without a time.
pub(crate) async fn sleep_until(at: Option<u64>) {
    match at {
        Some(at) => {
            let left = at.saturating_sub(now_ms());
            tokio::time::sleep(Duration::from_millis(left)).await;
        }
        None => std::future::pending().await,
    }
}

struct MonotonicClock {
    /// The latest that was read.
    last: AtomicU64,
    /// What it was when the clock was found set back, and since when that runs.
    set_back: Mutex<Option<(u64, Instant)>>,
}

impl MonotonicClock {
    const fn new() -> Self {
        MonotonicClock {
            last: AtomicU64::new(0),
            set_back: Mutex::new(None),
        }
    }

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
    fn a_clock_that_is_set_back_goes_on() {
        let (clock, start) = (MonotonicClock::new(), Instant::now());
        // What the wall clock says after so many milliseconds.
        let read = |wall, after| clock.read(wall, || start + Duration::from_millis(after));
        assert_eq!(read(100_000, 0), 100_000);
        assert_eq!(read(99_999, 0), 100_000, "another thread was quicker");
        assert_eq!(read(50_000, 10), 100_000, "set back");
        assert_eq!(read(50_500, 510), 100_500);
        assert_eq!(read(90_000, 40_010), 140_000);
        assert_eq!(read(140_001, 90_011), 140_001, "set right");
        assert_eq!(read(200_000, 100_000), 200_000);
        assert_eq!(read(150_000, 100_001), 200_000, "set back again");
        assert_eq!(read(150_007, 100_008), 200_007);
    }
}
