//! The log of a lane: what an engine that keeps lanes has to offer.

use crate::policy::BoxFuture;
use bytes::Bytes;

/// Keeps the lanes' logs.
pub(crate) trait LaneLog: Send + Sync {
    /// A way into the logs.
    fn appender(&self) -> Result<Box<dyn Appender>, LogError>;

    /// Whether an idle lane may be applied by whoever appends, past the log: true only where this process
    /// is all that ever follows the log, and the log is not kept for later.
    fn allows_in_place(&self) -> bool;

    /// A way out of the logs of `lanes`, from now on. Must exist before anything is appended to them.
    fn follower(&self, lanes: &[u16]) -> Result<Box<dyn Follower>, LogError>;
}

/// A way into the logs. What one appender appends to one lane keeps its order.
pub(crate) trait Appender: Send + Sync {
    /// Appends now, or gives the batch back where the lane has no room for it.
    fn try_append(&self, lane: u16, batch: Bytes) -> Result<(), AppendError>;

    /// Appends when the lane has room: resolves when the batch is in the log. Dropping the future before
    /// that appends nothing.
    fn append(&self, lane: u16, batch: Bytes) -> BoxFuture<'_, Result<(), AppendError>>;
}

/// A way out of the logs.
pub(crate) trait Follower: Send {
    /// The next batch of any followed lane, in each lane's order. Blocks where `wait` says so, else
    /// answers none when there is nothing now.
    fn next(&mut self, wait: bool) -> Result<Option<(u16, Bytes)>, LogError>;

    /// A batch has been applied: its room in the lane is free again.
    fn done(&mut self, lane: u16, batch: &Bytes);
}

/// Why a batch was not appended.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AppendError {
    /// The lane holds as much unread as it may; here is the batch.
    #[error("the lane has no room now")]
    Full(Bytes),
    #[error(transparent)]
    Log(#[from] LogError),
}

/// The engine failed.
#[derive(Debug, thiserror::Error)]
#[error("the log of the lanes failed: {0}")]
pub(crate) struct LogError(pub String);

/// What every engine has to hold to; each runs this in its tests.
#[cfg(test)]
pub(crate) mod contract {
    #![allow(clippy::unwrap_used)]
    use super::*;

    /// `credit` is what a lane may hold unread, in bytes.
    pub(crate) fn check(log: &dyn LaneLog, credit: usize) {
        let mut all = log.follower(&[0, 1, 2]).unwrap();
        let appender = log.appender().unwrap();
        assert!(all.next(false).unwrap().is_none(), "nothing was appended");
        nothing_unread_is_lost(&*appender, &mut *all, credit);
        larger_than_the_lane(&*appender, &mut *all, credit);
        order_under_pressure(log, &mut *all);
    }

    /// Fills a lane with small batches, reads none, and finds each again in order; three times, so that
    /// segments rotate.
    fn nothing_unread_is_lost(appender: &dyn Appender, all: &mut dyn Follower, credit: usize) {
        for round in 0u32..3 {
            let mut sent = 0u32;
            loop {
                let batch = Bytes::from([round.to_be_bytes(), sent.to_be_bytes()].concat());
                match appender.try_append(1, batch) {
                    Ok(()) => sent += 1,
                    Err(AppendError::Full(_)) => break,
                    Err(error) => panic!("{error}"),
                }
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

    /// A batch larger than a lane goes in alone.
    fn larger_than_the_lane(appender: &dyn Appender, all: &mut dyn Follower, credit: usize) {
        let large = Bytes::from(vec![7; credit * 3]);
        appender.try_append(2, large.clone()).unwrap();
        let full = appender.try_append(2, Bytes::from_static(b"x"));
        assert!(matches!(full, Err(AppendError::Full(_))));
        let (lane, batch) = all.next(true).unwrap().unwrap();
        assert!(lane == 2 && batch == large);
        all.done(lane, &batch);
        appender.try_append(2, Bytes::from_static(b"x")).unwrap();
        let (lane, batch) = all.next(true).unwrap().unwrap();
        all.done(lane, &batch);
    }

    /// Several appenders that wait for room: each one's batches come in its order, none is missing.
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
                            appender.append((n % 3) as u16, batch.into()).await.unwrap();
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
}
