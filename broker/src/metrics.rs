//! The server's counters: packets, bytes, messages that wait, errors.
//!
//! Each thread adds to a shard of its own, so that no thread waits for another core's cache line. Readers sum the shards
//! up. Reads and flushes report many messages at once. The sums of one moment need not agree to the last digit.

use crate::kept_bytes::KeptBytes;
use crate::packet::{Packet, ReasonCode};
use crate::session::{Backlog, DropReason, Tally};
use std::array::from_fn;
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

/// A number that each thread counts for itself.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Metric {
    BytesReceived,
    /// All packets but PUBLISH.
    OthersReceived,
    PublishesReceived,
    /// Bytes of their payloads.
    PayloadReceived,
    Connects,
    BytesSent,
    /// All packets but PUBLISH.
    OthersSent,
    PublishesSent,
    /// Bytes of their payloads.
    PayloadSent,
    /// Bytes of the payloads of dropped messages.
    DroppedPayload,
    /// Unacknowledged QoS 1 and 2 messages of all sessions, offline ones included. One thread may add to this and
    /// another subtract, so only the sum of all shards has a meaning. The same holds for the next two.
    Held,
    /// Bytes of their payloads.
    HeldPayload,
    /// The sent ones among them.
    InFlight,
}

const METRICS: usize = Metric::InFlight as usize + 1;

/// The counters of one thread. The alignment covers pairs of cache lines, which processors fetch together.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Shard {
    /// By [`Metric`].
    metrics: [AtomicU64; METRICS],
    /// In the order of [`DropReason::ALL`].
    dropped: [AtomicU64; DropReason::ALL.len()],
}

impl Shard {
    /// Adds to a number.
    fn add(&self, metric: Metric, more: u64) {
        add(&self.metrics[metric as usize], more);
    }
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
    metrics: [u64; METRICS],
    /// Dropped messages, in the order of [`DropReason::ALL`].
    pub dropped: [u64; DropReason::ALL.len()],
    /// Bytes that count for `limits.kept_bytes`.
    pub kept: u64,
    pub sockets: u64,
    pub refused: u64,
    /// Connections that the server refused or closed, by reason code. Codes without one are left out.
    pub errors: Vec<(u8, u64)>,
}

impl Totals {
    /// The sum of all threads.
    pub(crate) fn of(&self, metric: Metric) -> u64 {
        self.metrics[metric as usize]
    }
}

/// Numbers the threads, in the order of their first use of a counter.
static THREADS: AtomicUsize = AtomicUsize::new(0);

thread_local! {
    static THREAD: usize = THREADS.fetch_add(1, Ordering::Relaxed);
}

#[cfg(test)]
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
        shard.add(Metric::BytesReceived, taken.bytes);
        shard.add(Metric::PublishesReceived, taken.publishes);
        shard.add(Metric::PayloadReceived, taken.payload);
        shard.add(Metric::OthersReceived, taken.others);
        shard.add(Metric::Connects, taken.connects);
    }

    /// Adds the messages that a session has sent and dropped, and resets `tally`. Replaces the session's last report of
    /// `held` messages, `known`, by the new one.
    pub(crate) fn outbound(&self, tally: &mut Tally, held: Backlog, known: &mut Backlog) {
        if *tally == Tally::default() && held == *known {
            return;
        }
        let shard = self.shard();
        let taken = std::mem::take(tally);
        shard.add(Metric::PublishesSent, taken.publishes);
        shard.add(Metric::PayloadSent, taken.payload);
        shard.add(Metric::OthersSent, taken.others);
        let was = std::mem::replace(known, held);
        self.kept.update(was.kept_bytes, held.kept_bytes);
        self.kept.update_ending(was.ending_bytes, held.ending_bytes);
        // A level that falls adds a number that wraps around.
        let change = |metric, was: u64, is: u64| shard.add(metric, is.wrapping_sub(was));
        change(Metric::Held, was.messages, held.messages);
        change(Metric::HeldPayload, was.payload, held.payload);
        change(Metric::InFlight, was.in_flight, held.in_flight);
        if let Some(dropped) = taken.dropped {
            for (counter, messages) in shard.dropped.iter().zip(dropped.messages) {
                add(counter, messages);
            }
            shard.add(Metric::DroppedPayload, dropped.payload);
        }
    }

    /// Counts bytes written to a socket or a framed stream.
    pub(crate) fn wrote(&self, bytes: u64) {
        self.shard().add(Metric::BytesSent, bytes);
    }

    /// Counts a packet to a peer without a session.
    pub(crate) fn replied(&self, bytes: usize) {
        self.shard().add(Metric::OthersSent, 1);
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
        let sum = |counter: &dyn Fn(&Shard) -> &AtomicU64| {
            let numbers = self.shards.iter().map(counter);
            let sum = numbers.fold(0u64, |sum, n| sum.wrapping_add(n.load(Ordering::Relaxed)));
            // This thread may see a subtraction before the addition on another thread, so a sum may be negative.
            sum.cast_signed().max(0).cast_unsigned()
        };
        let errors = (0..=u8::MAX).zip(&self.errors);
        let errors = errors.map(|(code, counter)| (code, counter.load(Ordering::Relaxed)));
        Totals {
            metrics: from_fn(|at| sum(&|shard| &shard.metrics[at])),
            dropped: from_fn(|at| sum(&|shard| &shard.dropped[at])),
            kept: self.kept.total(),
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

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    fn held(messages: u64) -> Backlog {
        Backlog {
            messages,
            payload: messages * 10,
            in_flight: messages / 2,
            kept_bytes: messages * 100,
            ending_bytes: 0,
        }
    }

    #[test]
    fn shards_add_up_even_if_another_thread_subtracts() {
        let counters = Arc::new(Counters::new(2, u64::MAX));
        let work = |n: u64| {
            let counters = Arc::clone(&counters);
            std::thread::spawn(move || {
                let mut known = Backlog::default();
                for round in 0..1_000 {
                    let mut tally = Tally {
                        publishes: 1,
                        payload: n,
                        ..Tally::default()
                    };
                    tally.dropped(DropReason::TooOld, 1, 3);
                    counters.outbound(&mut tally, held(round % 7), &mut known);
                    assert_eq!(tally, Tally::default());
                    counters.wrote(2);
                }
                known
            })
        };
        let left: Vec<Backlog> = [work(1), work(10), work(100)]
            .into_iter()
            .filter_map(|thread| thread.join().ok())
            .collect();
        let sum = counters.sum();
        assert_eq!(
            (sum.of(Metric::PublishesSent), sum.of(Metric::PayloadSent)),
            (3_000, 111_000)
        );
        assert_eq!(sum.of(Metric::BytesSent), 6_000);
        assert_eq!(sum.dropped.iter().sum::<u64>(), 3_000);
        assert_eq!(sum.of(Metric::DroppedPayload), 9_000);
        assert_eq!(
            sum.of(Metric::Held),
            left.iter().map(|h| h.messages).sum::<u64>()
        );
        assert_eq!(sum.kept, sum.of(Metric::Held) * 100);
        for mut known in left {
            counters.outbound(&mut Tally::default(), Backlog::default(), &mut known);
        }
        let sum = counters.sum();
        assert_eq!(
            (
                sum.of(Metric::Held),
                sum.of(Metric::HeldPayload),
                sum.of(Metric::InFlight)
            ),
            (0, 0, 0)
        );
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
