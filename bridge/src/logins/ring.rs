//! Keys that take turns.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Instant;

/// Keys in the order of their turns. A key may be put off until a time. All operations take time in the logarithm of
/// the number of keys.
#[derive(Debug, Default)]
pub(super) struct Ring {
    /// The number of the next turn.
    next: u64,
    ready: BTreeMap<u64, u64>,
    put_off: BTreeSet<(Instant, u64)>,
    places: HashMap<u64, RingPlace>,
}

#[derive(Debug, Clone, Copy)]
enum RingPlace {
    /// The number of its turn.
    Ready(u64),
    PutOff(Instant),
}

impl Ring {
    /// Puts a key at the end. A key that is ready keeps its place; one that is put off is so no more.
    pub fn add(&mut self, key: u64) {
        if matches!(self.places.get(&key), Some(RingPlace::Ready(_))) {
            return;
        }
        self.remove(key);
        self.ready.insert(self.next, key);
        self.places.insert(key, RingPlace::Ready(self.next));
        self.next += 1;
    }

    /// Lets a key that is put off take its turn. Other keys, and those that are not here, stay as they are.
    pub fn wake(&mut self, key: u64) {
        if self.places.contains_key(&key) {
            self.add(key);
        }
    }

    /// Puts a key off until a time.
    pub fn put_off(&mut self, key: u64, until: Instant) {
        self.remove(key);
        self.put_off.insert((until, key));
        self.places.insert(key, RingPlace::PutOff(until));
    }

    /// Removes a key, if it is here.
    pub fn remove(&mut self, key: u64) {
        match self.places.remove(&key) {
            Some(RingPlace::Ready(turn)) => drop(self.ready.remove(&turn)),
            Some(RingPlace::PutOff(until)) => drop(self.put_off.remove(&(until, key))),
            None => {}
        }
    }

    /// Takes the key out whose turn it is. None: no key is ready at `now`.
    pub fn pop(&mut self, now: Instant) -> Option<u64> {
        while let Some((until, key)) = self.put_off.first().copied() {
            if until > now {
                break;
            }
            self.add(key);
        }
        let (_, key) = self.ready.pop_first()?;
        self.places.remove(&key);
        Some(key)
    }

    /// The time at which the next key that is put off is ready. None: no key is put off.
    pub fn due(&self) -> Option<Instant> {
        self.put_off.first().map(|(until, _)| *until)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn keys_take_turns_and_wait_until_their_time() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut ring = Ring::default();
        (1..=4).for_each(|key| ring.add(key));
        ring.add(1);
        ring.remove(2);
        assert_eq!((ring.pop(start), ring.pop(start)), (Some(1), Some(3)));
        ring.put_off(1, at(9));
        ring.put_off(3, at(5));
        ring.put_off(1, at(7));
        assert_eq!((ring.pop(start), ring.pop(start)), (Some(4), None));
        assert_eq!(ring.due(), Some(at(5)));
        assert_eq!(ring.pop(at(5)), Some(3));
        ring.wake(3);
        ring.wake(1);
        assert_eq!((ring.pop(at(5)), ring.pop(at(5))), (Some(1), None));
        assert_eq!(ring.due(), None);
        assert!(ring.places.is_empty() && ring.ready.is_empty() && ring.put_off.is_empty());
    }
}
