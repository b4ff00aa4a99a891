//! The server's counters: packets, bytes, messages that wait, errors.
//!
//! Each thread adds to a shard of its own, so that no thread waits for another core's cache line. Readers sum the shards
//! up. Reads and flushes report many messages at once. The sums of one moment need not agree to the last digit.

use crate::kept_bytes::KeptBytes;
use crate::packet::{Packet, ReasonCode};
use crate::session::{DropReason, Held, Tally};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

/// All counters of a server.
#[derive(Debug)]
pub(crate) struct Counters {
    /// Their number is a power of two.
    shards: Box<[Shard]>,
    /// Accepted sockets.
    sockets: AtomicU64,
    /// Refused CONNECTs.
    refused: AtomicU64,
    /// Connections that the server refused or closed, by reason code.
    errors: [AtomicU64; 256],
    /// Bytes that wait for offline sessions. One number for all threads, since it is compared with a limit.
    pub(crate) kept: KeptBytes,
}

/// The counters of one thread. The alignment covers pairs of cache lines, which processors fetch together.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Shard {
    bytes_received: AtomicU64,
    others_received: AtomicU64,
    publishes_received: AtomicU64,
    payload_received: AtomicU64,
    connects: AtomicU64,
    bytes_sent: AtomicU64,
    others_sent: AtomicU64,
    publishes_sent: AtomicU64,
    payload_sent: AtomicU64,
    // One thread may add to these and another subtract, so only the sum of all shards has a meaning.
    held: AtomicU64,
    held_payload: AtomicU64,
    in_flight: AtomicU64,
    dropped: [AtomicU64; DropReason::ALL.len()],
    dropped_payload: AtomicU64,
}

/// The packets and bytes that a connection has read since its last report.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct Received {
    pub bytes: u64,
    /// PUBLISH packets.
    pub publishes: u64,
    /// Bytes of their payloads.
    pub payload: u64,
    /// All other packets, CONNECT included.
    pub others: u64,
    pub connects: u64,
}

impl Received {
    /// Counts one packet.
    pub(crate) fn add(&mut self, packet: &Packet) {
        match packet {
            Packet::Publish(publish) => {
                self.publishes += 1;
                self.payload += publish.payload.len() as u64;
            }
            Packet::Connect(_) => {
                self.others += 1;
                self.connects += 1;
            }
            _ => self.others += 1,
        }
    }
}

/// All counters, summed up: totals since the start of the server, and levels of this moment.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct Totals {
    pub received: Received,
    pub bytes_sent: u64,
    /// All packets but PUBLISH.
    pub others_sent: u64,
    pub publishes_sent: u64,
    pub payload_sent: u64,
    /// Unacknowledged QoS 1 and 2 messages of all sessions, offline ones included.
    pub held: u64,
    /// Bytes of their payloads.
    pub held_payload: u64,
    /// The sent ones among them.
    pub in_flight: u64,
    /// Bytes that count for `limits.kept_bytes`.
    pub kept: u64,
    /// Dropped messages, in the order of [`DropReason::ALL`].
    pub dropped: [u64; DropReason::ALL.len()],
    /// Bytes of their payloads.
    pub dropped_payload: u64,
    pub sockets: u64,
    pub refused: u64,
    /// Connections that the server refused or closed, by reason code. Codes without one are left out.
    pub errors: Vec<(u8, u64)>,
}

/// Numbers the threads, in the order of their first use of a counter.
static THREADS: AtomicUsize = AtomicUsize::new(0);

thread_local! {
    static THREAD: usize = THREADS.fetch_add(1, Ordering::Relaxed);
}

impl Default for Counters {
    fn default() -> Self {
        Counters::new(1, u64::MAX)
    }
}

impl Counters {
    /// Counters for `threads` threads. `most_kept` is the limit on bytes for offline sessions.
    pub(crate) fn new(threads: usize, most_kept: u64) -> Self {
        // Other threads of the process have numbers too. Twice the shards keep the busy threads apart.
        let shards = (threads.max(1) * 2).next_power_of_two();
        Counters {
            shards: (0..shards).map(|_| Shard::default()).collect(),
            sockets: AtomicU64::new(0),
            refused: AtomicU64::new(0),
            errors: [const { AtomicU64::new(0) }; 256],
            kept: KeptBytes::new(most_kept),
        }
    }

    fn shard(&self) -> &Shard {
        let at = THREAD.with(|thread| *thread) & (self.shards.len() - 1);
        &self.shards[at]
    }

    /// Adds the report of a connection, and resets it.
    pub(crate) fn received(&self, received: &mut Received) {
        let shard = self.shard();
        let taken = std::mem::take(received);
        add(&shard.bytes_received, taken.bytes);
        add(&shard.publishes_received, taken.publishes);
        add(&shard.payload_received, taken.payload);
        add(&shard.others_received, taken.others);
        add(&shard.connects, taken.connects);
    }

    /// Adds the messages that a session has sent and dropped, and resets `tally`. Replaces the session's last report of
    /// `held` messages, `known`, by the new one.
    pub(crate) fn outbound(&self, tally: &mut Tally, held: Held, known: &mut Held) {
        if *tally == Tally::default() && held == *known {
            return;
        }
        let shard = self.shard();
        let taken = std::mem::take(tally);
        add(&shard.publishes_sent, taken.publishes);
        add(&shard.payload_sent, taken.payload);
        add(&shard.others_sent, taken.others);
        let was = std::mem::replace(known, held);
        self.kept.update(was.kept, held.kept);
        self.kept.update_ending(was.leaving, held.leaving);
        change(&shard.held, was.messages, held.messages);
        change(&shard.held_payload, was.payload, held.payload);
        change(&shard.in_flight, was.in_flight, held.in_flight);
        if let Some(dropped) = taken.dropped {
            for (counter, messages) in shard.dropped.iter().zip(dropped.messages) {
                add(counter, messages);
            }
            add(&shard.dropped_payload, dropped.payload);
        }
    }

    /// Counts bytes written to a socket or a framed stream.
    pub(crate) fn wrote(&self, bytes: u64) {
        add(&self.shard().bytes_sent, bytes);
    }

    /// Counts a packet to a peer without a session.
    pub(crate) fn replied(&self, bytes: usize) {
        add(&self.shard().others_sent, 1);
        self.wrote(bytes as u64);
    }

    /// Counts an accepted socket.
    pub(crate) fn socket(&self) {
        add(&self.sockets, 1);
    }

    /// Counts a refused CONNECT.
    pub(crate) fn refused(&self, code: ReasonCode) {
        add(&self.refused, 1);
        self.ended(code);
    }

    /// Counts a connection that the server closed.
    pub(crate) fn ended(&self, code: ReasonCode) {
        if let Some(counter) = self.errors.get(usize::from(code as u8)) {
            add(counter, 1);
        }
    }

    /// Sums all shards up.
    pub(crate) fn sum(&self) -> Totals {
        let of = |counter: fn(&Shard) -> &AtomicU64| {
            let values = self
                .shards
                .iter()
                .map(|shard| counter(shard).load(Ordering::Relaxed));
            values.fold(0, u64::wrapping_add)
        };
        // This thread may see a subtraction before the addition on another thread, so a sum may be negative.
        let level = |counter| of(counter).cast_signed().max(0).cast_unsigned();
        let mut dropped = [0; DropReason::ALL.len()];
        for shard in &self.shards {
            for (sum, counter) in dropped.iter_mut().zip(&shard.dropped) {
                *sum += counter.load(Ordering::Relaxed);
            }
        }
        let errors = (0..=u8::MAX).zip(&self.errors);
        let errors = errors.map(|(code, counter)| (code, counter.load(Ordering::Relaxed)));
        Totals {
            received: Received {
                bytes: of(|s| &s.bytes_received),
                publishes: of(|s| &s.publishes_received),
                payload: of(|s| &s.payload_received),
                others: of(|s| &s.others_received),
                connects: of(|s| &s.connects),
            },
            bytes_sent: of(|s| &s.bytes_sent),
            others_sent: of(|s| &s.others_sent),
            publishes_sent: of(|s| &s.publishes_sent),
            payload_sent: of(|s| &s.payload_sent),
            held: level(|s| &s.held),
            held_payload: level(|s| &s.held_payload),
            in_flight: level(|s| &s.in_flight),
            kept: self.kept.total(),
            dropped,
            dropped_payload: of(|s| &s.dropped_payload),
            sockets: self.sockets.load(Ordering::Relaxed),
            refused: self.refused.load(Ordering::Relaxed),
            errors: errors.filter(|(_, count)| *count > 0).collect(),
        }
    }
}

/// Adds to a counter. Writes nothing for 0: most reports are nearly empty.
fn add(counter: &AtomicU64, more: u64) {
    if more != 0 {
        counter.fetch_add(more, Ordering::Relaxed);
    }
}

/// Changes a level from `was` to `is`.
fn change(counter: &AtomicU64, was: u64, is: u64) {
    add(counter, is.wrapping_sub(was));
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    fn held(messages: u64) -> Held {
        Held {
            messages,
            payload: messages * 10,
            in_flight: messages / 2,
            kept: messages * 100,
            leaving: 0,
        }
    }

    #[test]
    fn shards_add_up_even_if_another_thread_subtracts() {
        let counters = Arc::new(Counters::new(2, u64::MAX));
        let work = |n: u64| {
            let counters = Arc::clone(&counters);
            std::thread::spawn(move || {
                let mut known = Held::default();
                for round in 0..1_000 {
                    let mut tally = Tally {
                        publishes: 1,
                        payload: n,
                        ..Tally::default()
                    };
                    tally.dropped(DropReason::TooOld, 3);
                    counters.outbound(&mut tally, held(round % 7), &mut known);
                    assert_eq!(tally, Tally::default());
                    counters.wrote(2);
                }
                known
            })
        };
        let left: Vec<Held> = [work(1), work(10), work(100)]
            .into_iter()
            .filter_map(|thread| thread.join().ok())
            .collect();
        let sum = counters.sum();
        assert_eq!((sum.publishes_sent, sum.payload_sent), (3_000, 111_000));
        assert_eq!(sum.bytes_sent, 6_000);
        assert_eq!(sum.dropped.iter().sum::<u64>(), 3_000);
        assert_eq!(sum.dropped_payload, 9_000);
        assert_eq!(sum.held, left.iter().map(|h| h.messages).sum::<u64>());
        assert_eq!(sum.kept, sum.held * 100);
        for mut known in left {
            counters.outbound(&mut Tally::default(), Held::default(), &mut known);
        }
        let sum = counters.sum();
        assert_eq!((sum.held, sum.held_payload, sum.in_flight), (0, 0, 0));
        assert_eq!(sum.kept, 0);
    }

    #[test]
    fn errors_are_counted_by_reason_code() {
        let counters = Counters::default();
        counters.refused(ReasonCode::NotAuthorized);
        counters.ended(ReasonCode::KeepAliveTimeout);
        counters.ended(ReasonCode::NotAuthorized);
        let sum = counters.sum();
        assert_eq!(sum.refused, 1);
        assert_eq!(sum.errors, [(0x87, 2), (0x8D, 1)]);
    }
}
