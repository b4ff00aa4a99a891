//! How often users join and leave the rooms of a lane.

use super::hook_keys::user_key;
use roommq_lane::Actor;
use serde::{Deserialize, Serialize};
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

/// The milliseconds over which changes are counted.
pub(crate) const PERIOD: u64 = 10_000;

/// Changes that one call forgets, at most, so that no entry does unbounded work.
const FORGOTTEN_AT_ONCE: usize = 1_000;

/// The changes of the last [`PERIOD`], by lane time.
///
/// Every member of a room receives each change, so that one user who joins and leaves without a pause costs what its
/// room has members. Two kinds are counted apart:
///
/// - a user joins with its first device and leaves with its last: by room and user;
/// - a further device of a member joins or leaves: by room, user and session, since a user may have many devices.
#[derive(Debug, Default)]
pub(crate) struct JoinRates {
    /// In the order of time.
    recent: VecDeque<(u64, Arc<str>)>,
    /// How often each key is in `recent`.
    counts: HashMap<Arc<str>, u32>,
}

/// The rates in a snapshot: the changes in the order of time.
#[derive(Serialize, Deserialize)]
pub(crate) struct JoinRatesImage<'a>(#[serde(borrow)] Vec<(u64, &'a str)>);

/// The key of a further device of a member.
pub(crate) fn device_key(room: &str, who: Actor<'_>) -> String {
    let (user, session) = (user_key(room, who.user), who.session);
    format!("{user}/{}.{}", session.term, session.n)
}

impl JoinRates {
    /// Counts a change at `now`.
    pub fn note(&mut self, key: String, now: u64) {
        self.forget(now);
        let known = self.counts.get_key_value(key.as_str());
        let key = known.map_or_else(|| key.into(), |(known, _)| Arc::clone(known));
        *self.counts.entry(Arc::clone(&key)).or_default() += 1;
        self.recent.push_back((now, key));
    }

    /// Whether there were fewer changes than `limit` in the period before `now`.
    pub fn allows(&mut self, key: &str, limit: u32, now: u64) -> bool {
        self.forget(now);
        self.counts.get(key).is_none_or(|count| *count < limit)
    }

    fn forget(&mut self, now: u64) {
        for _ in 0..FORGOTTEN_AT_ONCE {
            let is_old = |(at, _): &mut (u64, Arc<str>)| at.saturating_add(PERIOD) <= now;
            let Some((_, key)) = self.recent.pop_front_if(is_old) else {
                break;
            };
            if let Some(count) = self.counts.get_mut(&key) {
                *count -= 1;
                if *count == 0 {
                    self.counts.remove(&key);
                }
            }
        }
    }

    pub fn snapshot(&self) -> JoinRatesImage<'_> {
        let JoinRates { recent, counts: _ } = self; // the counts follow
        JoinRatesImage(recent.iter().map(|(at, key)| (*at, &**key)).collect())
    }

    pub fn restore(image: JoinRatesImage<'_>) -> JoinRates {
        let mut rates = JoinRates::default();
        for (at, key) in image.0 {
            let key: Arc<str> = key.into();
            *rates.counts.entry(Arc::clone(&key)).or_default() += 1;
            rates.recent.push_back((at, key));
        }
        rates
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_count_for_ten_seconds() {
        let mut rates = JoinRates::default();
        let note = |rates: &mut JoinRates, now| rates.note("a/al".to_owned(), now);
        assert!(rates.allows("a/al", 2, 0));
        note(&mut rates, 0);
        note(&mut rates, 6_000);
        assert!(!rates.allows("a/al", 2, 9_999) && rates.allows("a/bob", 2, 9_999));
        assert!(rates.allows("a/al", 2, 10_000));
        note(&mut rates, 10_000);
        assert!(!rates.allows("a/al", 2, 15_999));
        assert!(rates.allows("a/al", 1, 20_000));
        assert!(rates.recent.is_empty() && rates.counts.is_empty());
    }

    #[test]
    fn one_call_forgets_a_bounded_number() {
        let mut rates = JoinRates::default();
        for n in 0..3 * FORGOTTEN_AT_ONCE {
            rates.note(format!("a/{n}"), 5);
        }
        rates.forget(90_000);
        assert_eq!(rates.recent.len(), 2 * FORGOTTEN_AT_ONCE);
    }
}
