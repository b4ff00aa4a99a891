//! By when a peer must have done what it owes. Pure: `now` is passed in.

use super::intake::Rest;
use crate::outbox::Condition;
use crate::packet::ReasonCode;
use crate::session::Close;
use roommq_config::Limits;
use std::time::Duration;
use tokio::time::Instant;

/// Looked at least so often.
const LONGEST_WAIT: Duration = Duration::from_hours(1);

/// The times of one connection.
#[derive(Debug)]
pub(super) struct Deadlines {
    /// One and a half times the keep-alive [MQTT-3.1.2-22 (5.0), MQTT-3.1.2-24 (3.1.1)]; none: never.
    keep_alive: Option<Duration>,
    packet_time: Duration,
    write_stall: Duration,
    /// When a packet has become whole: bytes of one that is not are no sign of life, or a byte now and then would be.
    last_packet: Instant,
    partial_since: Option<Instant>,
    /// The server itself reads nothing: the peer's silence is not its own.
    paused: bool,
    /// Since when the socket has taken nothing, and what it had taken.
    blocked: Option<(Instant, u64)>,
    /// The server will wait no longer.
    finish_by: Option<Instant>,
    checked: Instant,
}

impl Deadlines {
    pub(super) fn new(keep_alive: u16, limits: &Limits, now: Instant) -> Self {
        let keep_alive_time = Duration::from_millis(u64::from(keep_alive) * 1500);
        Deadlines {
            keep_alive: (keep_alive > 0).then_some(keep_alive_time),
            packet_time: limits.packet_time,
            write_stall: limits.write_stall,
            last_packet: now,
            partial_since: None,
            paused: false,
            blocked: None,
            finish_by: None,
            checked: now,
        }
    }

    /// Bytes have come, and end with `rest`.
    pub(super) fn read(&mut self, now: Instant, rest: Rest) {
        if rest != Rest::More {
            self.last_packet = now;
        }
        self.partial_since = match rest {
            Rest::Nothing => None,
            Rest::Begun => Some(now),
            Rest::More => self.partial_since.or(Some(now)),
        };
    }

    /// A layer below `holds` the front of something that is not whole, or no more; what came before ends with `rest`.
    pub(super) fn partial(&mut self, now: Instant, holds: bool, rest: Rest) {
        self.partial_since = match (holds, rest) {
            (true, _) => self.partial_since.or(Some(now)),
            (false, Rest::Nothing) => None,
            (false, _) => self.partial_since,
        };
    }

    /// The server stops reading, or reads again.
    pub(super) fn pause(&mut self, now: Instant, paused: bool) {
        if self.paused && !paused {
            self.last_packet = now;
            self.partial_since = self.partial_since.map(|_| now);
        }
        self.paused = paused;
    }

    /// Since when the peer owes a packet, and the rest of one.
    fn receiving_since(&self) -> (Option<Instant>, Option<Instant>) {
        let reads = !self.paused;
        (
            reads.then_some(self.last_packet),
            self.partial_since.filter(|_| reads),
        )
    }

    /// The socket takes nothing, having taken `written` bytes so far; or it takes again.
    pub(super) fn blocked(&mut self, now: Instant, written: Option<u64>) {
        self.blocked = match (self.blocked, written) {
            (_, None) => None,
            (Some((since, before)), Some(written)) if before == written => Some((since, written)),
            (_, Some(written)) => Some((now, written)),
        };
    }

    /// Takes what the outbox shows, and whether its bytes are still on their way through a stream: whether the
    /// connection is blocked, and whether it is choked.
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

    /// The end comes at `last`.
    pub(super) fn finish_by(&mut self, end: Instant) {
        self.finish_by.get_or_insert(end);
    }

    /// When to look again.
    pub(super) fn next(&self) -> Instant {
        let (last_packet, partial_since) = self.receiving_since();
        let times = [
            self.keep_alive.and_then(|s| Some(last_packet? + s)),
            partial_since.map(|s| s + self.packet_time),
            self.blocked.map(|(s, _)| s + self.write_stall),
            self.finish_by,
        ];
        let first = times.into_iter().flatten().min();
        first.unwrap_or(self.checked + LONGEST_WAIT)
    }

    /// The reason to end, where one of the times has passed.
    pub(super) fn passed(&mut self, now: Instant) -> Option<Close> {
        self.checked = now;
        let (last_packet, partial_since) = self.receiving_since();
        let over = |since: Instant, limit: Duration| now >= since + limit;
        let silent = |limit| last_packet.is_some_and(|s| over(s, limit));
        let (reason, text) = if self.keep_alive.is_some_and(silent) {
            (ReasonCode::KeepAliveTimeout, "keep-alive passed".to_owned())
        } else if partial_since.is_some_and(|s| over(s, self.packet_time)) {
            let text = format!("a packet was not whole after {:?}", self.packet_time);
            (ReasonCode::ProtocolError, text)
        } else if self.blocked.is_some_and(|(s, _)| over(s, self.write_stall)) {
            let text = format!("reads nothing for {:?}", self.write_stall);
            (ReasonCode::QuotaExceeded, text)
        } else if self.finish_by.is_some_and(|l| now >= l) {
            let text = "the server is shutting down".to_owned();
            (ReasonCode::ServerShuttingDown, text)
        } else {
            return None;
        };
        Some(Close { reason, text })
    }
}

/// Whether the time that has passed is one for the peer to send something.
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
    fn silence_half_packets_and_full_sockets_end_in_time() {
        let start = Instant::now();
        let limits = Limits::default();
        let mut d = Deadlines::new(10, &limits, start);
        assert_eq!(d.next(), start + seconds(15));
        assert_eq!(d.passed(start + seconds(14)), None);
        let reason = |c: Option<Close>| c.map(|c| c.reason);
        let silent = reason(d.passed(start + seconds(15)));
        assert_eq!(silent, Some(ReasonCode::KeepAliveTimeout));

        let mut d = Deadlines::new(0, &limits, start);
        assert_eq!(d.next(), start + LONGEST_WAIT, "keep-alive 0 is never");
        assert_eq!(d.passed(start + LONGEST_WAIT), None);
        d.read(start, Rest::More);
        d.read(start + seconds(1), Rest::Begun);
        d.read(start + seconds(5), Rest::More);
        assert_eq!(d.next(), start + seconds(1) + limits.packet_time);
        let half = d.passed(start + seconds(1) + limits.packet_time);
        assert_eq!(reason(half), Some(ReasonCode::ProtocolError));
        d.read(start + seconds(6), Rest::Nothing);
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
    fn only_whole_packets_are_a_sign_of_life() {
        let start = Instant::now();
        let mut d = Deadlines::new(2, &Limits::default(), start);
        for n in 1..3 {
            d.read(start + seconds(n), Rest::More);
            d.partial(start + seconds(n), true, Rest::More);
        }
        assert_eq!(d.next(), start + seconds(3));
        d.read(start + seconds(2), Rest::Begun);
        assert_eq!(d.next(), start + seconds(5));
        d.read(start + seconds(3), Rest::Nothing);
        assert_eq!(d.next(), start + seconds(6));
        let silent = d.passed(start + seconds(6)).map(|close| close.reason);
        assert_eq!(silent, Some(ReasonCode::KeepAliveTimeout));
    }

    #[test]
    fn what_a_layer_below_holds_back_has_begun() {
        let start = Instant::now();
        let limits = Limits::default();
        let over = |d: &mut Deadlines, n| d.passed(start + seconds(n) + limits.packet_time);
        let mut d = Deadlines::new(0, &limits, start);
        d.partial(start + seconds(1), true, Rest::Nothing);
        assert_eq!(d.next(), start + seconds(1) + limits.packet_time);
        d.partial(start + seconds(2), false, Rest::Nothing);
        assert_eq!(over(&mut d, 100), None, "it came to nothing");
        d.read(start + seconds(3), Rest::Begun);
        d.partial(start + seconds(4), true, Rest::Begun);
        d.partial(start + seconds(5), false, Rest::Begun);
        assert_eq!(over(&mut d, 2), None);
        assert!(over(&mut d, 3).is_some(), "a packet goes on");
    }

    #[test]
    fn a_peer_that_is_not_read_from_is_not_silent() {
        let start = Instant::now();
        let limits = Limits::default();
        let mut d = Deadlines::new(2, &limits, start);
        d.read(start, Rest::Begun);
        d.pause(start, true);
        assert_eq!(d.passed(start + seconds(100)), None);
        d.pause(start + seconds(100), false);
        assert_eq!(d.next(), start + seconds(103));
        assert!(d.passed(start + seconds(103)).is_some());
    }
}
