//! The deadlines of one connection. Pure: `now` is passed in.
//!
//! | the peer must | within | or the server closes with |
//! |---|---|---|
//! | send a packet | 1.5 x keep-alive | 0x8D keep alive timeout |
//! | complete a packet or frame that it has begun | `limits.packet_time` | 0x82 protocol error |
//! | read something while its socket is full | `limits.write_stall` | 0x97 quota exceeded |
//! | take what is left in a shutdown | half of `limits.shutdown_time` | 0x8B server shutting down |

use super::intake::Partial;
use crate::outbox::Condition;
use crate::packet::ReasonCode;
use crate::session::Close;
use crate::sessions::shutting_down;
use roommq_config::Limits;
use std::time::Duration;
use tokio::time::Instant;

/// The longest time between two checks.
const LONGEST_WAIT: Duration = Duration::from_hours(1);

/// The longest time until lanes hear of a message that a session has finished with.
const TELL_INTERVAL: Duration = Duration::from_millis(500);

/// A number of milliseconds: 4 bytes where a `Duration` takes 16, since there may be many
/// connections.
#[derive(Debug, Clone, Copy)]
struct Millis(u32);

impl Millis {
    /// The configuration allows an hour at most.
    fn of(time: Duration) -> Self {
        Millis(u32::try_from(time.as_millis()).unwrap_or(u32::MAX))
    }

    fn time(self) -> Duration {
        Duration::from_millis(self.0.into())
    }
}

/// The deadlines of one connection.
#[derive(Debug)]
pub(super) struct Deadlines {
    /// 1.5 times the keep-alive [MQTT-3.1.2-22 (5.0), MQTT-3.1.2-24 (3.1.1)]; none for keep-alive
    /// 0.
    keep_alive: Option<Millis>,
    packet_time: Millis,
    write_stall: Millis,
    /// When the last packet was complete. Bytes of an incomplete one do not count, or a peer could
    /// live on a byte now and then.
    last_packet: Instant,
    /// Since when a packet or frame is incomplete.
    partial_since: Option<Instant>,
    /// The server does not read, so the peer's silence does not count.
    paused: bool,
    /// Since when the socket has taken nothing, and the bytes that it had taken by then.
    blocked: Option<(Instant, u64)>,
    /// The end of a shutdown. Boxed, since a connection needs it once.
    finish_by: Option<Box<Instant>>,
    checked: Instant,
    /// When the lanes are to be told of messages that the session has finished with. Boxed, since
    /// most sessions end with their connection and never need it.
    tell_at: Option<Box<Instant>>,
}

impl Deadlines {
    pub(super) fn new(keep_alive: u16, limits: &Limits, now: Instant) -> Self {
        Deadlines {
            keep_alive: (keep_alive > 0).then(|| Millis(u32::from(keep_alive) * 1500)),
            packet_time: Millis::of(limits.packet_time),
            write_stall: Millis::of(limits.write_stall),
            last_packet: now,
            partial_since: None,
            paused: false,
            blocked: None,
            finish_by: None,
            checked: now,
            tell_at: None,
        }
    }

    /// Notes a read whose bytes end with `rest`.
    pub(super) fn read(&mut self, now: Instant, rest: Partial) {
        if rest != Partial::Continued {
            self.last_packet = now;
        }
        self.partial_since = match rest {
            Partial::None => None,
            Partial::New => Some(now),
            Partial::Continued => self.partial_since.or(Some(now)),
        };
    }

    /// Notes whether the link `holds` an incomplete TLS record or WebSocket frame. The bytes read
    /// before it end with `rest`.
    pub(super) fn partial(&mut self, now: Instant, holds: bool, rest: Partial) {
        self.partial_since = match (holds, rest) {
            (true, _) => self.partial_since.or(Some(now)),
            (false, Partial::None) => None,
            (false, _) => self.partial_since,
        };
    }

    /// Notes that the server stops reading, or reads again.
    pub(super) fn pause(&mut self, now: Instant, paused: bool) {
        if self.paused && !paused {
            self.last_packet = now;
            self.partial_since = self.partial_since.map(|_| now);
        }
        self.paused = paused;
    }

    /// Since when the server waits for a packet, and for the rest of an incomplete one.
    fn receiving_since(&self) -> (Option<Instant>, Option<Instant>) {
        let reads = !self.paused;
        (
            reads.then_some(self.last_packet),
            self.partial_since.filter(|_| reads),
        )
    }

    /// Notes that the socket is full after `written` bytes, or (none) that it takes bytes again.
    pub(super) fn blocked(&mut self, now: Instant, written: Option<u64>) {
        self.blocked = match (self.blocked, written) {
            (_, None) => None,
            (Some((since, before)), Some(written)) if before == written => Some((since, written)),
            (_, Some(written)) => Some((now, written)),
        };
    }

    /// Notes the condition of the outbox, and whether the link still holds bytes to write. Returns
    /// whether the connection is blocked, and whether it must not read.
    pub(super) fn observe(
        &mut self,
        now: Instant,
        condition: &Condition,
        link_holds_bytes: bool,
    ) -> (bool, bool) {
        let blocked = condition.blocked || link_holds_bytes;
        self.blocked(now, blocked.then_some(condition.written));
        self.pause(now, condition.pause_reading);
        (blocked, condition.pause_reading)
    }

    /// Sets the end of a shutdown. The first call counts.
    pub(super) fn finish_by(&mut self, end: Instant) {
        self.finish_by.get_or_insert_with(|| Box::new(end));
    }

    /// Whether lanes must be told now: they wait for [`TELL_INTERVAL`] from the first call on.
    pub(super) fn must_tell(&mut self, now: Instant) -> bool {
        let first = || Box::new(now + TELL_INTERVAL);
        **self.tell_at.get_or_insert_with(first) <= now
    }

    /// Notes that lanes have been told.
    pub(super) fn told(&mut self) {
        self.tell_at = None;
    }

    /// When to check again.
    pub(super) fn next(&self) -> Instant {
        let (last_packet, partial_since) = self.receiving_since();
        let times = [
            self.keep_alive
                .and_then(|limit| Some(last_packet? + limit.time())),
            partial_since.map(|s| s + self.packet_time.time()),
            self.blocked.map(|(s, _)| s + self.write_stall.time()),
            self.finish_by.as_deref().copied(),
            self.tell_at.as_deref().copied(),
        ];
        let first = times.into_iter().flatten().min();
        first.unwrap_or(self.checked + LONGEST_WAIT)
    }

    /// The reason to close the connection, if a deadline has passed.
    pub(super) fn passed(&mut self, now: Instant) -> Option<Close> {
        self.checked = now;
        let (last_packet, partial_since) = self.receiving_since();
        let over = |since: Instant, limit: Millis| now >= since + limit.time();
        let silent = |limit| last_packet.is_some_and(|s| over(s, limit));
        let (reason, text) = if self.keep_alive.is_some_and(silent) {
            (ReasonCode::KeepAliveTimeout, "keep-alive passed".to_owned())
        } else if partial_since.is_some_and(|s| over(s, self.packet_time)) {
            let text = format!("a packet was not whole after {:?}", self.packet_time.time());
            (ReasonCode::ProtocolError, text)
        } else if self.blocked.is_some_and(|(s, _)| over(s, self.write_stall)) {
            let text = format!("the client reads nothing for {:?}", self.write_stall.time());
            (ReasonCode::QuotaExceeded, text)
        } else {
            let is_over = self.finish_by.as_ref().is_some_and(|l| now >= **l);
            return is_over.then(shutting_down);
        };
        Some(Close { reason, text })
    }
}

/// Whether the deadline that has passed is one for the peer to send something.
pub(super) fn is_receive_timeout(close: &Close) -> bool {
    use ReasonCode::{KeepAliveTimeout, ProtocolError};
    matches!(close.reason, KeepAliveTimeout | ProtocolError)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(n: u64) -> Duration {
        Duration::from_secs(n)
    }

    #[test]
    fn silence_incomplete_packets_and_full_sockets_have_deadlines() {
        let start = Instant::now();
        let limits = Limits::default();
        let mut d = Deadlines::new(10, &limits, start);
        assert_eq!(d.next(), start + seconds(15));
        assert_eq!(d.passed(start + seconds(14)), None);
        let reason = |c: Option<Close>| c.map(|c| c.reason);
        let silent = reason(d.passed(start + seconds(15)));
        assert_eq!(silent, Some(ReasonCode::KeepAliveTimeout));

        let mut d = Deadlines::new(0, &limits, start);
        assert_eq!(
            d.next(),
            start + LONGEST_WAIT,
            "keep-alive 0 has no deadline"
        );
        assert_eq!(d.passed(start + LONGEST_WAIT), None);
        d.read(start, Partial::Continued);
        d.read(start + seconds(1), Partial::New);
        d.read(start + seconds(5), Partial::Continued);
        assert_eq!(d.next(), start + seconds(1) + limits.packet_time);
        let half = d.passed(start + seconds(1) + limits.packet_time);
        assert_eq!(reason(half), Some(ReasonCode::ProtocolError));
        d.read(start + seconds(6), Partial::None);
        d.blocked(start + seconds(7), Some(100));
        d.blocked(start + seconds(9), Some(100));
        assert_eq!(d.next(), start + seconds(7) + limits.write_stall);
        d.blocked(start + seconds(12), Some(101));
        assert_eq!(
            d.passed(start + seconds(18)),
            None,
            "it made progress at 12"
        );
        assert_eq!(
            reason(d.passed(start + seconds(22))),
            Some(ReasonCode::QuotaExceeded)
        );
        d.blocked(start + seconds(22), None);
        assert_eq!(d.passed(start + seconds(60)), None);
    }

    #[test]
    fn only_complete_packets_renew_the_keep_alive() {
        let start = Instant::now();
        let mut d = Deadlines::new(2, &Limits::default(), start);
        for n in 1..3 {
            d.read(start + seconds(n), Partial::Continued);
            d.partial(start + seconds(n), true, Partial::Continued);
        }
        assert_eq!(d.next(), start + seconds(3));
        d.read(start + seconds(2), Partial::New);
        assert_eq!(d.next(), start + seconds(5));
        d.read(start + seconds(3), Partial::None);
        assert_eq!(d.next(), start + seconds(6));
        let silent = d.passed(start + seconds(6)).map(|close| close.reason);
        assert_eq!(silent, Some(ReasonCode::KeepAliveTimeout));
    }

    #[test]
    fn an_incomplete_frame_of_the_link_has_a_deadline() {
        let start = Instant::now();
        let limits = Limits::default();
        let over = |d: &mut Deadlines, n| d.passed(start + seconds(n) + limits.packet_time);
        let mut d = Deadlines::new(0, &limits, start);
        d.partial(start + seconds(1), true, Partial::None);
        assert_eq!(d.next(), start + seconds(1) + limits.packet_time);
        d.partial(start + seconds(2), false, Partial::None);
        assert_eq!(over(&mut d, 100), None, "it is complete, and was no packet");
        d.read(start + seconds(3), Partial::New);
        d.partial(start + seconds(4), true, Partial::New);
        d.partial(start + seconds(5), false, Partial::New);
        assert_eq!(over(&mut d, 2), None);
        assert!(over(&mut d, 3).is_some(), "a packet is incomplete");
    }

    #[test]
    fn time_in_which_the_server_does_not_read_does_not_count() {
        let start = Instant::now();
        let limits = Limits::default();
        let mut d = Deadlines::new(2, &limits, start);
        d.read(start, Partial::New);
        d.pause(start, true);
        assert_eq!(d.passed(start + seconds(100)), None);
        d.pause(start + seconds(100), false);
        assert_eq!(d.next(), start + seconds(103));
        assert!(d.passed(start + seconds(103)).is_some());
    }
}
