//! The server's own numbers, as retained messages under `$SYS`.
//!
//! All topics under `$SYS` belong to the lane of the node. Their messages pass it like any others, so a new subscriber
//! receives all of them, but they are in no log: a log may have several nodes, and these numbers are of one.

mod load;
mod tree;

use crate::lane::LaneTable;
use crate::node::Node;
use crate::packet::QoS;
use roommq_lane::{Entry, PublishEntry};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;
use tree::{SysSnapshot, SysTree};

/// The task that publishes the `$SYS` topics.
pub(crate) struct SysPublisher {
    pub node: Arc<Node>,
    pub lanes: Arc<LaneTable>,
    /// The time between two updates; 0 turns `$SYS` off.
    pub interval: Duration,
}

impl SysPublisher {
    /// Publishes all topics at once, and after each interval those that changed. Returns only if `$SYS` is off.
    pub(crate) async fn run(self) {
        if self.interval.is_zero() {
            return;
        }
        let start = Instant::now();
        let (mut tree, mut last) = (SysTree::default(), start);
        loop {
            let now = Instant::now();
            let changed = tree.update(&self.snapshot(), now - start, now - last);
            last = now;
            self.publish(&changed).await;
            tokio::time::sleep_until(now + self.interval).await;
        }
    }

    fn snapshot(&self) -> SysSnapshot {
        SysSnapshot {
            counters: self.node.counters.sum(),
            clients: self.node.sessions.counts(),
            lanes: self.lanes.totals(),
            limits: self.node.limit_counts.all(),
            lost_notices: self.node.mailboxes.dropped(),
        }
    }

    async fn publish<'a>(&self, changed: &'a [(String, String)]) {
        let entry = |(topic, value): &'a (String, String)| {
            Entry::Publish(PublishEntry {
                // As in mosquitto: a subscriber receives the QoS that it asked for.
                qos: QoS::ExactlyOnce,
                retain: true,
                ..PublishEntry::of_server(topic, value.as_bytes())
            })
        };
        let of_node = self.node.lanes;
        let entries = changed.iter().map(entry);
        if let Err(error) = self.node.entrance.append(of_node, entries).await {
            tracing::error!(%error, "$SYS could not be published");
        }
    }
}
