//! Fairness between the tasks of one thread: the one place where long work lets others go first.
//!
//! A thread serves many connections, one task each, and nothing interrupts a task. Work that one packet can make long is
//! therefore counted: a [`Turn`] says when so much has been done that the other tasks should go first.
//! Handshakes that cost much of a core are a special case: [`HandshakePacer`] lets only one of them work in each round.
//!
//! ```text
//! for filter in packet.filters {
//!     turn.spend(1).await;        // every 64th time the other tasks run in between
//!     judge(filter).await;
//! }
//! ```

use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use tokio::sync::Semaphore;

/// Filters of one packet that are judged, or sent to lanes, in one turn.
pub(crate) const FILTERS: usize = 64;

/// Lanes that are told of the end of a session in one turn: a session may have thousands of filters in each.
pub(crate) const LANES: usize = 1;

/// Lets all tasks of this thread that are ready go first; its sockets are looked at as well.
pub(crate) async fn others_first() {
    tokio::task::yield_now().await;
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

    /// Counts `units` that are about to be done. If the units before them were a whole turn, the others go first.
    pub(crate) async fn spend(&mut self, units: usize) {
        if self.is_over() {
            self.done = 0;
            others_first().await;
        }
        self.done += units;
    }

    /// Whether the units so far are a whole turn.
    fn is_over(&self) -> bool {
        self.done >= self.limit
    }
}

/// The costly handshakes of one thread: one takes a step in each round of the thread's tasks.
///
/// A step of TLS takes some tenths of a millisecond. If a thousand clients come at once, each would take its step before
/// any other connection of the thread is looked at again.
#[derive(Debug)]
pub(crate) struct HandshakePacer(Semaphore);

/// Notes that a future may go on, and wakes the task that it is a part of.
struct WakeFlag {
    rung: AtomicBool,
    task: Waker,
}

impl Wake for WakeFlag {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.rung.store(true, Ordering::Release);
        self.task.wake_by_ref();
    }
}

impl Default for HandshakePacer {
    fn default() -> Self {
        HandshakePacer(Semaphore::new(1))
    }
}

impl HandshakePacer {
    /// Runs a future, no step of it in the same round as a step of another. A future that waits for its peer holds up nobody.
    pub(crate) async fn run<F: Future>(&self, future: F) -> F::Output {
        let mut future = pin!(future);
        let task = poll_fn(|cx| Poll::Ready(cx.waker().clone())).await;
        let bell = Arc::new(WakeFlag {
            rung: AtomicBool::new(false),
            task,
        });
        let waker = Waker::from(bell.clone());
        loop {
            // It is never closed.
            let turn = self.0.acquire().await;
            bell.rung.store(false, Ordering::Release);
            let step = future.as_mut().poll(&mut Context::from_waker(&waker));
            // Sockets are looked at before this goes on.
            others_first().await;
            drop(turn);
            if let Poll::Ready(output) = step {
                return output;
            }
            poll_fn(|_| {
                if bell.rung.swap(false, Ordering::AcqRel) {
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
    fn others_go_first_once_in_a_turn() {
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
            assert_eq!(*rounds.lock(), 3, "between four turns");
            turn.spend(10 * FILTERS).await;
            turn.spend(1).await;
            assert_eq!(*rounds.lock(), 5, "a large unit is a turn of its own");
            other.abort();
        });
    }

    #[test]
    fn others_come_between_steps() {
        run(async {
            let (turns, log) = (
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
                let (turns, log) = (turns.clone(), log.clone());
                tasks.push(tokio::spawn(async move {
                    let stepping = async {
                        for _ in 0..2 {
                            log.lock().push('s');
                            tokio::task::yield_now().await;
                        }
                    };
                    turns.run(stepping).await;
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
    fn a_future_that_waits_holds_up_no_other() {
        run(async {
            let turns = Arc::new(HandshakePacer::default());
            let waits = turns.clone();
            let stuck = tokio::spawn(async move { waits.run(std::future::pending::<()>()).await });
            let bell = Arc::new(tokio::sync::Notify::new());
            let (paced, rung) = (turns.clone(), bell.clone());
            let woken = tokio::spawn(async move { paced.run(rung.notified()).await });
            tokio::task::yield_now().await;
            turns.run(async {}).await;
            bell.notify_one();
            woken.await.unwrap();
            stuck.abort();
        });
    }
}
