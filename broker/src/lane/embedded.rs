//! The embedded engine: rumqttd's router in this process keeps the logs. No other file names
//! rumqttd.
//!
//! ```text
//!   AppendLink (each lane has one)   router            FollowLink (one an applier)
//!       |                              |                        |
//!       +-- publish "lane/7" --> log of "lane/7" -- forward --> +
//!       ^                                                       |
//!       +------------- credit of lane 7 <-------- done ---------+
//! ```
//!
//! The router's topics are `lane/0`, `lane/1` and so on, and `wake/<link>` for each follower, by
//! which other threads end its wait. Nothing that a client chose is a topic there; it is in the
//! payload. With a fixed set of topics, none of the router's known faults can be reached.
//!
//! The router evicts old segments of its log. Appenders therefore take credit, in bytes, from the
//! lane, and the follower gives it back when a batch has been applied: what has not been read is
//! never evicted.

use super::log::{Appender, Follower, FollowerWaker, LaneLog, LogError, Position, Promise};
use crate::policy::BoxFuture;
use bytes::Bytes;
use parking_lot::Mutex;
use roommq_mqtt::cost::BATCH_COST;
use rumqttd::local::{LinkError, LinkRx, LinkTx};
use rumqttd::protocol::{Packet, Publish};
use rumqttd::{Broker, Config, Notification, RouterConfig};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Instant;
use tokio::sync::{Semaphore, SemaphorePermit};

/// Targets to switch off in a tracing filter: the router opens spans for each batch.
pub const QUIET_TARGETS: &[&str] = &["rumqttd"];
/// A lane's credit is as much as this many segments of its log.
const SEGMENTS: usize = 4;
/// The router accepts no smaller segments, in bytes.
const SMALLEST_SEGMENT: usize = 1024;
/// How many links may be opened. The router reserves memory for each when it starts.
const LINKS: usize = 1024;

/// The router, and the credits of its lanes.
pub(crate) struct Embedded {
    router: Broker,
    credits: Arc<LaneCredits>,
    /// How many links have been opened.
    links: AtomicUsize,
}

/// The topic and the credit of each lane.
struct LaneCredits {
    /// The topic of each lane, and the bytes that may still be appended to it.
    lanes: Vec<(Bytes, Semaphore)>,
    /// The bytes that a lane with an empty log has.
    credit_bytes: u32,
}

impl Embedded {
    /// Starts the router with `lanes` lanes. Each holds `credit_bytes` bytes that have not been
    /// applied. The router's thread cannot be stopped: it lives as long as the process.
    pub(crate) fn start(lanes: u16, credit_bytes: u32) -> Self {
        let segment = (credit_bytes as usize / SEGMENTS).max(SMALLEST_SEGMENT);
        let config = Config {
            router: RouterConfig {
                max_connections: LINKS,
                max_outgoing_packet_count: 200,
                max_segment_size: segment,
                // Batches that have not been applied span the segments that the credit allows, the
                // one that holds the oldest, the one that is written, and one for a batch that is
                // larger than a segment.
                max_segment_count: SEGMENTS + 3,
                ..RouterConfig::default()
            },
            ..Config::default()
        };
        let lane = |l| {
            (
                format!("lane/{l}").into(),
                Semaphore::new(credit_bytes as usize),
            )
        };
        let lanes = (0..lanes).map(lane).collect();
        Embedded {
            router: Broker::new(config),
            credits: Arc::new(LaneCredits {
                lanes,
                credit_bytes,
            }),
            links: AtomicUsize::new(0),
        }
    }

    /// Opens a link to the router. Returns its number, too.
    fn link(&self) -> Result<(usize, LinkTx, LinkRx), LogError> {
        let number = self.links.fetch_add(1, Ordering::Relaxed);
        let (tx, rx) = self.router.link(&format!("link-{number}"))?;
        Ok((number, tx, rx))
    }
}

impl LaneCredits {
    /// The credit that a batch of so many bytes takes. One that is larger than the lane's credit
    /// takes all of it.
    fn price(&self, bytes: usize) -> u32 {
        let bytes = u32::try_from(bytes + BATCH_COST);
        bytes.map_or(self.credit_bytes, |bytes| bytes.min(self.credit_bytes))
    }

    /// The topic and the credit of one lane.
    fn lane(&self, lane: u16) -> Result<&(Bytes, Semaphore), LogError> {
        let known = self.lanes.get(usize::from(lane));
        known.ok_or_else(|| LogError::Engine(format!("there is no lane {lane}")))
    }
}

impl LaneLog for Embedded {
    fn appender(&self) -> Result<Box<dyn Appender>, LogError> {
        let (_, tx, rx) = self.link()?;
        Ok(Box::new(AppendLink {
            credits: self.credits.clone(),
            tx: Mutex::new(tx),
            _rx: Mutex::new(rx),
        }))
    }

    fn promise(&self) -> Promise {
        Promise::Volatile
    }

    fn follower(&self, lanes: &[(u16, Position)]) -> Result<Box<dyn Follower>, LogError> {
        let (number, mut tx, mut rx) = self.link()?;
        let wake = Bytes::from(format!("wake/{number}"));
        let mut topics = vec![&wake];
        for (lane, _) in lanes {
            topics.push(&self.credits.lane(*lane)?.0);
        }
        for topic in topics {
            tx.subscribe(String::from_utf8_lossy(topic))?;
            // A batch that is appended before the router knows the filter is lost to this link.
            while !matches!(rx.recv()?, Some(Notification::DeviceAck(_))) {}
        }
        Ok(Box::new(FollowLink {
            credits: self.credits.clone(),
            rx,
            wake: Arc::new(WakeTopic {
                topic: wake,
                tx: Mutex::new(tx),
                is_under_way: AtomicBool::new(false),
            }),
            past: Instant::now(),
        }))
    }
}

/// A link that appends.
struct AppendLink {
    credits: Arc<LaneCredits>,
    tx: Mutex<LinkTx>,
    /// Held because the router closes a link whose receiver is dropped.
    _rx: Mutex<LinkRx>,
}

impl Appender for AppendLink {
    fn try_reserve(&self, lane: u16, bytes: usize) -> Result<bool, LogError> {
        let (_, credits) = self.credits.lane(lane)?;
        let permit = credits.try_acquire_many(self.credits.price(bytes));
        Ok(permit.map(SemaphorePermit::forget).is_ok())
    }

    fn reserve(&self, lane: u16, bytes: usize) -> BoxFuture<'_, Result<(), LogError>> {
        Box::pin(async move {
            let (_, credits) = self.credits.lane(lane)?;
            let permit = credits.acquire_many(self.credits.price(bytes)).await;
            let permit = permit.map_err(|error| LogError::Engine(error.to_string()))?;
            permit.forget();
            Ok(())
        })
    }

    fn append(&self, lane: u16, batch: Bytes) -> Result<(), LogError> {
        let (topic, _) = self.credits.lane(lane)?;
        let mut tx = self.tx.lock();
        let publish = Publish::new(topic.clone(), batch, false);
        {
            let mut buffer = tx.buffer();
            if !buffer.is_empty() {
                // The router has not yet collected earlier batches. It takes this one with them.
                buffer.push_back(Packet::Publish(publish, None));
                return Ok(());
            }
        }
        tx.publish(publish.topic, publish.payload)?;
        Ok(())
    }
}

/// A link that follows.
struct FollowLink {
    credits: Arc<LaneCredits>,
    rx: LinkRx,
    wake: Arc<WakeTopic>,
    /// A deadline that has passed. With it, the link returns what is there and does not wait.
    past: Instant,
}

/// The topic that wakes one follower.
struct WakeTopic {
    topic: Bytes,
    /// The follower's own link. The router closes it if this is dropped.
    tx: Mutex<LinkTx>,
    /// A message was sent that the follower has not seen. There is at most one, so it needs no
    /// credit.
    is_under_way: AtomicBool,
}

impl FollowerWaker for WakeTopic {
    fn wake(&self) -> Result<(), LogError> {
        if !self.is_under_way.swap(true, Ordering::AcqRel) {
            let mut tx = self.tx.lock();
            tx.publish(self.topic.clone(), Bytes::from_static(b"wake"))?;
        }
        Ok(())
    }
}

impl Follower for FollowLink {
    fn next(&mut self, wait: bool) -> Result<Option<(u16, Position, Bytes)>, LogError> {
        loop {
            let notification = if wait {
                self.rx.recv()?
            } else {
                match self.rx.recv_deadline(self.past) {
                    Err(LinkError::RecvTimeout(_)) => return Ok(None),
                    other => other?,
                }
            };
            match notification {
                Some(Notification::Forward(forward)) => {
                    let topic = &forward.publish.topic;
                    if *topic == self.wake.topic {
                        // Before the caller looks why it was woken, so no later wake is missed.
                        self.wake.is_under_way.swap(false, Ordering::AcqRel);
                        return Ok(None);
                    }
                    let lane = self.credits.lanes.iter().position(|(t, _)| t == topic);
                    if let Some(lane) = lane.and_then(|l| u16::try_from(l).ok()) {
                        return Ok(Some((lane, Position::default(), forward.publish.payload)));
                    }
                }
                // The router has sent as much as it may, and continues when it is told that all of
                // it was read.
                Some(Notification::Unschedule) => self.rx.ready()?,
                Some(_) | None => {}
            }
        }
    }

    fn done(&mut self, lane: u16, batch: &Bytes) {
        if let Ok((_, credits)) = self.credits.lane(lane) {
            credits.add_permits(self.credits.price(batch.len()) as usize);
        }
    }

    fn waker(&self) -> Arc<dyn FollowerWaker> {
        self.wake.clone()
    }
}

impl From<LinkError> for LogError {
    fn from(error: LinkError) -> Self {
        LogError::Engine(error.to_string())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::lane::log::contract;

    #[test]
    fn keeps_the_contract() {
        contract::check(&Embedded::start(4, 16 << 10), 16 << 10);
    }
}
