//! An engine that keeps its log, in memory, for tests. It loses, repeats and delays what the contract
//! allows.
#![allow(clippy::unwrap_used)]

use super::log::{Appender, Follower, FollowerWaker, LaneLog, LogError, Position, Promise};
use crate::policy::BoxFuture;
use bytes::Bytes;
use parking_lot::{Condvar, Mutex};
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::sync::{Semaphore, SemaphorePermit};

/// What happens to one append.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    None,
    Lose,
    Repeat,
    /// It comes behind some of the next ones.
    Delay,
}

/// The engine. Clones share one log.
#[derive(Clone)]
pub(super) struct Kept(Arc<Engine>);

struct Engine {
    logs: Mutex<Logs>,
    /// Notified after each append, and when a follower is woken.
    changed: Condvar,
    /// By lane.
    credits: Vec<Semaphore>,
    credit: u32,
}

struct Logs {
    by_lane: Vec<Vec<Bytes>>,
    delayed: VecDeque<(u16, Bytes)>,
    /// Called for each append.
    fault: Box<dyn FnMut() -> Fault + Send>,
    /// How many appends were not [`Fault::None`].
    faults: usize,
}

/// How many batches are delayed at once.
const DELAYED: usize = 5;

impl Kept {
    pub(super) fn new(
        lanes: u16,
        credit: u32,
        fault: impl FnMut() -> Fault + Send + 'static,
    ) -> Self {
        Kept(Arc::new(Engine {
            logs: Mutex::new(Logs {
                by_lane: vec![Vec::new(); lanes.into()],
                delayed: VecDeque::new(),
                fault: Box::new(fault),
                faults: 0,
            }),
            changed: Condvar::new(),
            credits: (0..lanes)
                .map(|_| Semaphore::new(credit as usize))
                .collect(),
            credit,
        }))
    }

    /// How many appends had a fault.
    fn faults(&self) -> usize {
        self.0.logs.lock().faults
    }
}

impl Engine {
    fn price(&self, bytes: usize) -> u32 {
        self.credit.min(u32::try_from(bytes).unwrap() + 16)
    }
}

impl LaneLog for Kept {
    fn appender(&self) -> Result<Box<dyn Appender>, LogError> {
        Ok(Box::new(self.clone()))
    }

    fn promise(&self) -> Promise {
        Promise::Kept
    }

    fn follower(&self, lanes: &[(u16, Position)]) -> Result<Box<dyn Follower>, LogError> {
        Ok(Box::new(KeptFollower {
            engine: self.0.clone(),
            lanes: lanes.to_vec(),
            waker: Arc::new(KeptWaker {
                engine: self.0.clone(),
                is_woken: AtomicBool::new(false),
            }),
        }))
    }
}

impl Appender for Kept {
    fn try_reserve(&self, lane: u16, bytes: usize) -> Result<bool, LogError> {
        let credits = &self.0.credits[usize::from(lane)];
        let permit = credits.try_acquire_many(self.0.price(bytes));
        Ok(permit.map(SemaphorePermit::forget).is_ok())
    }

    fn reserve(&self, lane: u16, bytes: usize) -> BoxFuture<'_, Result<(), LogError>> {
        Box::pin(async move {
            let credits = &self.0.credits[usize::from(lane)];
            let permit = credits.acquire_many(self.0.price(bytes)).await;
            permit.unwrap().forget();
            Ok(())
        })
    }

    fn append(&self, lane: u16, batch: Bytes) -> Result<(), LogError> {
        let mut logs = self.0.logs.lock();
        let fault = (logs.fault)();
        logs.faults += usize::from(fault != Fault::None);
        let times = match fault {
            Fault::None => 1,
            Fault::Repeat => 2,
            Fault::Lose => 0,
            Fault::Delay => {
                logs.delayed.push_back((lane, batch.clone()));
                0
            }
        };
        for _ in 0..times {
            logs.by_lane[usize::from(lane)].push(batch.clone());
        }
        if logs.delayed.len() > DELAYED {
            let (lane, batch) = logs.delayed.pop_front().unwrap();
            logs.by_lane[usize::from(lane)].push(batch);
        }
        self.0.changed.notify_all();
        Ok(())
    }
}

struct KeptFollower {
    engine: Arc<Engine>,
    /// The position in each lane behind which it reads.
    lanes: Vec<(u16, Position)>,
    waker: Arc<KeptWaker>,
}

impl Follower for KeptFollower {
    fn next(&mut self, wait: bool) -> Result<Option<(u16, Position, Bytes)>, LogError> {
        let mut logs = self.engine.logs.lock();
        loop {
            if self.waker.is_woken.swap(false, Ordering::AcqRel) {
                return Ok(None);
            }
            for (lane, Position(read)) in &mut self.lanes {
                let at = usize::try_from(*read).unwrap();
                if let Some(batch) = logs.by_lane[usize::from(*lane)].get(at) {
                    *read += 1;
                    return Ok(Some((*lane, Position(*read), batch.clone())));
                }
            }
            if !wait {
                return Ok(None);
            }
            self.engine.changed.wait(&mut logs);
        }
    }

    fn done(&mut self, lane: u16, batch: &Bytes) {
        let price = self.engine.price(batch.len()) as usize;
        self.engine.credits[usize::from(lane)].add_permits(price);
    }

    fn waker(&self) -> Arc<dyn FollowerWaker> {
        self.waker.clone()
    }
}

struct KeptWaker {
    engine: Arc<Engine>,
    is_woken: AtomicBool,
}

impl FollowerWaker for KeptWaker {
    fn wake(&self) -> Result<(), LogError> {
        // A follower that holds the lock has not begun to wait.
        let _logs = self.engine.logs.lock();
        self.is_woken.store(true, Ordering::Release);
        self.engine.changed.notify_all();
        Ok(())
    }
}

mod tests {
    use super::super::embedded::Embedded;
    use super::super::log::contract;
    use super::super::scene::{CLIENT, Scene, append};
    use super::*;
    use futures_util::FutureExt;
    use futures_util::future::join_all;
    use std::time::Duration;

    const CREDIT: u32 = 16 << 10;

    /// Short, so that tests do not wait.
    const INTERVAL: Duration = Duration::from_millis(5);

    #[test]
    fn keeps_the_contract() {
        contract::check(&Kept::new(4, CREDIT, || Fault::None), CREDIT as usize);
        contract::check_kept(&Kept::new(2, CREDIT, || Fault::None));
    }

    /// One fault in 30 appends, by a generator that always gives the same (xorshift).
    fn faults() -> impl FnMut() -> Fault + Send + 'static {
        let mut state = 0x2545_F491_4F6C_DD1D_u64;
        move || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            match state % 90 {
                0 => Fault::Lose,
                1 => Fault::Repeat,
                2 => Fault::Delay,
                _ => Fault::None,
            }
        }
    }

    fn lose_the_first() -> impl FnMut() -> Fault + Send + 'static {
        let mut faults = [Fault::Lose].into_iter();
        move || faults.next().unwrap_or(Fault::None)
    }

    /// Runs `appending` beside the task that appends again.
    fn run(scene: &Scene, interval: Duration, appending: impl Future<Output = ()>) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build();
        runtime.unwrap().block_on(async {
            tokio::select! {
                () = appending => {}
                () = scene.lanes.resend(interval) => unreachable!("it runs for ever"),
            }
        });
    }

    /// What a lane applies of 100,000 batches, 64 of which are under way at once.
    fn applied(log: &dyn LaneLog) -> Vec<u32> {
        const BATCHES: u32 = 100_000;
        const AT_ONCE: usize = 64;
        let scene = Scene::new(log);
        let applier = scene.start_applier(log);
        let entrance = scene.entrance();
        run(&scene, INTERVAL, async {
            for first in (0..BATCHES).step_by(AT_ONCE) {
                let numbers = (first..BATCHES).take(AT_ONCE);
                let append = |n| append(&entrance, 0, CLIENT, n);
                for appended in join_all(numbers.map(append)).await {
                    appended.unwrap();
                }
            }
        });
        applier.finish();
        assert!(!scene.lanes.get(0).unwrap().has_stopped());
        scene.applied(CLIENT)
    }

    #[test]
    fn a_faulty_engine_gives_the_order_of_the_embedded_one() {
        let faulty = Kept::new(1, CREDIT, faults());
        let by_faulty = applied(&faulty);
        assert!(faulty.faults() > 1_000, "{} faults", faulty.faults());
        let by_embedded = applied(&Embedded::start(1, CREDIT));
        assert_eq!(by_faulty.len(), 100_000);
        assert!(by_faulty == by_embedded);
    }

    /// Nothing comes behind it that could show the hole.
    #[test]
    fn a_lost_batch_that_was_the_last_is_appended_again() {
        let log = Kept::new(1, CREDIT, lose_the_first());
        let scene = Scene::new(&log);
        let applier = scene.start_applier(&log);
        let entrance = scene.entrance();
        run(&scene, INTERVAL, async {
            append(&entrance, 0, CLIENT, 5).await.unwrap();
        });
        applier.finish();
        assert_eq!(scene.applied(CLIENT), [5]);
        assert_eq!(log.faults(), 1);
    }

    #[test]
    fn a_batch_that_the_next_one_shows_to_be_lost_is_appended_again_at_once() {
        let log = Kept::new(1, CREDIT, lose_the_first());
        let scene = Scene::new(&log);
        let applier = scene.start_applier(&log);
        let entrance = scene.entrance();
        let never = Duration::from_secs(1 << 20);
        run(&scene, never, async {
            let append = |n| append(&entrance, 0, CLIENT, n);
            for appended in join_all([5, 6].map(append)).await {
                appended.unwrap();
            }
        });
        applier.finish();
        assert_eq!(scene.applied(CLIENT), [5, 6]);
    }

    /// A batch in a kept log may be lost, so it must not be acknowledged.
    #[test]
    fn an_append_to_a_kept_log_is_done_when_it_was_applied() {
        let log = Kept::new(1, CREDIT, || Fault::None);
        let scene = Scene::new(&log);
        let entrance = scene.entrance();
        let mut appending = Box::pin(append(&entrance, 0, CLIENT, 5));
        assert!(
            appending.as_mut().now_or_never().is_none(),
            "nobody applies"
        );
        let applier = scene.start_applier(&log);
        run(&scene, INTERVAL, async { appending.await.unwrap() });
        assert_eq!(scene.applied(CLIENT), [5]);
        applier.finish();
    }
}
