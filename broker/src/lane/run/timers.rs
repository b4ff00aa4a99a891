//! Times that lanes asked to be woken at. Their entries come back through the log.

use super::log::LogError;
use crate::clock;
use crate::lane::state::{Batch, Entry};
use futures_util::stream::{FuturesUnordered, StreamExt};
use parking_lot::Mutex;
use std::collections::{BTreeMap, HashMap};
use std::time::Duration;
use tokio::sync::Notify;

/// All timers of a server: one a lane and key, so as many as the lanes' hooks have keys.
#[derive(Default)]
pub(crate) struct Timers {
    state: Mutex<Schedule>,
    changed: Notify,
}

#[derive(Default)]
struct Schedule {
    /// By time; the value is the generation.
    due: BTreeMap<(u64, u16, String), u64>,
    at: HashMap<(u16, String), u64>,
}

impl Timers {
    /// Sets the timer of `lane` and `key`, in place of an earlier one.
    pub(crate) fn set(&self, lane: u16, key: String, generation: u64, at: u64) {
        let mut state = self.state.lock();
        if let Some(old) = state.at.insert((lane, key.clone()), at) {
            state.due.remove(&(old, lane, key.clone()));
        }
        state.due.insert((at, lane, key), generation);
        drop(state);
        self.changed.notify_one();
    }

    /// What is due at `now`, and milliseconds until the next.
    fn take(&self, now: u64) -> (Vec<(u16, String, u64)>, Option<u64>) {
        let mut state = self.state.lock();
        let mut due = Vec::new();
        while let Some(first) = state.due.first_entry() {
            let at = first.key().0;
            if at > now {
                return (due, Some(at - now));
            }
            let ((_, lane, key), generation) = first.remove_entry();
            let place = (lane, key);
            state.at.remove(&place);
            due.push((place.0, place.1, generation));
        }
        (due, None)
    }

    /// Appends each timer's entry when its time has come. Where a lane is full, those of others do not wait for it.
    pub(crate) async fn run<F: Future<Output = Result<(), LogError>>>(
        &self,
        append: impl Fn(u16, Batch) -> F,
    ) {
        let mut appending = FuturesUnordered::new();
        loop {
            let now = clock::now_ms();
            let (due, next) = self.take(now);
            for (lane, key, generation) in due {
                let mut batch = Batch::default();
                batch.push(&Entry::Timer {
                    at: now,
                    key: &key,
                    generation,
                });
                appending.push(append(lane, batch));
            }
            let wait = async {
                match next {
                    Some(ms) => tokio::time::sleep(Duration::from_millis(ms)).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = wait => {}
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
    fn a_later_timer_replaces_and_none_comes_early() {
        let timers = Timers::default();
        timers.set(1, "a".into(), 1, 100);
        timers.set(1, "b".into(), 1, 50);
        timers.set(2, "a".into(), 7, 60);
        timers.set(1, "a".into(), 2, 70);
        assert_eq!(timers.take(49), (vec![], Some(1)));
        assert_eq!(timers.take(50), (vec![(1, "b".into(), 1)], Some(10)));
        let both = vec![(2, "a".into(), 7), (1, "a".into(), 2)];
        assert_eq!(timers.take(200), (both, None));
        assert!(timers.state.lock().at.is_empty());
    }
}
