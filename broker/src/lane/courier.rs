//! Carries notices from one lane to another, so that no keeper waits for a lane.

use super::Entrance;
use super::entry::{Batch, Entry, PublishEntry};
use super::lane_of;
use crate::clock;
use crate::packet::QoS;
use crate::policy::Notice;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::sync::mpsc;

/// Notices on their way at once.
const ROOM: usize = 1024;

/// Takes notices, from any thread, without waiting.
#[derive(Clone)]
pub(crate) struct Courier {
    sender: mpsc::Sender<Notice>,
    dropped: Arc<AtomicU64>,
}

/// The other end.
pub(crate) struct Round {
    receiver: mpsc::Receiver<Notice>,
}

impl Courier {
    pub(crate) fn new() -> (Self, Round) {
        let (sender, receiver) = mpsc::channel(ROOM);
        let courier = Courier {
            sender,
            dropped: Arc::default(),
        };
        (courier, Round { receiver })
    }

    /// Notices that were dropped.
    pub(crate) fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

    /// Sends, or drops and counts where too many are on their way.
    pub(crate) fn send(&self, notice: Notice) {
        if self.sender.try_send(notice).is_err() {
            let dropped = self.dropped.fetch_add(1, Ordering::Relaxed) + 1;
            if dropped.is_power_of_two() {
                tracing::warn!(dropped, "notices are dropped: too many at once");
            }
        }
    }
}

impl Round {
    /// Appends each notice to its own lane.
    pub(crate) async fn run(mut self, entrance: &Entrance, lanes: u16) {
        while let Some(notice) = self.receiver.recv().await {
            let mut batch = Batch::default();
            batch.push(&Entry::Publish(PublishEntry {
                at: clock::now_ms(),
                origin: None,
                topic: &notice.topic,
                payload: &notice.payload,
                qos: QoS::AtLeastOnce,
                retain: false,
                properties: None,
            }));
            let lane = lane_of(&notice.topic, lanes);
            if let Err(error) = entrance.append(lane, batch).await {
                tracing::error!(%error, "a notice was lost");
            }
        }
    }
}
