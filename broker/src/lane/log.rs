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

    /// What the engine promises about batches that it has taken.
    fn promise(&self) -> Promise;

    /// Follows the logs of some lanes, each behind a position. A volatile engine follows from now
    /// on instead: call this before anything is appended.
    fn follower(&self, lanes: &[(u16, Position)]) -> Result<Box<dyn Follower>, LogError>;
}

/// What an engine promises about batches that it has taken.
///
/// | | `Volatile` | `Kept` |
/// |---|---|---|
/// | other processes, or later ones, read the log | no | maybe |
/// | an idle lane applies a batch in place | yes | no |
/// | a batch may be lost, come twice, or come late | no | yes: its writer appends it again |
/// | all followers read the same in the same order | there is one | yes, from any position |
/// | an append is done when the batch | is in the log | was applied |
///
/// No engine changes a batch or makes one up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Promise {
    /// The log is of this process alone, and ends with it.
    Volatile,
    /// The engine keeps the log.
    Kept,
}

/// A place in the log of a lane, which the engine counts. The default is the beginning of the log.
/// A volatile engine knows no other.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Position(pub u64);

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

    /// Appends a batch for whose bytes capacity was taken. An engine that keeps its log may get the
    /// same batch again.
    fn append(&self, lane: u16, batch: Bytes) -> Result<(), LogError>;
}

/// Reads the batches of some lanes.
pub(crate) trait Follower: Send {
    /// The next batch of any of the lanes, with the lane's number and the batch's position. Batches
    /// of one lane come in its order. If there is none, this blocks with `wait`, and returns none
    /// without. It also returns none after a wake.
    fn next(&mut self, wait: bool) -> Result<Option<(u16, Position, Bytes)>, LogError>;

    /// The lane has taken a batch of this node: gives its capacity back. Call this once for each,
    /// however often it came.
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

/// The contract of these traits. Every engine runs [`check`](contract::check) in its tests, and one
/// that keeps its log [`check_kept`](contract::check_kept), too.
#[cfg(test)]
pub(crate) mod contract {
    #![allow(clippy::unwrap_used)]
    use super::*;

    /// Checks an engine whose lanes hold `credit` bytes each.
    pub(crate) fn check(log: &dyn LaneLog, credit: usize) {
        let mut all = log
            .follower(&[0, 1, 2].map(|lane| (lane, Position::default())))
            .unwrap();
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
                let (lane, _, batch) = all.next(true).unwrap().unwrap();
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
        let (lane, _, batch) = all.next(true).unwrap().unwrap();
        assert!(lane == 2 && batch == large);
        all.done(lane, &batch);
        assert!(try_append(appender, 2, Bytes::from_static(b"x")));
        let (lane, _, batch) = all.next(true).unwrap().unwrap();
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
                let (lane, _, batch) = all.next(true).unwrap().unwrap();
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
        let (lane, _, batch) = loop {
            if let Some(next) = all.next(true).unwrap() {
                break next;
            }
        };
        assert_eq!((lane, &batch[..]), (0, &b"x"[..]));
        all.done(lane, &batch);
    }

    /// Checks an engine that keeps its log, with two lanes that are empty.
    pub(crate) fn check_kept(log: &dyn LaneLog) {
        assert_eq!(log.promise(), Promise::Kept);
        let appender = log.appender().unwrap();
        for n in 0..200_u8 {
            assert!(try_append(
                &*appender,
                u16::from(n % 2),
                Bytes::from(vec![n])
            ));
        }
        let from_start = [(0, Position::default()), (1, Position::default())];
        // Nobody followed when these were appended.
        let all = read(log, &from_start, 200);
        let of_lane = |lane: u16| all.iter().filter(move |(l, ..)| *l == lane);
        assert!(
            of_lane(0)
                .map(|(.., batch)| batch[0])
                .eq((0..200).step_by(2))
        );
        assert!(
            of_lane(1)
                .map(|(.., batch)| batch[0])
                .eq((1..200).step_by(2))
        );
        for lane in 0..2 {
            let ascends = of_lane(lane).is_sorted_by(|(_, a, _), (_, b, _)| a < b);
            assert!(ascends, "positions of lane {lane}");
            // Another follower reads the same, from any position.
            for (at, (_, position, _)) in of_lane(lane).enumerate() {
                let behind: Vec<_> = of_lane(lane).skip(at + 1).cloned().collect();
                assert_eq!(read(log, &[(lane, *position)], behind.len()), behind);
            }
        }
    }

    /// So many batches behind these positions. There must be no more.
    fn read(
        log: &dyn LaneLog,
        from: &[(u16, Position)],
        count: usize,
    ) -> Vec<(u16, Position, Bytes)> {
        let mut follower = log.follower(from).unwrap();
        let next = |_| follower.next(true).unwrap().unwrap();
        let batches = (0..count).map(next).collect();
        assert_eq!(follower.next(false).unwrap(), None);
        batches
    }
}
