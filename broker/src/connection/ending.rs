//! How a connection ends: the last words, the will, and word to every lane that knew the session.

use super::opening::{FOR_EVER, longest_expiry};
use super::sleepers::settle;
use super::{Connection, Link, Shared};
use crate::clock;
use crate::lane::{Batch, DisconnectEntry, Entry, Origin, PropertiesEntry, PublishEntry, lane_of};
use crate::outbox::Outbox;
use crate::packet::{ReasonCode, Will};
use crate::policy::{GoneReason, Principal, SessionId};
use crate::session::Close;
use crate::sessions::{Asleep, Kept};
use futures_util::future::join_all;
use std::collections::BTreeSet;
use std::time::Duration;
use tokio::time::Instant;

/// For the last bytes to a peer that reads.
pub(super) const LAST_WORDS: Duration = Duration::from_secs(1);

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

/// How long a session is without a connection. All times in milliseconds since the Unix epoch.
pub(super) struct Absence {
    pub since: u64,
    /// When it ends; `u64::MAX`: never.
    pub expires: u64,
    /// With when it is due.
    pub will: Option<(Will, u64)>,
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
    /// Closes, after the last words where there are any [5.0 MQTT-3.14.4-2, MQTT-4.13.2-1].
    pub(super) async fn end(mut self: Box<Self>, ending: Ending, mut link: Link) {
        let reason = match &ending {
            _ if self.session.left_in_order() => GoneReason::Orderly,
            Ending::Left => GoneReason::Orderly,
            Ending::Lost(text) => GoneReason::Lost(text.clone()),
            Ending::Closed(close) => GoneReason::Lost(close.text.clone()),
        };
        let last = match &ending {
            Ending::Closed(close) => Some(close),
            Ending::Left | Ending::Lost(_) => None,
        };
        if let Some(close) = last {
            self.shared.counters.ended(close.reason);
        }
        let rest = self.part(last, &reason).await;
        let limit = match &ending {
            Ending::Closed(close) if close.reason == ReasonCode::ServerShuttingDown => {
                self.shared.limits.shutdown_time / 2
            }
            Ending::Closed(_) | Ending::Left => LAST_WORDS,
            Ending::Lost(_) => Duration::ZERO,
        };
        let until = Instant::now() + limit;
        if tokio::time::timeout_at(until, link.drain(&rest))
            .await
            .is_err()
        {
            tracing::debug!(peer = %self.peer, "closed with bytes that the peer did not take");
        }
        // The sending side is shut.
        drop(rest);
        link.close(until, matches!(ending, Ending::Closed(_))).await;
        let (user, client, peer) = (&self.who.user, &self.client_id, self.peer);
        let dropped = self.outbox.dropped();
        match reason {
            GoneReason::Orderly => tracing::debug!(%user, %client, %peer, dropped, "left"),
            GoneReason::Lost(reason) => {
                tracing::info!(%user, %client, %peer, dropped, reason, "connection ended");
            }
        }
    }

    /// The end of the connection for everybody but its peer: last words, will, lanes, registry. The session stays where
    /// it has time left [5.0 MQTT-3.1.2-23].
    pub(super) async fn part(&mut self, last: Option<&Close>, reason: &GoneReason) -> Outbox {
        let since = clock::now_ms();
        let expiry = self.session.expiry();
        let expiry = expiry.min(longest_expiry(&self.shared.limits));
        let after = |seconds: u32| since + u64::from(seconds) * 1000;
        let absence = Absence {
            since,
            expires: match expiry {
                FOR_EVER => u64::MAX,
                seconds => after(seconds),
            },
            will: self.session.take_will().map(|will| {
                let due = after(will.delay.min(expiry));
                (will, due)
            }),
        };
        self.be_absent(last, reason, absence).await
    }

    /// The connection could not take its session up. That sleeps on as if nobody had come, by what the connection before
    /// this one said of its time and its will.
    pub(super) async fn give_up(&mut self, before: Absence) {
        let reason = GoneReason::Lost("could not be resumed".to_owned());
        self.be_absent(None, &reason, before).await;
    }

    async fn be_absent(
        &mut self,
        last: Option<&Close>,
        reason: &GoneReason,
        absence: Absence,
    ) -> Outbox {
        self.parted = true;
        let now = clock::now_ms();
        let Absence {
            since,
            expires,
            mut will,
        } = absence;
        let sessions = self.shared.sessions.clone();
        let stays = expires > now && !sessions.is_shut();
        let rest = self.outbox.part(last, stays, now);
        self.forget_refused();
        // A will that is due stands in the log before the end of its session.
        if let Some((will, _)) = will.take_if(|(_, due)| !stays || *due <= now) {
            send_will(&self.shared, self.id, &self.who, &will).await;
        }
        tell_lanes(&self.shared, self.origin(), &self.lanes, reason, stays).await;
        if !stays {
            sessions.leave(self.id);
            return rest;
        }
        let kept = Kept {
            who: self.who.clone(),
            client_id: self.client_id.clone(),
            unreleased: self.session.take_unreleased(),
            filters: std::mem::take(&mut self.filters),
            lanes: std::mem::take(&mut self.lanes),
            ticket: self.ticket,
        };
        let counters = &self.shared.counters;
        let asleep = Box::new(Asleep::new(kept, since, expires, will, counters));
        let ended = sessions.find_room(self.id, asleep, &counters.kept, now);
        // Only from now on it can be one of those that end for the others.
        counters.kept.call();
        // Where a lane is full, the ends in others do not wait for it.
        let settling = ended.into_iter();
        join_all(settling.map(|due| settle(&self.shared, due))).await;
        rest
    }

    pub(super) fn origin(&self) -> Origin<'_> {
        Origin {
            session: self.id,
            user: &self.who.user,
        }
    }
}

/// A task that panics leaves no ghost behind, neither in a room nor for whoever comes with its client id; its will is sent
/// as after any other loss [MQTT-3.1.2-8].
impl Drop for Connection {
    fn drop(&mut self) {
        if self.parted || !std::thread::panicking() {
            return;
        }
        tracing::error!(user = %self.who.user, client = %self.client_id, "a connection has panicked");
        self.outbox.part(None, false, clock::now_ms());
        let (shared, id, user) = (self.shared.clone(), self.id, self.who.user.clone());
        let lanes = std::mem::take(&mut self.lanes);
        // A delay is over with the session (3.1.3.2.2).
        let will = self.session.take_will();
        let whose = self.who.clone();
        let Ok(runtime) = tokio::runtime::Handle::try_current() else {
            return;
        };
        runtime.spawn(async move {
            if let Some(will) = will {
                let shared = shared.clone();
                let sent = async move { send_will(&shared, id, &whose, &will).await };
                // In a task of its own: whatever failed may fail for the will as well, and the lanes are to be told.
                let _ = tokio::spawn(sent).await;
            }
            let who = Origin {
                session: id,
                user: &user,
            };
            let reason = GoneReason::Lost("an error of the server".to_owned());
            tell_lanes(&shared, who, &lanes, &reason, false).await;
            shared.sessions.leave(id);
        });
    }
}

/// Publishes a will, retained or not as it says [3.1.1 MQTT-3.1.2-16, MQTT-3.1.2-17, 5.0 MQTT-3.1.2-14, MQTT-3.1.2-15];
/// it is judged again, for rights may have gone since it was set.
pub(super) async fn send_will(shared: &Shared, id: SessionId, who: &Principal, will: &Will) {
    let permit = match shared.policy.publish(who, &will.topic, will.retain) {
        Ok(permit) => permit,
        Err(refusal) => {
            tracing::info!(user = %who.user, topic = %will.topic, %refusal, "a will was refused");
            return;
        }
    };
    let topic = permit.topic.as_str();
    let origin = Origin {
        session: id,
        user: &who.user,
    };
    let entry = Entry::Publish(PublishEntry {
        at: clock::now_ms(),
        origin: Some(origin),
        topic,
        payload: &will.payload,
        qos: will.qos,
        retain: will.retain,
        properties: PropertiesEntry::of(&will.properties),
    });
    append_last(shared, lane_of(topic, shared.lanes), &entry).await;
}

/// Tells the lanes that a connection has ended, and whether its session stays.
pub(super) async fn tell_lanes(
    shared: &Shared,
    who: Origin<'_>,
    lanes: &BTreeSet<u16>,
    reason: &GoneReason,
    stays: bool,
) {
    for (turn, lane) in lanes.iter().enumerate() {
        // Thousands of filters go in one lane at once, and most of them in all lanes: the others of this thread come between.
        if turn > 0 {
            tokio::task::yield_now().await;
        }
        let gone = DisconnectEntry {
            at: clock::now_ms(),
            who,
            reason: reason.clone(),
        };
        let entry = if stays {
            Entry::Disconnected(gone)
        } else {
            Entry::Ended(gone)
        };
        append_last(shared, *lane, &entry).await;
    }
}

async fn append_last(shared: &Shared, lane: u16, entry: &Entry<'_>) {
    let mut batch = Batch::default();
    batch.push(entry);
    if let Err(error) = shared.entrance.append(lane, batch).await {
        tracing::error!(%error, "the end of a session could not be logged");
    }
}
