//! Lanes kept by rumqttd's router in this process: one topic a lane, one following link a keeper, a few
//! appending links. The one file that knows rumqttd.
//!
//! Only lane topics enter the router, and whatever a client chose travels inside the payload: with a
//! fixed set of topics none of the router's known faults can be reached. Its log evicts old segments,
//! so appenders hold byte credits that the keeper gives back, and an unread entry is never evicted.

use super::log::{AppendError, Appender, Follower, LaneLog, LogError};
use crate::policy::BoxFuture;
use bytes::Bytes;
use parking_lot::Mutex;
use rumqttd::local::{LinkError, LinkRx, LinkTx};
use rumqttd::protocol::{Packet, Publish};
use rumqttd::{Broker, Config, Notification, RouterConfig};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;
use tokio::sync::Semaphore;

/// Targets to switch off in a tracing filter: the router opens spans for each entry.
pub const QUIET_TARGETS: &[&str] = &["rumqttd"];

/// The router counts a batch as its payload, its topic and four bytes.
const OVERHEAD: usize = 16;
/// A lane's log is this many closed segments, and the ones being read and written.
const SEGMENTS: usize = 4;
/// The router takes no smaller segments.
const SMALLEST_SEGMENT: usize = 1024;
/// Links that may be opened; the router sets aside room for each at its start.
const LINKS: usize = 1024;

/// The router and the credits of its lanes.
pub(crate) struct Embedded {
    router: Broker,
    credits: Arc<LaneCredits>,
    links: AtomicUsize,
}

struct LaneCredits {
    topics: Vec<Bytes>,
    /// Bytes that may still be appended unread, a lane each.
    credits: Vec<Semaphore>,
    credit_bytes: u32,
}

impl Embedded {
    /// Starts the router with `lanes` lanes that hold `credit_bytes` bytes unread each. Its thread lives
    /// as long as the process: it cannot be stopped.
    pub(crate) fn start(lanes: u16, credit_bytes: u32) -> Self {
        let segment = (credit_bytes as usize / SEGMENTS).max(SMALLEST_SEGMENT);
        let config = Config {
            router: RouterConfig {
                max_connections: LINKS,
                max_outgoing_packet_count: 200,
                max_segment_size: segment,
                // Unread batches span the closed segments that credits allow, the one that the oldest
                // lies in, the one being written, and one for batches that overshoot.
                max_segment_count: SEGMENTS + 3,
                ..RouterConfig::default()
            },
            ..Config::default()
        };
        Embedded {
            router: Broker::new(config),
            credits: Arc::new(LaneCredits {
                topics: (0..lanes)
                    .map(|l| Bytes::from(format!("lane/{l}")))
                    .collect(),
                credits: (0..lanes)
                    .map(|_| Semaphore::new(credit_bytes as usize))
                    .collect(),
                credit_bytes,
            }),
            links: AtomicUsize::new(0),
        }
    }

    fn link(&self) -> Result<(LinkTx, LinkRx), LogError> {
        let number = self.links.fetch_add(1, Ordering::Relaxed);
        Ok(self.router.link(&format!("link-{number}"))?)
    }
}

impl LaneCredits {
    /// Credits that a batch takes: all of the lane's where it is larger.
    fn price(&self, batch: &Bytes) -> u32 {
        u32::try_from(batch.len() + OVERHEAD)
            .unwrap_or(u32::MAX)
            .min(self.credit_bytes)
    }

    fn lane(&self, lane: u16) -> Result<(&Bytes, &Semaphore), LogError> {
        let at = usize::from(lane);
        self.topics
            .get(at)
            .zip(self.credits.get(at))
            .ok_or_else(|| LogError(format!("there is no lane {lane}")))
    }
}

impl LaneLog for Embedded {
    fn appender(&self) -> Result<Box<dyn Appender>, LogError> {
        let (tx, rx) = self.link()?;
        Ok(Box::new(AppendLink {
            credits: self.credits.clone(),
            tx: Mutex::new(tx),
            _rx: Mutex::new(rx),
        }))
    }

    fn allows_in_place(&self) -> bool {
        true
    }

    fn follower(&self, lanes: &[u16]) -> Result<Box<dyn Follower>, LogError> {
        let (mut tx, mut rx) = self.link()?;
        for lane in lanes {
            let (topic, _) = self.credits.lane(*lane)?;
            tx.subscribe(String::from_utf8_lossy(topic))?;
            // What is appended before the router knows the filter would be lost.
            while !matches!(rx.recv()?, Some(Notification::DeviceAck(_))) {}
        }
        Ok(Box::new(FollowLink {
            credits: self.credits.clone(),
            rx,
            _tx: tx,
            past: Instant::now(),
        }))
    }
}

/// An appending link.
struct AppendLink {
    credits: Arc<LaneCredits>,
    tx: Mutex<LinkTx>,
    /// The router would take the link for gone.
    _rx: Mutex<LinkRx>,
}

impl AppendLink {
    fn publish(&self, topic: &Bytes, batch: Bytes) -> Result<(), LogError> {
        let mut tx = self.tx.lock();
        let publish = Publish::new(topic.clone(), batch, false);
        {
            let mut buffer = tx.buffer();
            if !buffer.is_empty() {
                // The router has not yet come for what lies here, and takes all when it does.
                buffer.push_back(Packet::Publish(publish, None));
                return Ok(());
            }
        }
        tx.publish(publish.topic, publish.payload)?;
        Ok(())
    }
}

impl Appender for AppendLink {
    fn try_append(&self, lane: u16, batch: Bytes) -> Result<(), AppendError> {
        let (topic, credits) = self.credits.lane(lane)?;
        let Ok(permit) = credits.try_acquire_many(self.credits.price(&batch)) else {
            return Err(AppendError::Full(batch));
        };
        permit.forget();
        Ok(self.publish(topic, batch)?)
    }

    fn append(&self, lane: u16, batch: Bytes) -> BoxFuture<'_, Result<(), AppendError>> {
        Box::pin(async move {
            let (topic, credits) = self.credits.lane(lane)?;
            let permit = credits
                .acquire_many(self.credits.price(&batch))
                .await
                .map_err(|e| LogError(e.to_string()))?;
            permit.forget();
            Ok(self.publish(topic, batch)?)
        })
    }
}

/// A following link.
struct FollowLink {
    credits: Arc<LaneCredits>,
    rx: LinkRx,
    _tx: LinkTx,
    /// A deadline that has passed: the link then gives what is there and does not wait.
    past: Instant,
}

impl Follower for FollowLink {
    fn next(&mut self, wait: bool) -> Result<Option<(u16, Bytes)>, LogError> {
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
                    let lane = self.credits.topics.iter().position(|t| t == topic);
                    if let Some(lane) = lane.and_then(|l| u16::try_from(l).ok()) {
                        return Ok(Some((lane, forward.publish.payload)));
                    }
                }
                // The router stops until it hears that there is room again.
                Some(Notification::Unschedule) => self.rx.ready()?,
                Some(_) | None => {}
            }
        }
    }

    fn done(&mut self, lane: u16, batch: &Bytes) {
        if let Ok((_, credits)) = self.credits.lane(lane) {
            credits.add_permits(self.credits.price(batch) as usize);
        }
    }
}

impl From<LinkError> for LogError {
    fn from(error: LinkError) -> Self {
        LogError(error.to_string())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::lane::run::log::contract;

    #[test]
    fn keeps_the_contract() {
        contract::check(&Embedded::start(4, 16 << 10), 16 << 10);
    }
}
