//! Handshakes that cost much of a core, one step at a time.
//!
//! A step of TLS takes some tenths of a millisecond that nothing can interrupt. Of a thousand clients that come at once, each
//! would do its step before any other connection of the thread is looked at again; so only one of them takes a
//! step in each round of the thread's tasks.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use tokio::sync::Semaphore;

/// The turns of one thread.
#[derive(Debug)]
pub(crate) struct Turns(Semaphore);

/// Notes that a future may go on, and wakes the task that it is part of.
struct Bell {
    rung: AtomicBool,
    task: Waker,
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.rung.store(true, Ordering::Release);
        self.task.wake_by_ref();
    }
}

impl Default for Turns {
    fn default() -> Self {
        Turns(Semaphore::new(1))
    }
}

impl Turns {
    /// Runs a future, each of its steps in a turn; who waits for its peer holds none.
    pub(crate) async fn pace<F: Future>(&self, future: F) -> F::Output {
        let mut future = pin!(future);
        let task = poll_fn(|cx| Poll::Ready(cx.waker().clone())).await;
        let bell = Arc::new(Bell {
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
            tokio::task::yield_now().await;
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
    fn others_come_between_steps() {
        run(async {
            let (turns, log) = (
                Arc::new(Turns::default()),
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
                    turns.pace(stepping).await;
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
    fn who_waits_holds_no_turn() {
        run(async {
            let turns = Arc::new(Turns::default());
            let waits = turns.clone();
            let stuck = tokio::spawn(async move { waits.pace(std::future::pending::<()>()).await });
            let bell = Arc::new(tokio::sync::Notify::new());
            let (paced, rung) = (turns.clone(), bell.clone());
            let woken = tokio::spawn(async move { paced.pace(rung.notified()).await });
            tokio::task::yield_now().await;
            turns.pace(async {}).await;
            bell.notify_one();
            woken.await.unwrap();
            stuck.abort();
        });
    }
}
