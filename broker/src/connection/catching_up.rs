//! What a session has to do with its lanes beside its requests: it reads the retained messages that it
//! has asked for, and those that wait for it in their queues, at the pace of its client; and it tells
//! them of those that it has finished with.

use super::Connection;
use super::client::Client;
use super::ending::Ending;
use crate::clock::lane_ms;
use crate::fairness::others_first;
use crate::lane::{LogError, ReplayBudget, WaitingFrame};
use crate::session::{Close, Outbound};
use roommq_lane::{DoneEntry, Entry};
use std::collections::{BTreeMap, VecDeque};
use tokio::time::Instant;

/// The next waiting messages of lanes.
type Heads = BTreeMap<u16, VecDeque<WaitingFrame>>;

impl Connection {
    /// Tells lanes of finished messages if it is time, and sends what waits in them.
    pub(super) async fn work_for_lanes(&mut self) -> Result<(), Ending> {
        let client = &mut self.client;
        let untold = |out: &mut Outbound| (out.has_untold(), out.has_much_untold());
        if let Some((true, much)) = client.outbox.queue(untold)
            && (self.deadlines.must_tell(Instant::now()) || much)
        {
            self.deadlines.told();
            client.tell_lanes().await.map_err(Close::from)?;
        }
        client.replay().await?;
        client.catch_up().await;
        Ok(())
    }
}

impl Client {
    /// Tells lanes of the messages that the session has finished with, so that they drop them.
    async fn tell_lanes(&mut self) -> Result<(), LogError> {
        let session = self.session_id;
        for (lane, done) in self.outbox.queue(Outbound::take_untold).unwrap_or_default() {
            let done = [Entry::Done(DoneEntry { session, done })];
            self.node.entrance.append(lane, done).await?;
        }
        Ok(())
    }

    /// Sends the next retained messages that the client has asked for, as far as its outbox takes them:
    /// one turn. The connection's task comes back here for the next one.
    pub(super) async fn replay(&mut self) -> Result<(), Close> {
        let outbox = &self.outbox;
        let mut budget = ReplayBudget::default();
        let (mut taken, mut flush) = (false, false);
        while budget.is_left()
            && let Some(lane) = outbox.next_replay()
        {
            flush |= self.node.entrance.replay(lane, outbox, &mut budget).await?;
            taken = true;
        }
        if flush {
            outbox.flush();
        }
        if taken {
            others_first().await;
        }
        Ok(())
    }

    /// Sends the messages that wait in lanes, as far as the send window is open: those of one lane in
    /// their order, and those of different lanes by their times.
    async fn catch_up(&mut self) {
        let outbox = self.outbox.clone();
        let mut heads = Heads::new();
        loop {
            let behind = |out: &mut Outbound| out.wants_waiting().then(|| out.lanes_behind());
            let Some(behind) = outbox.queue(behind).flatten() else {
                break;
            };
            for lane in behind {
                if heads.get(&lane).is_none_or(VecDeque::is_empty) {
                    let entrance = &self.node.entrance;
                    let next = entrance.waiting(lane, self.session_id, &outbox).await;
                    heads.insert(lane, next);
                }
            }
            heads.retain(|_, head| !head.is_empty());
            outbox.queue(|out| deliver_heads(&mut heads, out, lane_ms()));
            if outbox.wants_flush() {
                outbox.flush();
            }
            others_first().await;
        }
        // This brings the flag up to date that leads here.
        if outbox.wants_flush() {
            outbox.flush();
        }
    }
}

/// Delivers messages, the oldest first, until a lane has no more of them here or the window is
/// closed.
fn deliver_heads(heads: &mut Heads, out: &mut Outbound, now: u64) {
    while out.wants_waiting()
        && let Some(head) = heads
            .values_mut()
            .min_by_key(|head| head.front().map(|w| w.since))
        && let Some(next) = head.pop_front()
    {
        out.deliver_waiting(next.tag, &next.frame, next.since, now);
        if head.is_empty() {
            break;
        }
    }
}
