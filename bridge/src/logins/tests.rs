#![allow(clippy::unwrap_used)]
use super::*;
use crate::users::{load_users, set_password};
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker};

fn gate(change: impl FnOnce(&mut Limits)) -> Arc<LoginGate> {
    let mut limits = Limits {
        password_checks: 1,
        ..Limits::default()
    };
    change(&mut limits);
    LoginGate::new(&limits)
}

fn peer(address: u8) -> Peer {
    SocketAddr::from(([192, 0, 2, address], 1)).into()
}

fn key(gate: &LoginGate, user: &str, address: u8) -> LoginKey {
    gate.key(user, peer(address))
}

fn accounts(gate: &LoginGate) -> Arc<Accounts> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("users.toml");
    set_password(&path, "al", "right", None).unwrap();
    gate.accounts(load_users(&path).unwrap())
}

fn now<F: Future>(future: Pin<&mut F>) -> Poll<F::Output> {
    future.poll(&mut Context::from_waker(Waker::noop()))
}

/// Tries wrong proofs as long as they are checked at once, a thousand at most. Returns their number.
fn guesses(gate: &Arc<LoginGate>, key: impl Fn(u8) -> LoginKey) -> usize {
    let tried = (0..1_000).take_while(|n| {
        let turn = pin!(gate.proof(key(u8::try_from(n % 250).unwrap())));
        let Poll::Ready(turn) = now(turn) else {
            return false;
        };
        turn.unwrap().end(false);
        true
    });
    tried.count()
}

async fn check(gate: &Arc<LoginGate>, address: u8, password: &'static str) -> bool {
    let accounts = accounts(gate);
    check_with(gate, address, password, &accounts)
        .await
        .unwrap()
}

async fn check_with(
    gate: &Arc<LoginGate>,
    address: u8,
    password: &'static str,
    accounts: &Arc<Accounts>,
) -> Result<bool, TooManyWait> {
    let key = key(gate, "al", address);
    let (user, password) = ("al".to_owned(), Bytes::from(password));
    gate.check(key, || accounts.clone(), user, password).await
}

#[tokio::test]
async fn a_password_is_right_or_wrong() {
    let gate = gate(|_| {});
    assert!(check(&gate, 1, "right").await);
    assert!(!check(&gate, 1, "wrong").await);
    let nobodys = || gate.accounts(Users::default());
    let (user, password) = ("al".to_owned(), Bytes::from("right"));
    let found = gate.check(key(&gate, "al", 1), nobodys, user, password);
    assert_eq!(found.await, Ok(false));
}

#[tokio::test]
async fn guesses_are_limited_by_user_and_address() {
    let gate = gate(|limits| limits.login_failures_user = 60);
    assert_eq!(guesses(&gate, |_| key(&gate, "al", 1)), 5);
    let users = |n: u8| key(&gate, &format!("user {n}"), 1);
    assert_eq!(guesses(&gate, users), 15, "20 for the address");
    let mut waits = pin!(gate.proof(key(&gate, "bob", 1)));
    assert!(now(waits.as_mut()).is_pending());
    assert_eq!(guesses(&gate, |n| key(&gate, "al", 2 + n)), 55);
}

#[tokio::test]
async fn a_user_under_attack_logs_in_from_known_addresses() {
    let gate = gate(|_| {});
    assert!(check(&gate, 1, "right").await);
    assert_eq!(guesses(&gate, |n| key(&gate, "al", 2 + n)), 60);
    let mut elsewhere = pin!(gate.proof(key(&gate, "al", 1)));
    assert!(now(elsewhere.as_mut()).is_ready());
    let mut elsewhere = pin!(gate.proof(key(&gate, "al", 255)));
    assert!(now(elsewhere.as_mut()).is_pending());
}

#[tokio::test]
async fn a_login_that_is_dropped_delays_no_other() {
    let gate = gate(|_| {});
    let accounts = accounts(&gate);
    let taken = gate
        .turn(key(&gate, "al", 1), Check::Password)
        .await
        .unwrap();
    {
        let mut gone: Vec<_> = (0..300)
            .map(|_| Box::pin(check_with(&gate, 1, "wrong", &accounts)))
            .collect();
        for login in &mut gone {
            assert!(now(login.as_mut()).is_pending());
        }
        assert_eq!(gate.state.lock().passwords.waiting(), 300);
    }
    assert_eq!(gate.state.lock().passwords.waiting(), 0);
    drop(taken);
    assert_eq!(check_with(&gate, 1, "right", &accounts).await, Ok(true));
    // Nothing was guessed.
    assert_eq!(guesses(&gate, |_| key(&gate, "al", 1)), 5);
}

#[test]
fn a_dropped_caller_does_not_release_its_turn_early() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .max_blocking_threads(1)
        .enable_time()
        .build()
        .unwrap();
    runtime.block_on(async {
        // The only thread is busy until `go` is dropped, so the check has begun and waits.
        let (go, wait) = std::sync::mpsc::sync_channel::<()>(0);
        let busy = tokio::task::spawn_blocking(move || wait.recv());
        let gate = gate(|_| {});
        let accounts = accounts(&gate);
        let mut login = Box::pin(check_with(&gate, 1, "wrong", &accounts));
        assert!(now(login.as_mut()).is_pending());
        drop(login);
        let mut next = Box::pin(gate.turn(key(&gate, "bob", 2), Check::Password));
        assert!(now(next.as_mut()).is_pending());
        drop(go);
        assert!(busy.await.is_ok());
        assert!(next.await.is_ok());
        assert_eq!(guesses(&gate, |_| key(&gate, "al", 1)), 4, "one has failed");
    });
}

#[tokio::test]
async fn a_verified_password_waits_for_nothing() {
    let gate = gate(|_| {});
    let accounts = accounts(&gate);
    assert_eq!(check_with(&gate, 1, "right", &accounts).await, Ok(true));
    guesses(&gate, |_| key(&gate, "al", 1));
    guesses(&gate, |n| key(&gate, &format!("user {n}"), 1));
    let _taken = gate
        .turn(key(&gate, "al", 9), Check::Password)
        .await
        .unwrap();
    for address in [1, 2] {
        let mut login = Box::pin(check_with(&gate, address, "right", &accounts));
        assert_eq!(now(login.as_mut()), Poll::Ready(Ok(true)));
    }
    // Other accounts, as after a reload, know nothing of it.
    let reloaded = self::accounts(&gate);
    let mut login = Box::pin(check_with(&gate, 1, "right", &reloaded));
    assert!(now(login.as_mut()).is_pending());
}

#[tokio::test]
async fn verified_passwords_cannot_be_guessed_by_hanging_up() {
    let gate = gate(|_| {});
    let accounts = accounts(&gate);
    assert_eq!(check_with(&gate, 1, "right", &accounts).await, Ok(true));
    let _taken = gate
        .turn(key(&gate, "al", 9), Check::Password)
        .await
        .unwrap();
    for _ in 0..1_000 {
        let mut guess = Box::pin(check_with(&gate, 2, "wrong", &accounts));
        assert!(now(guess.as_mut()).is_pending());
    }
    let mut guess = Box::pin(check_with(&gate, 2, "right", &accounts));
    assert!(now(guess.as_mut()).is_pending());
    // From the user's own address nothing was guessed.
    let mut login = Box::pin(check_with(&gate, 1, "right", &accounts));
    assert_eq!(now(login.as_mut()), Poll::Ready(Ok(true)));
}

#[tokio::test]
async fn a_full_queue_refuses_who_waits_most() {
    let gate = gate(|limits| limits.login_queue = 10);
    let accounts = accounts(&gate);
    let _taken = gate
        .turn(key(&gate, "al", 9), Check::Password)
        .await
        .unwrap();
    let mut many: Vec<_> = (0..11)
        .map(|_| Box::pin(check_with(&gate, 1, "wrong", &accounts)))
        .collect();
    let refused = many
        .iter_mut()
        .filter_map(|login| match now(login.as_mut()) {
            Poll::Ready(result) => Some(result),
            Poll::Pending => None,
        });
    assert_eq!(refused.collect::<Vec<_>>(), [Err(TooManyWait)]);
    let mut other = Box::pin(check_with(&gate, 2, "right", &accounts));
    assert!(now(other.as_mut()).is_pending());
    assert_eq!(now(many[9].as_mut()), Poll::Ready(Err(TooManyWait)));
}

#[tokio::test]
async fn few_wait_at_an_address_that_has_failed_too_often() {
    let gate = gate(|_| {});
    guesses(&gate, |n| key(&gate, &format!("user {n}"), 1));
    let mut waiting: Vec<_> = (0..WAITING_BLOCKED)
        .map(|_| Box::pin(gate.proof(key(&gate, "al", 1))))
        .collect();
    for login in &mut waiting {
        assert!(now(login.as_mut()).is_pending());
    }
    let mut more = pin!(gate.proof(key(&gate, "al", 1)));
    assert!(matches!(now(more.as_mut()), Poll::Ready(Err(TooManyWait))));
    let mut other = pin!(gate.proof(key(&gate, "al", 2)));
    assert!(matches!(now(other.as_mut()), Poll::Ready(Ok(_))));
}

#[tokio::test]
async fn who_has_failed_too_often_is_checked_later() {
    // A token in 10 ms.
    let gate = gate(|limits| {
        limits.login_failures = 6_000;
        limits.login_failures_address = 0;
        limits.login_failures_user = 0;
    });
    for _ in 0..6_010 {
        gate.proof(key(&gate, "al", 1)).await.unwrap().end(false);
    }
}
