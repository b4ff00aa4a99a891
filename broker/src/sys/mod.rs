//! What the server tells of itself: counters, and the retained messages under `$SYS` that show them.
//!
//! `$SYS/broker` is one lane, and the tree goes through it as any message does; a subscription finds it whole.

mod load;
mod tree;

use crate::clock::now_ms;
use crate::lane::{Batch, Entry, LaneTable, PublishEntry, lane_of};
use crate::node::Node;
use crate::packet::QoS;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;
use tree::{SysSnapshot, SysTree};

/// The one task that publishes the tree.
pub(crate) struct SysPublisher {
    pub node: Arc<Node>,
    pub lanes: Arc<LaneTable>,
    /// From one update to the next; 0: there is no tree.
    pub interval: Duration,
}

impl SysPublisher {
    /// Publishes the whole tree at once, and what has changed after each interval, for ever.
    pub(crate) async fn run(self) {
        if self.interval.is_zero() {
            return;
        }
        let start = Instant::now();
        let (mut tree, mut last) = (SysTree::default(), start);
        loop {
            let now = Instant::now();
            let changed = tree.update(&self.figures(), now - start, now - last);
            last = now;
            self.publish(&changed).await;
            tokio::time::sleep_until(now + self.interval).await;
        }
    }

    fn figures(&self) -> SysSnapshot {
        SysSnapshot {
            counted: self.node.counters.sum(),
            clients: self.node.sessions.counts(),
            stock: self.lanes.totals(),
            lost_notices: self.node.mailboxes.dropped(),
        }
    }

    async fn publish(&self, changed: &[(String, String)]) {
        let Some((first, _)) = changed.first() else {
            return;
        };
        let mut batch = Batch::default();
        let at = now_ms();
        for (topic, value) in changed {
            batch.push(&Entry::Publish(PublishEntry {
                at,
                origin: None,
                topic,
                payload: value.as_bytes(),
                // As mosquitto does: who asks for QoS 2 gets it.
                qos: QoS::ExactlyOnce,
                retain: true,
                properties: None,
            }));
        }
        // All of the tree shares its first two levels.
        let lane = lane_of(first, self.node.lanes);
        if let Err(error) = self.node.entrance.append(lane, batch).await {
            tracing::error!(%error, "$SYS could not be published");
        }
    }
}
