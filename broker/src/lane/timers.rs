//! The timers that lanes have asked for. A timer that fires is an entry of its lane.
//!
//! ```text
//!   Act::Wake { key: "grace/alice", generation: 4, at: 12:00:30 } --set--> Timers
//!   12:00:30:   Timers --append(Entry::Timer { key: "grace/alice", generation: 4 })--> the lane
//! ```
//!
//! The lane's clock is its log: a timer cannot fire between two entries on one node and after them
//! on another.

use super::log::LogError;
use crate::clock;
use futures_util::stream::{FuturesUnordered, StreamExt};
use parking_lot::Mutex;
use std::collections::{BTreeMap, HashMap};
use tokio::sync::Notify;

/// All timers of a node. There is one for each lane and key, so there are as many as the hooks have
/// keys.
#[derive(Default)]
pub(crate) struct Timers {
    schedule: Mutex<Schedule>,
    /// Wakes [`run`](Self::run), since a timer may be due earlier than the one that it waits for.
    changed: Notify,
}

#[derive(Default)]
struct Schedule {
    /// The generation of each timer, by time, lane and key.
    due: BTreeMap<(u64, u16, String), u64>,
    /// The time of each timer, by lane and key.
    at: HashMap<(u16, String), u64>,
}

impl Timers {
    /// Sets the timer of a lane and key, and replaces the one that was set before. `at` is in
    /// milliseconds of lane time.
    pub(crate) fn set(&self, lane: u16, key: String, generation: u64, at: u64) {
        let mut schedule = self.schedule.lock();
        if let Some(old) = schedule.at.insert((lane, key.clone()), at) {
            schedule.due.remove(&(old, lane, key.clone()));
        }
        schedule.due.insert((at, lane, key), generation);
        drop(schedule);
        self.changed.notify_one();
    }

    /// Removes the timers that are due at `now`, and returns them with the time of the next.
    fn take(&self, now: u64) -> (Vec<(u16, String, u64)>, Option<u64>) {
        let mut schedule = self.schedule.lock();
        let mut due = Vec::new();
        while let Some(first) = schedule.due.first_entry() {
            let at = first.key().0;
            if at > now {
                return (due, Some(at));
            }
            let ((_, lane, key), generation) = first.remove_entry();
            schedule.at.remove(&(lane, key.clone()));
            due.push((lane, key, generation));
        }
        (due, None)
    }

    /// Passes lane, key and generation of each timer to `append` when it is due, for ever. No lane's
    /// timers wait for another lane.
    pub(crate) async fn run<F: Future<Output = Result<(), LogError>>>(
        &self,
        append: impl Fn(u16, String, u64) -> F,
    ) {
        let mut appending = FuturesUnordered::new();
        loop {
            let (due, next) = self.take(clock::lane_ms());
            for (lane, key, generation) in due {
                appending.push(append(lane, key, generation));
            }
            tokio::select! {
                () = clock::sleep_until(next) => {}
                () = self.changed.notified() => {}
                Some(appended) = appending.next() => {
                    if let Err(error) = appended {
                        tracing::error!(%error, "a timer was lost");
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn setting_a_timer_again_replaces_it_and_none_fires_early() {
        let timers = Timers::default();
        timers.set(1, "a".into(), 1, 100);
        timers.set(1, "b".into(), 1, 50);
        timers.set(2, "a".into(), 7, 60);
        timers.set(1, "a".into(), 2, 70);
        assert_eq!(timers.take(49), (vec![], Some(50)));
        assert_eq!(timers.take(50), (vec![(1, "b".into(), 1)], Some(60)));
        let both = vec![(2, "a".into(), 7), (1, "a".into(), 2)];
        assert_eq!(timers.take(200), (both, None));
        assert!(timers.schedule.lock().at.is_empty());
    }
}
