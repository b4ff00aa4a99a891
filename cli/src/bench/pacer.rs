//! The sending side at a fixed rate. It has a thread of its own, because tokio's timer is too
//! coarse.

use super::counters::Clock;
use super::figures::nanos;
use super::histogram::Histogram;
use super::stream::StdStream;
use super::wire::{MqttVersion, PayloadStamp, PublishTemplate, ServerPacket, next_packet};
use std::io::{self, Read, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// The latency of a send that is later than this counts from the time it was due. A shorter delay
/// is the granularity of sleep.
const LATE: Duration = Duration::from_millis(1);
/// The pause between two tries to write to a full socket.
const FULL: Duration = Duration::from_micros(100);

/// One publishing connection (non-blocking) and its message.
pub struct PacedSender {
    /// The connection.
    pub socket: StdStream,
    /// The encoded message.
    pub template: PublishTemplate,
    /// The stream number in the stamps.
    pub stream: u32,
}

/// The counters that the thread and the run share.
#[derive(Default)]
pub struct PacerCounters {
    /// Messages sent.
    pub sent: AtomicU64,
    /// Messages acknowledged.
    pub acked: AtomicU64,
    /// Messages refused by their acknowledgement.
    pub refused: AtomicU64,
    stop: AtomicBool,
    failed: AtomicBool,
}

/// A running pacer.
pub struct Pacer {
    /// Counters.
    pub shared: Arc<PacerCounters>,
    thread: Option<JoinHandle<PacerResult>>,
}

/// The result of a pacer that has stopped.
pub struct PacerResult {
    /// The delays of the sends.
    pub lag: Histogram,
    /// Why it stopped early.
    pub failure: Option<io::Error>,
    /// Still open, so that the server sees no early end.
    pub senders: Vec<PacedSender>,
}

impl Pacer {
    /// Sends `rate` messages a second by `senders` in turn, until [`Pacer::stop`].
    ///
    /// # Errors
    /// No thread could be started.
    pub fn start(
        senders: Vec<PacedSender>,
        version: MqttVersion,
        qos: u8,
        rate: f64,
        clock: Clock,
    ) -> io::Result<Pacer> {
        let shared = Arc::new(PacerCounters::default());
        let drive = PacerThread {
            shared: Arc::clone(&shared),
            clock,
            version,
            qos,
            step: Duration::from_secs_f64(1.0 / rate),
        };
        let thread = thread::Builder::new()
            .name("pacer".to_owned())
            .spawn(move || drive.run(senders))?;
        Ok(Pacer {
            shared,
            thread: Some(thread),
        })
    }

    /// Whether an error has stopped it.
    pub fn has_failed(&self) -> bool {
        self.shared.failed.load(Relaxed)
    }

    /// Stops the sending and, at QoS 1, waits up to a second for the last acknowledgements.
    pub fn stop(&mut self) -> Option<PacerResult> {
        self.shared.stop.store(true, Relaxed);
        self.thread.take()?.join().ok()
    }
}

impl Drop for Pacer {
    fn drop(&mut self) {
        self.stop();
    }
}

/// The code of the pacer's thread.
struct PacerThread {
    shared: Arc<PacerCounters>,
    clock: Clock,
    version: MqttVersion,
    qos: u8,
    step: Duration,
}

impl PacerThread {
    fn run(&self, mut senders: Vec<PacedSender>) -> PacerResult {
        let mut lag = Histogram::default();
        let mut failure = self.send(&mut senders, &mut lag).err();
        if failure.is_some() {
            self.shared.failed.store(true, Relaxed);
        } else if self.qos > 0 {
            failure = self.await_acks(&mut senders).err();
        }
        PacerResult {
            lag,
            failure,
            senders,
        }
    }

    fn send(&self, senders: &mut [PacedSender], lag: &mut Histogram) -> io::Result<()> {
        let mut out = Vec::new();
        let (mut next, mut id, mut seq) = (0, 1_u16, 1_u32);
        let mut due = self.clock.nanos();
        let step = nanos(self.step);
        while !self.shared.stop.load(Relaxed) {
            if let Some(early) = due
                .checked_sub(self.clock.nanos())
                .filter(|early| *early > 0)
            {
                thread::sleep(Duration::from_nanos(early));
                continue;
            }
            let now = self.clock.nanos();
            let late = now - due;
            lag.record(late);
            let at = if late > nanos(LATE) { due } else { now };
            let sender = &mut senders[next];
            out.clear();
            let stamp = PayloadStamp {
                at,
                stream: sender.stream,
                seq,
            };
            sender.template.append(&mut out, id, stamp);
            self.shared.sent.fetch_add(1, Relaxed);
            self.write(&mut sender.socket, &out)?;
            if self.qos > 0 {
                self.read_acks(&mut sender.socket)?;
            }
            due += step;
            next += 1;
            if next == senders.len() {
                (next, seq) = (0, seq + 1);
                id = if id == u16::MAX { 1 } else { id + 1 };
            }
        }
        Ok(())
    }

    fn write(&self, socket: &mut StdStream, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            match socket.write(bytes) {
                Ok(count) => bytes = &bytes[count..],
                Err(error)
                    if error.kind() == io::ErrorKind::WouldBlock
                        && !self.shared.stop.load(Relaxed) =>
                {
                    thread::sleep(FULL);
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Reads the acknowledgements that have arrived. The end of a read may cut a packet, which is
    /// rare: they have 4 to 6 bytes and arrive one by one.
    fn read_acks(&self, socket: &mut StdStream) -> io::Result<()> {
        let mut bytes = [0; 4096];
        let count = match socket.read(&mut bytes) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
            Err(error) => return Err(error),
        };
        let mut rest = &bytes[..count];
        while let Ok(Some((packet, used))) = next_packet(self.version, rest) {
            rest = &rest[used..];
            if let ServerPacket::PubAck { refused } = packet {
                self.shared.acked.fetch_add(1, Relaxed);
                self.shared.refused.fetch_add(u64::from(refused), Relaxed);
            }
        }
        Ok(())
    }

    fn await_acks(&self, senders: &mut [PacedSender]) -> io::Result<()> {
        for _ in 0..1000 {
            if self.shared.acked.load(Relaxed) >= self.shared.sent.load(Relaxed) {
                break;
            }
            for sender in &mut *senders {
                self.read_acks(&mut sender.socket)?;
            }
            thread::sleep(Duration::from_millis(1));
        }
        Ok(())
    }
}
