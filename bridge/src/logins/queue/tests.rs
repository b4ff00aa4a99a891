#![allow(clippy::unwrap_used)]
use super::super::failures::FailureRates;
use super::*;
use proptest::prelude::*;
use std::time::Duration;

const ALL: Levels = Levels::All;

fn key(user: u64, address: u64) -> LoginKey {
    let pair = user << 32 | address;
    LoginKey {
        user,
        address,
        pair,
    }
}

fn limits(pair: u32, address: u32, now: Instant) -> Failures {
    let rates = FailureRates {
        pair,
        address,
        user: 0,
    };
    Failures::new(rates, now)
}

fn end<W>(turns: &mut LoginQueue<W>, failures: &mut Failures, charge: Charge, failed: bool) {
    failures.close(charge, failed);
    turns.finished();
    if !failed {
        turns.wake(charge.key);
    }
}

/// The handles of all that may be checked now, one after the other.
fn all<W>(
    turns: &mut LoginQueue<W>,
    failures: &mut Failures,
    now: Instant,
    failed: bool,
) -> Vec<W> {
    let mut order = Vec::new();
    while let Some((charge, handle)) = turns.next(failures, now) {
        end(turns, failures, charge, failed);
        order.push(handle);
    }
    order
}

#[test]
fn addresses_take_turns_and_so_do_their_users() {
    let now = Instant::now();
    let (mut turns, mut failures) = (LoginQueue::new(1), limits(0, 0, now));
    for n in 0..4 {
        turns.push(key(1, 1), ALL, format!("1@1.{n}"));
    }
    turns.push(key(2, 1), ALL, "2@1".to_owned());
    turns.push(key(1, 2), ALL, "1@2.0".to_owned());
    turns.push(key(1, 2), ALL, "1@2.1".to_owned());
    let order = all(&mut turns, &mut failures, now, true);
    let expected = ["1@1.0", "1@2.0", "2@1", "1@2.1", "1@1.1", "1@1.2", "1@1.3"];
    assert_eq!(order, expected);
    assert!(turns.addresses.is_empty() && turns.waiting() == 0);
}

#[test]
fn no_more_are_checked_at_once_than_allowed() {
    let now = Instant::now();
    let (mut turns, mut failures) = (LoginQueue::new(2), limits(0, 0, now));
    for n in 0..3 {
        turns.push(key(n, n), ALL, n);
    }
    let mut next = |turns: &mut LoginQueue<u64>| turns.next(&mut failures, now).map(|(_, n)| n);
    let first = [next(&mut turns), next(&mut turns), next(&mut turns)];
    assert_eq!(first, [Some(0), Some(1), None]);
    turns.finished();
    assert_eq!(next(&mut turns), Some(2));
}

#[test]
fn who_has_failed_too_often_waits_and_delays_no_other() {
    let now = Instant::now();
    let (mut turns, mut failures) = (LoginQueue::new(1), limits(5, 20, now));
    for n in 0..100 {
        turns.push(key(n % 10, 1), ALL, "guess");
    }
    assert_eq!(all(&mut turns, &mut failures, now, true).len(), 20);
    assert_eq!(turns.due(), Some(now + Duration::from_secs(3)));
    turns.push(key(1, 2), ALL, "right");
    assert_eq!(all(&mut turns, &mut failures, now, false), ["right"]);
    let later = now + Duration::from_secs(9);
    assert_eq!(all(&mut turns, &mut failures, later, true).len(), 3);
    // A user of that address who has not failed has a turn, too.
    turns.push(key(77, 1), ALL, "user 77");
    let later = later + Duration::from_mins(1);
    let order = all(&mut turns, &mut failures, later, true);
    assert!(order.contains(&"user 77"), "{order:?}");
}

#[test]
fn right_passwords_need_one_token_however_many_they_are() {
    let now = Instant::now();
    let (mut turns, mut failures) = (LoginQueue::new(8), limits(1, 1, now));
    for n in 0..1_000 {
        turns.push(key(n, 1), ALL, n);
        turns.push(key(5_000, 1), ALL, n);
    }
    assert_eq!(all(&mut turns, &mut failures, now, false).len(), 2_000);
}

#[test]
fn a_login_that_is_given_up_leaves_nothing() {
    let now = Instant::now();
    let (mut turns, mut failures) = (LoginQueue::new(1), limits(1, 1, now));
    let places: Vec<TurnNumber> = (0..300)
        .map(|n| turns.push(key(n % 3, n % 7), ALL, n))
        .collect();
    for place in &places {
        assert!(turns.remove(*place).is_some());
        assert!(turns.remove(*place).is_none());
    }
    assert!(turns.addresses.is_empty() && turns.waiting() == 0);
    assert!(turns.next(&mut failures, now).is_none());
}

#[test]
fn the_newest_of_the_largest_address_goes_first() {
    let mut turns = LoginQueue::new(1);
    for n in 0..5 {
        turns.push(key(n % 2, 1), ALL, n);
    }
    turns.push(key(1, 2), ALL, 5);
    let gone: Vec<u64> = (0..4)
        .map(|_| turns.remove_newest_of_largest().unwrap())
        .collect();
    assert_eq!(gone, [4, 3, 2, 1]);
    assert_eq!(turns.waiting(), 2);
}

proptest! {
    /// Whatever comes and goes: every login gets its turn in the end, once.
    #[test]
    fn every_login_gets_a_turn(steps in prop::collection::vec((0..4_u64, 0..4_u64, 0..5_u8), 0..200)) {
        let start = Instant::now();
        let mut now = start;
        let (mut turns, mut failures) = (LoginQueue::new(2), limits(2, 3, start));
        let (mut places, mut left, mut running) = (Vec::new(), 0, Vec::new());
        for (n, (user, address, what)) in steps.into_iter().enumerate() {
            match what {
                0 | 1 => {
                    places.push(turns.push(key(user, address), ALL, n));
                    left += 1;
                }
                2 if !places.is_empty() => {
                    let at = n % places.len();
                    left -= usize::from(turns.remove(places.swap_remove(at)).is_some());
                }
                3 => now += Duration::from_secs(user * 7),
                _ => {}
            }
            while let Some((charge, _)) = turns.next(&mut failures, now) {
                left -= 1;
                running.push(charge);
            }
            prop_assert!(running.len() <= 2);
            if what == 4 && let Some(charge) = running.pop() {
                let failed = address > 1;
                end(&mut turns, &mut failures, charge, failed);
            }
            prop_assert_eq!(turns.waiting(), left);
        }
        for charge in running {
            end(&mut turns, &mut failures, charge, true);
        }
        let mut rounds = 0;
        while left > 0 {
            left -= all(&mut turns, &mut failures, now, true).len();
            if let Some(due) = turns.due() {
                now = now.max(due);
            }
            rounds += 1;
            prop_assert!(rounds < 1_000);
        }
        prop_assert!(turns.addresses.is_empty());
    }
}
