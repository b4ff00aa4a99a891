//! The traits of an engine that keeps the lanes' logs.
//!
//! ```text
//!   Appender --> | lane 0: a b c | --> Follower --> (applied) --> done
//!   Appender --> | lane 1: d     |
//! ```
//!
//! A log is bounded: a batch takes capacity of its lane until the follower is told that it has been
//! applied.

use crate::policy::BoxFuture;
use bytes::Bytes;
use std::sync::Arc;

/// An engine that keeps the logs of all lanes.
pub(crate) trait LaneLog: Send + Sync {
    /// A new way to append to any lane.
    fn appender(&self) -> Result<Box<dyn Appender>, LogError>;

    /// Whether a batch for an idle lane may be applied without being appended. True only if no
    /// other process follows the log, and nothing reads it later.
    fn allows_in_place(&self) -> bool;

    /// Follows the logs of `lanes` from now on. Call this before anything is appended to them.
    fn follower(&self, lanes: &[u16]) -> Result<Box<dyn Follower>, LogError>;
}

/// Appends batches. Those that one appender appends to one lane keep their order.
///
/// Appending does not wait, so that a caller may hold a lock for the order of the lane. Waiting for
/// capacity comes before.
pub(crate) trait Appender: Send + Sync {
    /// Takes the capacity for one batch of so many bytes, if the lane has it now.
    fn try_reserve(&self, lane: u16, bytes: usize) -> Result<bool, LogError>;

    /// Waits until the lane has the capacity, and takes it. If the future is dropped before it is
    /// ready, nothing is taken.
    fn reserve(&self, lane: u16, bytes: usize) -> BoxFuture<'_, Result<(), LogError>>;

    /// Appends a batch for whose bytes capacity was taken.
    fn append(&self, lane: u16, batch: Bytes) -> Result<(), LogError>;
}

/// Reads the batches of some lanes.
pub(crate) trait Follower: Send {
    /// The next batch of any of the lanes, with the lane's number. Batches of one lane come in its
    /// order. If there is none, this blocks with `wait`, and returns none without. It also returns
    /// none after a wake.
    fn next(&mut self, wait: bool) -> Result<Option<(u16, Bytes)>, LogError>;

    /// A batch has been applied: gives its capacity back to the lane.
    fn done(&mut self, lane: u16, batch: &Bytes);

    /// Wakes this follower from other threads.
    fn waker(&self) -> Arc<dyn FollowerWaker>;
}

/// Wakes a follower that waits for a batch.
pub(crate) trait FollowerWaker: Send + Sync {
    /// Makes the next or the current [`Follower::next`] return none, although batches may be there.
    /// Several wakes may count as one if the follower has not seen the first.
    fn wake(&self) -> Result<(), LogError>;
}

/// Why a lane takes no batch. Clients may see the text.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LogError {
    /// The engine failed, for a reason that the text says.
    #[error("the log of the lanes failed: {0}")]
    Engine(String),
    /// The lane holds a batch that cannot be read, so it has stopped.
    #[error("the server cannot serve some topics until it is restarted; its log says why")]
    Stopped,
}

/// The contract of these traits. Every engine runs it in its tests.
#[cfg(test)]
pub(crate) mod contract {
    #![allow(clippy::unwrap_used)]
    use super::*;

    /// Checks an engine whose lanes hold `credit` bytes each.
    pub(crate) fn check(log: &dyn LaneLog, credit: usize) {
        let mut all = log.follower(&[0, 1, 2]).unwrap();
        let appender = log.appender().unwrap();
        assert!(all.next(false).unwrap().is_none(), "nothing was appended");
        nothing_unread_is_lost(&*appender, &mut *all, credit);
        larger_than_the_lane(&*appender, &mut *all, credit);
        order_under_pressure(log, &mut *all);
        wake_ends_a_wait(&*appender, &mut *all);
    }

    /// Appends a batch if the lane has capacity.
    fn try_append(appender: &dyn Appender, lane: u16, batch: Bytes) -> bool {
        let has_capacity = appender.try_reserve(lane, batch.len()).unwrap();
        if has_capacity {
            appender.append(lane, batch).unwrap();
        }
        has_capacity
    }

    /// Fills a lane with small batches without reading any, then finds all of them in order. Three
    /// times, so that segments rotate.
    fn nothing_unread_is_lost(appender: &dyn Appender, all: &mut dyn Follower, credit: usize) {
        for round in 0u32..3 {
            let mut sent = 0u32;
            loop {
                let batch = Bytes::from([round.to_be_bytes(), sent.to_be_bytes()].concat());
                if !try_append(appender, 1, batch) {
                    break;
                }
                sent += 1;
            }
            assert!(sent as usize >= credit / 100, "only {sent} batches fit");
            for n in 0..sent {
                let (lane, batch) = all.next(true).unwrap().unwrap();
                let expected = [round.to_be_bytes(), n.to_be_bytes()].concat();
                assert_eq!((lane, &batch[..]), (1, &expected[..]));
                all.done(lane, &batch);
            }
        }
    }

    /// A batch that is larger than a lane's capacity is appended alone.
    fn larger_than_the_lane(appender: &dyn Appender, all: &mut dyn Follower, credit: usize) {
        let large = Bytes::from(vec![7; credit * 3]);
        assert!(try_append(appender, 2, large.clone()));
        assert!(!try_append(appender, 2, Bytes::from_static(b"x")));
        let (lane, batch) = all.next(true).unwrap().unwrap();
        assert!(lane == 2 && batch == large);
        all.done(lane, &batch);
        assert!(try_append(appender, 2, Bytes::from_static(b"x")));
        let (lane, batch) = all.next(true).unwrap().unwrap();
        all.done(lane, &batch);
    }

    /// Several appenders wait for capacity. The batches of each come in order, and none is missing.
    fn order_under_pressure(log: &dyn LaneLog, all: &mut dyn Follower) {
        const EACH: u32 = 5_000;
        let writers: Vec<_> = (0u32..3).map(|w| (w, log.appender().unwrap())).collect();
        std::thread::scope(|scope| {
            for (w, appender) in &writers {
                scope.spawn(move || {
                    let runtime = tokio::runtime::Builder::new_current_thread()
                        .build()
                        .unwrap();
                    runtime.block_on(async {
                        for n in 0..EACH {
                            let batch = [w.to_be_bytes(), n.to_be_bytes()].concat();
                            let lane = (n % 3) as u16;
                            appender.reserve(lane, batch.len()).await.unwrap();
                            appender.append(lane, batch.into()).unwrap();
                        }
                    });
                });
            }
            let mut next = [[0u32, 1, 2]; 3];
            for _ in 0..3 * EACH {
                let (lane, batch) = all.next(true).unwrap().unwrap();
                let w = u32::from_be_bytes(batch[..4].try_into().unwrap()) as usize;
                let n = u32::from_be_bytes(batch[4..].try_into().unwrap());
                assert_eq!(n, next[w][usize::from(lane)], "writer {w} in lane {lane}");
                next[w][usize::from(lane)] += 3;
                all.done(lane, &batch);
            }
        });
    }

    /// A wake ends a wait, whether it comes before or during it, and harms no batch.
    fn wake_ends_a_wait(appender: &dyn Appender, all: &mut dyn Follower) {
        let waker = all.waker();
        for _ in 0..100 {
            waker.wake().unwrap();
            assert!(all.next(true).unwrap().is_none(), "before the wait");
            std::thread::scope(|scope| {
                scope.spawn(|| waker.wake().unwrap());
                assert!(all.next(true).unwrap().is_none(), "during the wait");
            });
        }
        waker.wake().unwrap();
        waker.wake().unwrap();
        assert!(try_append(appender, 0, Bytes::from_static(b"x")));
        let (lane, batch) = loop {
            if let Some(next) = all.next(true).unwrap() {
                break next;
            }
        };
        assert_eq!((lane, &batch[..]), (0, &b"x"[..]));
        all.done(lane, &batch);
    }
}
