//! The deadlines of one connection. Pure: `now` is passed in.
//!
//! | the peer must | within | or the server closes with |
//! |---|---|---|
//! | send a packet | 1.5 x keep-alive | 0x8D keep alive timeout |
//! | bring `limits.packet_pace` bytes a second of a packet or frame that it has begun | `limits.packet_time` | 0x82 protocol error |
//! | take `limits.write_pace` bytes a second while its socket is full | `limits.write_stall` | 0x97 quota exceeded |
//! | renew credentials that end | their end | 0xA0 maximum connect time |
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
    /// Seconds; 0: none.
    keep_alive: u16,
    packet_time: Millis,
    /// Bytes a second.
    packet_pace: u32,
    packet_longest: Millis,
    write_stall: Millis,
    /// Bytes a second.
    write_pace: u32,
    /// When the last packet was complete. Bytes of an incomplete one do not count, or a peer could
    /// live on a byte now and then.
    last_packet: Instant,
    /// The packet or frame that is incomplete.
    /// Boxed, since most connections have none.
    partial: Option<Box<PartialPacket>>,
    /// The server does not read, so the peer's silence does not count.
    paused: bool,
    /// The same, since the client sends faster than it may.
    throttled: bool,
    /// The socket, if it is full.
    /// Boxed, since most sockets are not full.
    blocked: Option<Box<FullSocket>>,
    /// The end of a shutdown. Boxed, since a connection needs it once.
    finish_by: Option<Box<Instant>>,
    checked: Instant,
    /// When the client's credentials end. Boxed, since most do not.
    expires: Option<Box<Instant>>,
    /// When the lanes are to be told of messages that the session has finished with. Boxed, since
    /// most sessions end with their connection and never need it.
    tell_at: Option<Box<Instant>>,
}

/// The bytes that have passed since a time, to compare with a pace.
#[derive(Debug, Clone, Copy)]
struct PaceWindow {
    start: Instant,
    /// The bytes that had passed before.
    before: u64,
}

impl PaceWindow {
    /// The bytes of this window, if `total` have passed by now.
    fn bytes(&self, total: u64) -> u64 {
        total.saturating_sub(self.before)
    }

    /// Whether at least `pace` bytes a second have passed.
    fn keeps(&self, now: Instant, total: u64, pace: u32) -> bool {
        let time = now.saturating_duration_since(self.start).as_millis();
        u128::from(self.bytes(total)) * 1_000 >= u128::from(pace) * time
    }
}

/// A socket that does not take all bytes that wait for it.
#[derive(Debug, Clone, Copy)]
struct FullSocket {
    window: PaceWindow,
    /// All bytes that it has taken.
    written: u64,
}

/// A packet or frame that is incomplete.
#[derive(Debug, Clone)]
struct PartialPacket {
    begun: Instant,
    window: PaceWindow,
    /// Bytes that were read since it has begun.
    read: u64,
}

impl PartialPacket {
    fn new(now: Instant, read: u64) -> PartialPacket {
        let (start, before) = (now, 0);
        PartialPacket {
            begun: now,
            window: PaceWindow { start, before },
            read,
        }
    }
}

impl Deadlines {
    pub(super) fn new(keep_alive: u16, limits: &Limits, now: Instant) -> Self {
        Deadlines {
            keep_alive,
            packet_time: Millis::of(limits.packet_time),
            packet_pace: limits.packet_pace,
            packet_longest: Millis::of(limits.packet_longest),
            write_stall: Millis::of(limits.write_stall),
            write_pace: limits.write_pace,
            last_packet: now,
            partial: None,
            paused: false,
            throttled: false,
            blocked: None,
            finish_by: None,
            checked: now,
            expires: None,
            tell_at: None,
        }
    }

    /// 1.5 times the keep-alive [MQTT-3.1.2-22 (5.0), MQTT-3.1.2-24 (3.1.1)].
    fn longest_silence(&self) -> Option<Millis> {
        (self.keep_alive > 0).then(|| Millis(u32::from(self.keep_alive) * 1500))
    }

    /// Notes a read of `bytes` bytes, which end with `rest`.
    pub(super) fn read(&mut self, now: Instant, bytes: u64, rest: Partial) {
        if rest != Partial::Continued {
            self.last_packet = now;
        }
        match (&mut self.partial, rest) {
            (partial, Partial::None) => *partial = None,
            (Some(partial), Partial::Continued) => partial.read += bytes,
            (Some(partial), Partial::New) => **partial = PartialPacket::new(now, bytes),
            (none, _) => *none = Some(Box::new(PartialPacket::new(now, bytes))),
        }
    }

    /// Notes whether the link `holds` an incomplete TLS record or WebSocket frame. The bytes read
    /// before it end with `rest`.
    pub(super) fn partial(&mut self, now: Instant, holds: bool, rest: Partial) {
        if holds {
            let begun = || Box::new(PartialPacket::new(now, 0));
            self.partial.get_or_insert_with(begun);
        } else if rest == Partial::None {
            self.partial = None;
        }
    }

    /// Notes that the server stops reading, or reads again.
    pub(super) fn pause(&mut self, now: Instant, paused: bool) {
        if self.paused && !paused {
            self.restart(now);
        }
        self.paused = paused;
    }

    /// Notes whether the server does not read since the client sends too fast. Returns whether it reads again
    /// with this call.
    pub(super) fn throttle(&mut self, now: Instant, throttled: bool) -> bool {
        let reads_again = self.throttled && !throttled;
        self.throttled = throttled;
        if reads_again {
            self.restart(now);
        }
        reads_again
    }

    /// The time in which the server did not read does not count.
    fn restart(&mut self, now: Instant) {
        self.last_packet = now;
        if let Some(partial) = &mut self.partial {
            **partial = PartialPacket::new(now, 0);
        }
    }

    /// Since when the server waits for a packet, and the incomplete one.
    fn receiving(&self) -> (Option<Instant>, Option<&PartialPacket>) {
        if self.paused || self.throttled {
            return (None, None);
        }
        (Some(self.last_packet), self.partial.as_deref())
    }

    /// Whether an incomplete packet brings enough bytes. `pending` are those that cannot be read yet.
    fn keeps_pace(&self, now: Instant, partial: &PartialPacket, pending: u64) -> bool {
        let total = partial.read + pending;
        partial.window.keeps(now, total, self.packet_pace)
    }

    /// The end of the keep-alive. An incomplete packet suspends it once it was seen to keep the pace.
    fn silence_ends(&self) -> Option<Instant> {
        let (last_packet, partial) = self.receiving();
        let end = last_packet? + self.longest_silence()?.time();
        let longest = |partial: &PartialPacket| partial.begun + self.packet_longest.time();
        match partial {
            Some(partial) if self.checked >= end => Some(longest(partial).max(end)),
            _ => Some(end),
        }
    }

    /// Notes that the socket is full after `written` bytes, or (none) that it has taken all.
    pub(super) fn blocked(&mut self, now: Instant, written: Option<u64>) {
        match (written, &mut self.blocked) {
            (None, blocked) => *blocked = None,
            (Some(written), Some(socket)) => socket.written = written,
            (Some(written), none) => {
                let (start, before) = (now, written);
                let window = PaceWindow { start, before };
                *none = Some(Box::new(FullSocket { window, written }));
            }
        }
    }

    /// Whether the pace of a full socket is to be checked now. The caller should try to write before: the
    /// system reports a full socket as writable late.
    pub(super) fn is_write_due(&self, now: Instant) -> bool {
        let window = self.blocked.as_ref().map(|socket| socket.window);
        window.is_some_and(|window| now >= window.start + self.write_stall.time())
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

    /// Sets the time that is left until the client's credentials end. None: they do not.
    pub(super) fn expire_in(&mut self, now: Instant, left: Option<Duration>) {
        // A time that is too far ahead for the clock never comes.
        let end = left.and_then(|left| now.checked_add(left));
        self.expires = end.map(Box::new);
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
        let (_, partial) = self.receiving();
        let times = [
            self.silence_ends(),
            partial.map(|partial| partial.window.start + self.packet_time.time()),
            self.blocked
                .as_ref()
                .map(|socket| socket.window.start + self.write_stall.time()),
            self.finish_by.as_deref().copied(),
            self.tell_at.as_deref().copied(),
            // The timer does not take any time.
            self.expires
                .as_deref()
                .map(|end| (self.checked + LONGEST_WAIT).min(*end)),
        ];
        let first = times.into_iter().flatten().min();
        first.unwrap_or(self.checked + LONGEST_WAIT)
    }

    /// The reason to close the connection, if a deadline has passed. `pending` bytes of an incomplete
    /// TLS record or WebSocket frame have come.
    pub(super) fn passed(&mut self, now: Instant, pending: u64) -> Option<Close> {
        let (last_packet, partial) = self.receiving();
        let over = |since: Instant, limit: Millis| now >= since + limit.time();
        let is_silent = self.longest_silence().zip(last_packet);
        let is_silent = is_silent.is_some_and(|(limit, since)| over(since, limit));
        let keeps_pace = partial.is_none_or(|partial| self.keeps_pace(now, partial, pending));
        let suspends = |partial: &PartialPacket| !over(partial.begun, self.packet_longest);
        let suspended = keeps_pace && partial.is_some_and(suspends);
        let is_due = partial.is_some_and(|partial| over(partial.window.start, self.packet_time));
        let stalled = self
            .blocked
            .as_deref()
            .filter(|FullSocket { window, written }| {
                over(window.start, self.write_stall)
                    && !window.keeps(now, *written, self.write_pace)
            });
        let expired = self.expires.as_ref().is_some_and(|end| now >= **end);
        let (reason, text) = if expired {
            let text = "the credentials of the client have expired".to_owned();
            (ReasonCode::MaximumConnectTime, text)
        } else if is_silent && !suspended {
            (ReasonCode::KeepAliveTimeout, "keep-alive passed".to_owned())
        } else if is_due && !keeps_pace {
            let bytes = partial.map_or(0, |p| p.window.bytes(p.read + pending));
            let (time, pace) = (self.packet_time.time(), self.packet_pace);
            let text = format!(
                "a packet was not whole after {time:?}: {bytes} bytes of it came, and {pace} a second are the least"
            );
            (ReasonCode::ProtocolError, text)
        } else if let Some(FullSocket { window, written }) = stalled {
            let (time, pace) = (self.write_stall.time(), self.write_pace);
            let bytes = window.bytes(*written);
            let text = format!(
                "the client reads too slowly: {bytes} bytes in {time:?}, and {pace} a second are the least"
            );
            (ReasonCode::QuotaExceeded, text)
        } else {
            let write_is_due = self.is_write_due(now);
            self.checked = now;
            if let Some(partial) = self.partial.as_mut().filter(|_| is_due) {
                let (start, before) = (now, partial.read + pending);
                partial.window = PaceWindow { start, before };
            }
            if let Some(socket) = self.blocked.as_mut().filter(|_| write_is_due) {
                let (start, before) = (now, socket.written);
                socket.window = PaceWindow { start, before };
            }
            let is_over = self.finish_by.as_ref().is_some_and(|l| now >= **l);
            return is_over.then(shutting_down);
        };
        self.checked = now;
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
        assert_eq!(d.passed(start + seconds(14), 0), None);
        let reason = |c: Option<Close>| c.map(|c| c.reason);
        let silent = reason(d.passed(start + seconds(15), 0));
        assert_eq!(silent, Some(ReasonCode::KeepAliveTimeout));

        let mut d = Deadlines::new(0, &limits, start);
        assert_eq!(
            d.next(),
            start + LONGEST_WAIT,
            "keep-alive 0 has no deadline"
        );
        assert_eq!(d.passed(start + LONGEST_WAIT, 0), None);
        d.read(start, 1, Partial::Continued);
        d.read(start + seconds(1), 1, Partial::New);
        d.read(start + seconds(5), 1, Partial::Continued);
        assert_eq!(d.next(), start + seconds(1) + limits.packet_time);
        let half = d.passed(start + seconds(1) + limits.packet_time, 0);
        assert_eq!(reason(half), Some(ReasonCode::ProtocolError));
        d.read(start + seconds(6), 1, Partial::None);
        d.blocked(start + seconds(7), Some(100));
        d.blocked(start + seconds(9), Some(100));
        assert_eq!(d.next(), start + seconds(7) + limits.write_stall);
        d.blocked(start + seconds(12), Some(100 + 5_120));
        assert_eq!(d.passed(start + seconds(17), 0), None, "512 bytes a second");
        assert_eq!(d.next(), start + seconds(17) + limits.write_stall);
        d.blocked(start + seconds(26), Some(100 + 5_120 + 5_119));
        assert!(!d.is_write_due(start + seconds(26)));
        assert!(d.is_write_due(start + seconds(27)));
        assert_eq!(
            reason(d.passed(start + seconds(27), 0)),
            Some(ReasonCode::QuotaExceeded)
        );
        d.blocked(start + seconds(22), None);
        assert_eq!(d.passed(start + seconds(60), 0), None);
    }

    #[test]
    fn credentials_end_at_their_time_unless_they_are_renewed() {
        let start = Instant::now();
        let mut d = Deadlines::new(0, &Limits::default(), start);
        let over = |d: &mut Deadlines, n| d.passed(start + seconds(n), 0).map(|close| close.reason);
        d.expire_in(start, Some(seconds(100)));
        assert_eq!(d.next(), start + seconds(100));
        assert_eq!(over(&mut d, 99), None);
        d.expire_in(start + seconds(99), Some(seconds(100)));
        assert_eq!(over(&mut d, 198), None);
        assert_eq!(over(&mut d, 199), Some(ReasonCode::MaximumConnectTime));
        d.expire_in(start, Some(Duration::from_secs(1 << 40)));
        assert!(
            d.next() <= start + seconds(199) + LONGEST_WAIT,
            "the timer takes it"
        );
        d.expire_in(start, Some(Duration::MAX));
        assert_eq!(over(&mut d, 1_000_000), None);
    }

    #[test]
    fn only_complete_packets_renew_the_keep_alive() {
        let start = Instant::now();
        let mut d = Deadlines::new(2, &Limits::default(), start);
        for n in 1..3 {
            d.read(start + seconds(n), 1, Partial::Continued);
            d.partial(start + seconds(n), true, Partial::Continued);
        }
        assert_eq!(d.next(), start + seconds(3));
        d.read(start + seconds(2), 1, Partial::New);
        assert_eq!(d.next(), start + seconds(5));
        d.read(start + seconds(3), 1, Partial::None);
        assert_eq!(d.next(), start + seconds(6));
        let silent = d.passed(start + seconds(6), 0).map(|close| close.reason);
        assert_eq!(silent, Some(ReasonCode::KeepAliveTimeout));
    }

    #[test]
    fn an_incomplete_frame_of_the_link_has_a_deadline() {
        let start = Instant::now();
        let limits = Limits::default();
        let over = |d: &mut Deadlines, n| d.passed(start + seconds(n) + limits.packet_time, 0);
        let mut d = Deadlines::new(0, &limits, start);
        d.partial(start + seconds(1), true, Partial::None);
        assert_eq!(d.next(), start + seconds(1) + limits.packet_time);
        d.partial(start + seconds(2), false, Partial::None);
        assert_eq!(over(&mut d, 100), None, "it is complete, and was no packet");
        d.read(start + seconds(3), 1, Partial::New);
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
        d.read(start, 1, Partial::New);
        d.pause(start, true);
        assert_eq!(d.passed(start + seconds(100), 0), None);
        d.pause(start + seconds(100), false);
        assert_eq!(d.next(), start + seconds(103));
        assert!(d.passed(start + seconds(103), 0).is_some());
    }

    #[test]
    fn a_slow_packet_suspends_the_keep_alive_while_it_keeps_the_pace() {
        let start = Instant::now();
        let limits = Limits::default();
        let longest = limits.packet_longest.as_secs();
        let slow = |bytes: u64, pending: u64| {
            let mut d = Deadlines::new(60, &limits, start);
            d.read(start, 1, Partial::New);
            for second in 1..3_600 {
                let now = start + seconds(second);
                d.read(now, bytes, Partial::Continued);
                while d.next() <= now {
                    if let Some(close) = d.passed(now, pending * second) {
                        return (second, Some(close.reason));
                    }
                }
            }
            (3_600, None)
        };
        let too_slow = Some(ReasonCode::ProtocolError);
        let timeout = Some(ReasonCode::KeepAliveTimeout);
        assert_eq!(
            slow(8_192, 0),
            (longest, timeout),
            "200 KiB have come long since"
        );
        assert_eq!(slow(512, 0), (longest, timeout));
        assert_eq!(slow(500, 0), (10, too_slow));
        assert_eq!(slow(1, 0), (10, too_slow), "a byte now and then");
        assert_eq!(slow(0, 600), (longest, timeout), "a long record or frame");
        assert_eq!(slow(0, 500), (10, too_slow));
    }
}
