//! What the server counts of its own work.
//!
//! Each thread adds to a shard of its own, so that counting never waits for another core's cache line; who
//! wants to know sums them up. Nothing is counted a message at a time: a read and a flush report what they
//! have gathered. Numbers of one moment need not fit together to the last digit.

use crate::kept_bytes::KeptBytes;
use crate::packet::{Packet, ReasonCode};
use crate::session::{DropReason, Held, Tally};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

/// All counters of a server.
#[derive(Debug)]
pub(crate) struct Counters {
    /// As many as a power of two.
    shards: Box<[Shard]>,
    /// Sockets that were accepted.
    sockets: AtomicU64,
    /// CONNECTs that were refused.
    refused: AtomicU64,
    /// By reason code: connections that the server refused or ended.
    errors: [AtomicU64; 256],
    /// What waits for absent clients: one number for all threads, since it is a bound too.
    pub(crate) kept: KeptBytes,
}

/// What one thread has counted; on cache lines of its own, neighbours fetched together included.
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
    // Of these one thread adds and another takes away: only the sum of all shards has a meaning.
    held: AtomicU64,
    held_payload: AtomicU64,
    in_flight: AtomicU64,
    dropped: [AtomicU64; DropReason::ALL.len()],
    dropped_payload: AtomicU64,
}

/// What one connection has read since it reported last.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct Received {
    pub bytes: u64,
    /// PUBLISH packets, and the bytes of their payloads.
    pub publishes: u64,
    pub payload: u64,
    /// Packets of all other kinds, CONNECT included.
    pub others: u64,
    pub connects: u64,
}

impl Received {
    /// One more packet.
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

/// The sums since the start of the server, and of what it holds now.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct Totals {
    pub received: Received,
    pub bytes_sent: u64,
    /// Packets but PUBLISH.
    pub others_sent: u64,
    pub publishes_sent: u64,
    pub payload_sent: u64,
    /// QoS 1 and 2 messages of all sessions, absent ones included, that are not acknowledged yet.
    pub held: u64,
    pub held_payload: u64,
    /// Those of them that wait for an acknowledgement.
    pub in_flight: u64,
    /// Bytes that count for `limits.kept_bytes`.
    pub kept: u64,
    /// In the order of [`DropReason::ALL`].
    pub dropped: [u64; DropReason::ALL.len()],
    pub dropped_payload: u64,
    pub sockets: u64,
    pub refused: u64,
    /// Reason codes, and how many connections the server refused or ended with each; none is 0.
    pub errors: Vec<(u8, u64)>,
}

/// Numbers threads in the order in which they count first.
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
    /// For a server of so many threads, and with so many bytes for absent clients.
    pub(crate) fn new(threads: usize, most_kept: u64) -> Self {
        // Other threads of the process are numbered too, so some room keeps the busy ones apart.
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

    /// Takes what a connection has read.
    pub(crate) fn received(&self, received: &mut Received) {
        let shard = self.shard();
        let taken = std::mem::take(received);
        add(&shard.bytes_received, taken.bytes);
        add(&shard.publishes_received, taken.publishes);
        add(&shard.payload_received, taken.payload);
        add(&shard.others_received, taken.others);
        add(&shard.connects, taken.connects);
    }

    /// Takes what a session has sent and dropped, and how what it holds has changed since it was `known`.
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

    /// A socket, or the stream around it, has taken so many bytes.
    pub(crate) fn wrote(&self, bytes: u64) {
        add(&self.shard().bytes_sent, bytes);
    }

    /// A packet of so many bytes was sent to a peer that has no session.
    pub(crate) fn replied(&self, bytes: usize) {
        add(&self.shard().others_sent, 1);
        self.wrote(bytes as u64);
    }

    /// A socket was accepted.
    pub(crate) fn socket(&self) {
        add(&self.sockets, 1);
    }

    /// A CONNECT was refused.
    pub(crate) fn refused(&self, code: ReasonCode) {
        add(&self.refused, 1);
        self.ended(code);
    }

    /// The server has ended a connection.
    pub(crate) fn ended(&self, code: ReasonCode) {
        if let Some(counter) = self.errors.get(usize::from(code as u8)) {
            add(counter, 1);
        }
    }

    /// Sums everything up.
    pub(crate) fn sum(&self) -> Totals {
        let of = |counter: fn(&Shard) -> &AtomicU64| {
            let values = self
                .shards
                .iter()
                .map(|shard| counter(shard).load(Ordering::Relaxed));
            values.fold(0, u64::wrapping_add)
        };
        // What was added on one thread may be seen after it was taken away on another.
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

/// Nothing is written where nothing has changed: most reports say little.
fn add(counter: &AtomicU64, more: u64) {
    if more != 0 {
        counter.fetch_add(more, Ordering::Relaxed);
    }
}

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
    fn threads_add_up_and_levels_go_down_again_elsewhere() {
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
    fn errors_are_told_apart_by_their_code() {
        let counters = Counters::default();
        counters.refused(ReasonCode::NotAuthorized);
        counters.ended(ReasonCode::KeepAliveTimeout);
        counters.ended(ReasonCode::NotAuthorized);
        let sum = counters.sum();
        assert_eq!(sum.refused, 1);
        assert_eq!(sum.errors, [(0x87, 2), (0x8D, 1)]);
    }
}
