//! The rates of what one client sends: `limits.message_rate` and `limits.byte_rate`. Pure: `now` is passed in.

use crate::token_bucket::{Rate, TokenBucket};
use roommq_config::Limits;
use std::num::NonZeroU32;
use std::time::Duration;
use tokio::time::Instant;

/// Says how long the server does not read from a client that sends faster than it may. Nothing is dropped: what the
/// client sends stays in its socket.
#[derive(Debug)]
pub(super) struct Throttle {
    messages: Option<(Rate, TokenBucket)>,
    bytes: Option<(Rate, TokenBucket)>,
    /// Until when the server does not read.
    until: Option<Instant>,
}

impl Throttle {
    /// None: there is no limit.
    pub(super) fn new(limits: &Limits, now: Instant) -> Option<Throttle> {
        let now = now.into_std();
        let bucket = |rate| {
            let rate = Rate::new(NonZeroU32::new(rate)?.get(), Duration::from_secs(1));
            Some((rate, TokenBucket::full(now)))
        };
        let (messages, bytes) = (bucket(limits.message_rate), bucket(limits.byte_rate));
        (messages.is_some() || bytes.is_some()).then_some(Throttle {
            messages,
            bytes,
            until: None,
        })
    }

    /// Counts a PUBLISH. True: the server takes no more packets for now.
    pub(super) fn note_message(&mut self, now: Instant) -> bool {
        let bucket = self.messages.as_mut();
        let wait = bucket.map(|(rate, bucket)| bucket.spend(*rate, 1, now.into_std()));
        self.wait(now, wait.unwrap_or_default())
    }

    /// Counts the bytes of one read. True: the server takes no more packets for now.
    pub(super) fn note_bytes(&mut self, bytes: usize, now: Instant) -> bool {
        let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
        let bucket = self.bytes.as_mut();
        let wait = bucket.map(|(rate, bucket)| bucket.spend(*rate, bytes, now.into_std()));
        self.wait(now, wait.unwrap_or_default())
    }

    fn wait(&mut self, now: Instant, time: Duration) -> bool {
        if !time.is_zero() {
            self.until = self.until.max(Some(now + time));
        }
        !time.is_zero()
    }

    /// Whether the server does not read now.
    pub(super) fn is_waiting(&mut self, now: Instant) -> bool {
        self.until.take_if(|until| *until <= now);
        self.until.is_some()
    }

    /// Until when the server does not read. None: it reads.
    pub(super) fn until(&self) -> Option<Instant> {
        self.until
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn above_a_rate_the_server_waits() {
        let start = Instant::now();
        assert!(Throttle::new(&Limits::default(), start).is_none());
        let limits = Limits {
            message_rate: 2,
            byte_rate: 1_000,
            ..Limits::default()
        };
        let mut throttle = Throttle::new(&limits, start).unwrap();
        assert!(!throttle.note_message(start) && !throttle.note_message(start));
        assert!(!throttle.note_bytes(1_000, start));
        assert!(!throttle.is_waiting(start));
        assert!(throttle.note_message(start));
        let after = |seconds| Some(start + Duration::from_secs_f64(seconds));
        assert_eq!(throttle.until(), after(0.5));
        assert!(throttle.note_bytes(2_000, start));
        assert_eq!(throttle.until(), after(2.0));
        assert!(throttle.is_waiting(start + Duration::from_secs(1)));
        assert!(!throttle.is_waiting(start + Duration::from_secs(2)));
        assert_eq!(throttle.until(), None);
    }
}
