//! CPU time and resident memory of a process, from `/proc` (Linux).

use super::figures::{real, thousandths};
use anyhow::Context;
use serde::Serialize;
use std::fs;
use std::path::Path;
use std::time::Duration;

/// A tick of `/proc/PID/stat` in microseconds: `USER_HZ` is 100 on all Linux targets of Rust.
const TICK_US: u64 = 10_000;

/// The resources that a process has used so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProcessUsage {
    /// User and system time of all its threads, microseconds.
    pub cpu_us: u64,
    /// Resident memory now, KiB.
    pub resident_kib: u64,
    /// The most resident memory so far, KiB.
    pub peak_kib: u64,
}

/// The resources that the server used in a measured time.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct ServerCost {
    /// CPU microseconds for each delivery; in `connect` for each connect.
    pub cpu_us_each: f64,
    /// CPU seconds a second.
    pub cores: f64,
    /// Resident memory before the first connection, KiB.
    pub rss_before_kib: u64,
    /// Resident memory at the end, all connections still open, KiB.
    pub rss_after_kib: u64,
    /// The most resident memory so far, KiB.
    pub rss_peak_kib: u64,
}

/// Reads the usage of process `pid`.
///
/// # Errors
/// There is no such process, or no `/proc`.
pub fn sample(pid: u32) -> anyhow::Result<ProcessUsage> {
    let dir = Path::new("/proc").join(pid.to_string());
    let read = |name: &str| {
        fs::read_to_string(dir.join(name)).with_context(|| {
            format!(
                "no {}; --pid takes the server's process id, on Linux",
                dir.join(name).display()
            )
        })
    };
    let ticks = stat_ticks(&read("stat")?).context("/proc/PID/stat has an unknown form")?;
    let status = read("status")?;
    Ok(ProcessUsage {
        cpu_us: best_cpu_us(ticks * TICK_US, threads_us(&dir)),
        resident_kib: status_kib(&status, "VmRSS:").unwrap_or(0),
        peak_kib: status_kib(&status, "VmHWM:").unwrap_or(0),
    })
}

/// The cost between two samples.
pub fn cost(
    first: ProcessUsage,
    from: ProcessUsage,
    to: ProcessUsage,
    time: Duration,
    units: u64,
) -> ServerCost {
    let cpu_us = to.cpu_us.saturating_sub(from.cpu_us);
    ServerCost {
        cpu_us_each: super::figures::each(cpu_us, units),
        cores: thousandths(real(cpu_us) / 1e6 / time.as_secs_f64().max(1e-9)),
        rss_before_kib: first.resident_kib,
        rss_after_kib: to.resident_kib,
        rss_peak_kib: to.peak_kib,
    }
}

/// The CPU time of the running threads, if the kernel counts it in nanoseconds.
fn threads_us(dir: &Path) -> Option<u64> {
    let mut nanos = 0;
    for thread in fs::read_dir(dir.join("task")).ok()?.flatten() {
        // A thread may end between the listing and the reading.
        if let Ok(text) = fs::read_to_string(thread.path().join("schedstat")) {
            nanos += schedstat_nanos(&text)?;
        }
    }
    (nanos > 0).then_some(nanos / 1000)
}

/// The exact count, unless the ticks are more: they include threads that have ended.
fn best_cpu_us(ticks_us: u64, exact_us: Option<u64>) -> u64 {
    match exact_us {
        Some(exact) => exact.max(ticks_us.saturating_sub(2 * TICK_US)),
        None => ticks_us,
    }
}

/// User and system ticks. The command's name, in brackets, may itself contain brackets.
fn stat_ticks(stat: &str) -> Option<u64> {
    let (_, after_name) = stat.rsplit_once(')')?;
    let mut fields = after_name.split_ascii_whitespace().skip(11);
    let user: u64 = fields.next()?.parse().ok()?;
    let system: u64 = fields.next()?.parse().ok()?;
    Some(user + system)
}

fn schedstat_nanos(schedstat: &str) -> Option<u64> {
    schedstat.split_ascii_whitespace().next()?.parse().ok()
}

fn status_kib(status: &str, key: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix(key))?;
    line.split_ascii_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;

    #[test]
    fn a_name_with_brackets_and_blanks_does_not_shift_the_fields() {
        let stat = "42 (a) b (c)) S 1 42 42 0 -1 4194560 100 0 0 0 17 25 9 9 20 0 3 0 999 1 2";
        assert_eq!(stat_ticks(stat), Some(42));
        assert_eq!(stat_ticks("42 (x) S 1"), None);
        assert_eq!(stat_ticks(""), None);
    }

    #[test]
    fn memory_is_found_by_its_key() {
        let status = "Name:\troommq\nVmHWM:\t   20480 kB\nVmRSS:\t   10240 kB\n";
        assert_eq!(status_kib(status, "VmRSS:"), Some(10_240));
        assert_eq!(status_kib(status, "VmHWM:"), Some(20_480));
        assert_eq!(status_kib(status, "VmSwap:"), None);
    }

    #[test]
    fn ended_threads_count_from_the_ticks() {
        assert_eq!(best_cpu_us(100_000, Some(104_321)), 104_321);
        assert_eq!(best_cpu_us(100_000, Some(95_000)), 95_000);
        assert_eq!(best_cpu_us(900_000, Some(95_000)), 880_000);
        assert_eq!(best_cpu_us(100_000, None), 100_000);
    }

    #[test]
    fn schedstat_is_the_first_number() {
        assert_eq!(schedstat_nanos("123456789 42 7\n"), Some(123_456_789));
        assert_eq!(schedstat_nanos("\n"), None);
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn this_process_has_used_memory() {
        let usage = sample(std::process::id()).unwrap();
        assert!(usage.resident_kib > 100 && usage.peak_kib >= usage.resident_kib);
    }

    #[test]
    fn an_unknown_process_is_an_error_that_names_the_option() {
        let error = sample(u32::MAX).unwrap_err().to_string();
        assert!(error.contains("--pid"), "{error}");
    }

    #[test]
    fn the_cost_is_the_difference() {
        let at = |cpu_us, resident_kib| ProcessUsage {
            cpu_us,
            resident_kib,
            peak_kib: 900,
        };
        let cost = cost(
            at(0, 100),
            at(500, 200),
            at(2_500, 300),
            Duration::from_millis(4),
            1_000,
        );
        assert!((cost.cpu_us_each - 2.0).abs() < 1e-9);
        assert!((cost.cores - 0.5).abs() < 1e-9);
        assert_eq!((cost.rss_before_kib, cost.rss_after_kib), (100, 300));
    }
}
