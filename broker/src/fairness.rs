//! Fairness between the tasks of one thread: the one place where long work yields to other tasks.
//!
//! A thread serves many connections, one task each, and nothing interrupts a task. If one packet can cause long work, a
//! [`Turn`] counts the work and yields after a while. TLS handshakes are a special case: [`HandshakePacer`] lets one of
//! them work in each round of the thread's tasks.
//!
//! ```text
//! for filter in packet.filters {
//!     turn.spend(1).await;        // yields at every 64th filter
//!     judge(filter).await;
//! }
//! ```

use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use tokio::sync::Semaphore;

/// Filters of one packet that a task decides on, or sends to lanes, in one turn.
pub(crate) const FILTERS: usize = 64;

/// Lanes that a task informs of the end of a session in one turn. A session may have thousands of filters in each.
pub(crate) const LANES: usize = 1;

/// Work on the entries of one read, or of a lane's batches, in one turn: about 1 ms, in steps of about
/// 0.1 us. See [`Outcome::work`](roommq_lane::Outcome::work).
///
/// A message to 100 subscribers is some 500 steps: a window of 16 such messages, which are written to
/// the sockets together, is one turn.
pub(crate) const ENTRIES_WORK: usize = 8_192;

/// Sockets that are written in one turn: about 0.2 ms.
pub(crate) const SOCKETS: usize = 128;

/// How often a task that has used up a whole turn lets others go first: what a client asks for takes some
/// rounds of the thread's tasks, from reading to writing.
const ROUNDS: usize = 4;

/// Work on one entry beside that of its messages.
pub(crate) const ENTRY_WORK: usize = 8;

/// Yields to all tasks of this thread that are ready. The thread also polls its sockets.
pub(crate) async fn others_first() {
    tokio::task::yield_now().await;
}

/// The same after a whole turn of about 1 ms.
pub(crate) async fn others_first_after_a_turn() {
    for _ in 0..ROUNDS {
        others_first().await;
    }
}

/// Counts units of work towards a limit.
#[derive(Debug)]
pub(crate) struct Turn {
    limit: usize,
    done: usize,
}

impl Turn {
    /// A turn of `limit` units.
    pub(crate) fn of(limit: usize) -> Turn {
        Turn { limit, done: 0 }
    }

    /// Counts `units` of work that follow. Yields first if the units so far are a whole turn.
    pub(crate) async fn spend(&mut self, units: usize) {
        if self.done >= self.limit {
            self.done = 0;
            others_first().await;
        }
        self.done += units;
    }
}

/// Paces the costly handshakes of one thread: one of them takes a step in each round of the thread's tasks.
///
/// A step of a TLS handshake takes some tenths of a millisecond. Without pacing, a thousand clients that connect at once
/// would all take their steps before any other connection of the thread is served.
#[derive(Debug)]
pub(crate) struct HandshakePacer(Semaphore);

/// Notes that a future is ready to be polled, and wakes its task.
struct WakeFlag {
    is_set: AtomicBool,
    task: Waker,
}

impl Wake for WakeFlag {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.is_set.store(true, Ordering::Release);
        self.task.wake_by_ref();
    }
}

impl Default for HandshakePacer {
    fn default() -> Self {
        HandshakePacer(Semaphore::new(1))
    }
}

impl HandshakePacer {
    /// Runs a future. No two futures take a step in the same round. A future that waits for its peer delays no other.
    pub(crate) async fn run<F: Future>(&self, future: F) -> F::Output {
        let mut future = pin!(future);
        let task = poll_fn(|cx| Poll::Ready(cx.waker().clone())).await;
        let flag = Arc::new(WakeFlag {
            is_set: AtomicBool::new(false),
            task,
        });
        let waker = Waker::from(flag.clone());
        loop {
            // The semaphore is never closed, so this cannot fail.
            let turn = self.0.acquire().await;
            flag.is_set.store(false, Ordering::Release);
            let step = future.as_mut().poll(&mut Context::from_waker(&waker));
            // The other tasks run, and the sockets are polled, before the next step.
            others_first().await;
            drop(turn);
            if let Poll::Ready(output) = step {
                return output;
            }
            poll_fn(|_| {
                if flag.is_set.swap(false, Ordering::AcqRel) {
                    Poll::Ready(())
                } else {
                    Poll::Pending
                }
            })
            .await;
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use parking_lot::Mutex;

    fn run(test: impl Future<Output = ()>) {
        let mut runtime = tokio::runtime::Builder::new_current_thread();
        runtime.enable_all().build().unwrap().block_on(test);
    }

    #[test]
    fn a_turn_yields_once() {
        run(async {
            let rounds = Arc::new(Mutex::new(0));
            let other = rounds.clone();
            let other = tokio::spawn(async move {
                loop {
                    *other.lock() += 1;
                    tokio::task::yield_now().await;
                }
            });
            let mut turn = Turn::of(FILTERS);
            for _ in 0..4 * FILTERS {
                turn.spend(1).await;
            }
            assert_eq!(*rounds.lock(), 3, "four turns, three yields between them");
            turn.spend(10 * FILTERS).await;
            turn.spend(1).await;
            assert_eq!(*rounds.lock(), 5, "a large unit is a whole turn");
            other.abort();
        });
    }

    #[test]
    fn other_tasks_run_between_steps() {
        run(async {
            let (pacer, log) = (
                Arc::new(HandshakePacer::default()),
                Arc::new(Mutex::new(String::new())),
            );
            let other = log.clone();
            let other = tokio::spawn(async move {
                loop {
                    other.lock().push('.');
                    tokio::task::yield_now().await;
                }
            });
            let mut tasks = Vec::new();
            for _ in 0..3 {
                let (pacer, log) = (pacer.clone(), log.clone());
                tasks.push(tokio::spawn(async move {
                    let stepping = async {
                        for _ in 0..2 {
                            log.lock().push('s');
                            tokio::task::yield_now().await;
                        }
                    };
                    pacer.run(stepping).await;
                }));
            }
            for task in tasks {
                task.await.unwrap();
            }
            other.abort();
            let log = log.lock();
            assert_eq!(log.matches('s').count(), 6, "{log}");
            assert!(!log.contains("ss"), "{log}");
        });
    }

    #[test]
    fn a_waiting_handshake_delays_no_other() {
        run(async {
            let pacer = Arc::new(HandshakePacer::default());
            let waits = pacer.clone();
            let stuck = tokio::spawn(async move { waits.run(std::future::pending::<()>()).await });
            let bell = Arc::new(tokio::sync::Notify::new());
            let (waiting, rung) = (pacer.clone(), bell.clone());
            let woken = tokio::spawn(async move { waiting.run(rung.notified()).await });
            tokio::task::yield_now().await;
            pacer.run(async {}).await;
            bell.notify_one();
            woken.await.unwrap();
            stuck.abort();
        });
    }
}
