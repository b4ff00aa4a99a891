//! The two clocks of the server, which nothing else reads: lane time for all that lasts, and wall
//! time for all that people see.

use roommq_lane::WallTime;
use std::sync::LazyLock;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Lane time: milliseconds that run on at their own pace from the wall time of the start. Nobody can
/// set this clock, and grace periods, expiries and wills depend on it.
pub(crate) fn lane_ms() -> u64 {
    static START: LazyLock<(u64, Instant)> = LazyLock::new(|| (wall_time().0, Instant::now()));
    let (at, start) = &*START;
    at.saturating_add(milliseconds(start.elapsed()))
}

/// Both times at one moment, as the header of a batch has them.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Times {
    pub lane: u64,
    pub wall: WallTime,
}

/// Both times now.
pub(crate) fn times() -> Times {
    Times {
        lane: lane_ms(),
        wall: wall_time(),
    }
}

/// The time that people see. It may be set, also back.
pub(crate) fn wall_time() -> WallTime {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH);
    WallTime(since_epoch.map_or(0, milliseconds))
}

fn milliseconds(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// Waits until [`lane_ms`] is `at`. Without a time it never returns.
pub(crate) async fn sleep_until(at: Option<u64>) {
    match at {
        Some(at) => {
            let left = at.saturating_sub(lane_ms());
            tokio::time::sleep(Duration::from_millis(left)).await;
        }
        None => std::future::pending().await,
    }
}
