//! How a connection ends: the last words, the will, and word to every lane that knew the session.

use super::Connection;
use crate::clock;
use crate::lane::{Batch, Entry, GoneEntry, Origin, PropertiesEntry, PublishEntry, lane_of};
use crate::packet::ReasonCode;
use crate::policy::GoneReason;
use crate::session::Close;
use std::time::Duration;
use tokio::io::AsyncReadExt;
use tokio::net::tcp::OwnedReadHalf;
use tokio::time::Instant;

/// For the last bytes to a peer that reads.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// Why a connection ends.
#[derive(Debug)]
pub(super) enum Ending {
    /// DISCONNECT by the client.
    Left,
    /// The socket went.
    Lost(String),
    /// The server ends it, and says why.
    Closed(Close),
}

impl Ending {
    pub(super) fn lost(text: &str) -> Self {
        Ending::Lost(text.to_owned())
    }

    pub(super) fn closed(close: Close) -> Self {
        Ending::Closed(close)
    }
}

impl Connection {
    pub(super) async fn end(mut self: Box<Self>, ending: Ending, read: OwnedReadHalf) {
        if let Ending::Closed(close) = &ending {
            self.outbox.say_goodbye(close);
        }
        let reason = match &ending {
            _ if self.session.left_in_order() => GoneReason::Orderly,
            Ending::Left => GoneReason::Orderly,
            Ending::Lost(text) => GoneReason::Lost(text.clone()),
            Ending::Closed(close) => GoneReason::Lost(close.text.clone()),
        };
        // The will stands in the log before the end of its session.
        self.send_will().await;
        self.tell_lanes(&reason).await;
        self.shared.sessions.leave(self.id);
        let limit = match &ending {
            Ending::Closed(close) if close.reason == ReasonCode::ServerShuttingDown => {
                self.shared.limits.shutdown_time / 2
            }
            Ending::Closed(_) | Ending::Left => LAST_WORDS,
            Ending::Lost(_) => Duration::ZERO,
        };
        let until = Instant::now() + limit;
        self.drain(&read, until).await;
        let dropped = self.outbox.hang_up();
        if matches!(ending, Ending::Closed(_)) {
            linger(read, until).await;
        }
        let (user, client, peer) = (&self.who.user, &self.client_id, self.peer);
        match reason {
            GoneReason::Orderly => tracing::debug!(%user, %client, %peer, dropped, "left"),
            GoneReason::Lost(reason) => {
                tracing::info!(%user, %client, %peer, dropped, reason, "connection ended");
            }
        }
    }

    /// Writes what still waits.
    async fn drain(&self, read: &OwnedReadHalf, until: Instant) {
        let drained = async {
            while !self.outbox.is_drained() && read.as_ref().writable().await.is_ok() {
                self.outbox.unblock();
            }
        };
        if tokio::time::timeout_at(until, drained).await.is_err() {
            tracing::debug!(peer = %self.peer, "closed with bytes that the peer did not take");
        }
    }

    /// Publishes the will where the end calls for it; it is judged again, for rights may have gone since.
    async fn send_will(&mut self) {
        let Some(will) = self.session.take_will() else {
            return;
        };
        let permit = match self
            .shared
            .policy
            .publish(&self.who, &will.topic, will.retain)
        {
            Ok(permit) => permit,
            Err(refusal) => {
                tracing::info!(user = %self.who.user, topic = %will.topic, %refusal, "a will was refused");
                return;
            }
        };
        let topic = permit.topic.as_str();
        let mut batch = Batch::default();
        batch.push(&Entry::Publish(PublishEntry {
            at: clock::now_ms(),
            origin: Some(self.origin()),
            topic,
            payload: &will.payload,
            qos: will.qos,
            retain: will.retain,
            properties: PropertiesEntry::of(&will.properties),
        }));
        let lane = lane_of(topic, self.shared.lanes);
        self.append_last(lane, batch).await;
    }

    async fn tell_lanes(&self, reason: &GoneReason) {
        for lane in &self.lanes {
            let mut batch = Batch::default();
            batch.push(&Entry::Gone(GoneEntry {
                at: clock::now_ms(),
                who: self.origin(),
                reason: reason.clone(),
            }));
            self.append_last(*lane, batch).await;
        }
    }

    async fn append_last(&self, lane: u16, batch: Batch) {
        if let Err(error) = self.shared.entrance.append(lane, batch).await {
            tracing::error!(%error, "the end of a session could not be logged");
        }
    }

    pub(super) fn origin(&self) -> Origin<'_> {
        Origin {
            session: self.id,
            user: &self.who.user,
        }
    }
}

/// Takes what the peer still sends until it closes too: a close with bytes unread would reset the
/// connection, and what was written last would be lost with it.
async fn linger(mut read: OwnedReadHalf, until: Instant) {
    let mut scrap = [0; 512];
    let gone = async { while read.read(&mut scrap).await.is_ok_and(|n| n > 0) {} };
    // Either way the socket closes now.
    let _ = tokio::time::timeout_at(until, gone).await;
}
