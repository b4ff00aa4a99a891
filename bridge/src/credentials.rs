//! Password checks on blocking threads, a few at a time.

use crate::users::Users;
use bytes::Bytes;
use std::sync::Arc;
use tokio::sync::Semaphore;

/// Checks passwords without blocking the threads that serve connections.
#[derive(Debug)]
pub(crate) struct PasswordChecks {
    slots: Arc<Semaphore>,
}

impl PasswordChecks {
    /// `at_once`: the most checks at one time, at least 1.
    pub fn new(at_once: usize) -> PasswordChecks {
        PasswordChecks {
            slots: Arc::new(Semaphore::new(at_once.clamp(1, Semaphore::MAX_PERMITS))),
        }
    }

    /// Whether `password` is the password of `user` among `users`. False if the check panics. Needs a tokio
    /// runtime.
    pub async fn check(&self, users: Arc<Users>, user: String, password: Bytes) -> bool {
        let Ok(slot) = Arc::clone(&self.slots).acquire_owned().await else {
            return false;
        };
        let check = tokio::task::spawn_blocking(move || {
            // The thread holds the slot: the caller may be dropped before the check ends.
            let _slot = slot;
            users.verify(&user, &password)
        });
        check.await.unwrap_or(false)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use std::task::{Context, Poll, Waker};

    #[tokio::test]
    async fn a_check_waits_for_a_slot_and_releases_it() {
        let checks = PasswordChecks::new(1);
        let taken = Arc::clone(&checks.slots).try_acquire_owned().unwrap();
        let mut check = Box::pin(checks.check(Arc::default(), "al".to_owned(), Bytes::new()));
        let mut nobody = Context::from_waker(Waker::noop());
        assert_eq!(check.as_mut().poll(&mut nobody), Poll::Pending);
        drop(taken);
        assert!(!check.await);
        // The thread releases the slot soon after the answer.
        assert!(checks.slots.acquire().await.is_ok());
    }

    #[test]
    fn a_dropped_caller_does_not_release_the_slot_early() {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .max_blocking_threads(1)
            .build()
            .unwrap();
        runtime.block_on(async {
            // The only thread is busy until `go` is dropped, so the check has begun and waits.
            let (go, wait) = std::sync::mpsc::sync_channel::<()>(0);
            let busy = tokio::task::spawn_blocking(move || wait.recv());
            let checks = PasswordChecks::new(1);
            let mut check = Box::pin(checks.check(Arc::default(), "al".to_owned(), Bytes::new()));
            let mut nobody = Context::from_waker(Waker::noop());
            assert_eq!(check.as_mut().poll(&mut nobody), Poll::Pending);
            drop(check);
            assert_eq!(checks.slots.available_permits(), 0);
            drop(go);
            assert!(busy.await.is_ok());
            assert!(checks.slots.acquire().await.is_ok());
        });
    }

    #[test]
    fn there_is_at_least_one_slot() {
        assert_eq!(PasswordChecks::new(0).slots.available_permits(), 1);
        let most = PasswordChecks::new(usize::MAX);
        assert_eq!(most.slots.available_permits(), Semaphore::MAX_PERMITS);
    }
}
