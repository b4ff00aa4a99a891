//! What becomes of sessions whose client does not come back: their wills, and their ends.

use super::ending::{send_will, tell_lanes};
use super::offline::{Due, OfflineSession};
use crate::clock;
use crate::lane::Origin;
use crate::node::Node;
use crate::policy::{GoneReason, SessionId};
use futures_util::stream::{FuturesUnordered, StreamExt};
use std::sync::Arc;
use std::time::Duration;

/// From one line of the log about ends for `limits.kept_bytes` to the next, in milliseconds.
const TOLD_EVERY: u64 = 10_000;

/// The one task that looks after offline sessions, for ever: sends wills that are due, ends sessions whose time is over, and evicts
/// some if they hold too much together.
pub(crate) async fn expire_offline_sessions(node: Arc<Node>) {
    let (sessions, kept) = (&node.sessions, &node.counters.kept);
    let mut ended = Ended::default();
    // Where a lane is full, what is due in others does not wait for it.
    let mut under_way = FuturesUnordered::new();
    loop {
        for made in sessions.evict(kept) {
            ended.note((1, made.bytes));
            under_way.push(carry_out(&node, made.let_go(kept, clock::now_ms())));
        }
        if let Some((count, bytes)) = ended.untold(clock::now_ms()) {
            let limit = node.limits.kept_bytes;
            tracing::warn!(
                sessions = count,
                bytes,
                limit,
                "sessions of absent clients were ended: limits.kept_bytes is all but reached"
            );
        }
        let (due, next) = sessions.due(clock::now_ms());
        under_way.extend(due.into_iter().map(|due| carry_out(&node, due)));
        let next = next.unwrap_or(u64::MAX).min(ended.next());
        let left = next.saturating_sub(clock::now_ms());
        let wait = async {
            match next {
                u64::MAX => std::future::pending().await,
                _ => tokio::time::sleep(Duration::from_millis(left)).await,
            }
        };
        tokio::select! {
            () = wait => {}
            () = sessions.sooner.notified() => {}
            () = kept.crowded.notified() => {}
            Some(()) = under_way.next() => {}
        }
    }
}

/// Ends for `limits.kept_bytes` that the log has not been told of.
#[derive(Debug, Default)]
struct Ended {
    sessions: u64,
    bytes: u64,
    /// When it was told last.
    told: Option<u64>,
}

impl Ended {
    fn note(&mut self, (sessions, bytes): (u64, u64)) {
        self.sessions += sessions;
        self.bytes += bytes;
    }

    /// When there is something to tell; `u64::MAX`: there is nothing.
    fn next(&self) -> u64 {
        match self.told {
            _ if self.sessions == 0 => u64::MAX,
            Some(told) => told.saturating_add(TOLD_EVERY),
            None => 0,
        }
    }

    /// Sessions and bytes to tell of at `now`.
    fn untold(&mut self, now: u64) -> Option<(u64, u64)> {
        // Told of before as of later: the clock was set back.
        let later = self.told.is_some_and(|told| told > now);
        if self.sessions == 0 || (self.next() > now && !later) {
            return None;
        }
        self.told = Some(now);
        let told = (self.sessions, self.bytes);
        (self.sessions, self.bytes) = (0, 0);
        Some(told)
    }
}

/// Sends a will that is due, or ends a session.
pub(crate) async fn carry_out(node: &Node, due: Due) {
    match due {
        Due::Will(id, who, delayed) => {
            send_will(node, id, &who, &delayed.will).await;
            node.sessions.will_is_out(id);
        }
        Due::End(id, asleep) => {
            node.sessions.until_will_is_out(id).await;
            let (user, client) = (asleep.kept.who.user.clone(), asleep.kept.client_id.clone());
            tracing::debug!(%user, %client, "a session has ended without its client");
            if let Some(outbox) = node.sessions.outbox(id) {
                outbox.part(None, false, clock::now_ms());
            }
            end_offline_session(node, id, *asleep).await;
            node.sessions.leave(id);
        }
    }
}

/// The end of a session that slept [MQTT-3.1.2-8]: a will that is not sent yet is sent now.
pub(crate) async fn end_offline_session(node: &Node, id: SessionId, asleep: OfflineSession) {
    let kept = &asleep.kept;
    if let Some(delayed) = &asleep.will {
        send_will(node, id, &kept.who, &delayed.will).await;
    }
    let who = Origin {
        session: id,
        user: &kept.who.user,
    };
    let reason = GoneReason::Lost("the session has ended".to_owned());
    tell_lanes(node, who, &kept.lanes, &reason, false).await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ends_are_told_now_and_then_and_none_is_forgotten() {
        let mut ended = Ended::default();
        assert_eq!((ended.untold(5), ended.next()), (None, u64::MAX));
        ended.note((1, 100));
        assert_eq!(ended.untold(5), Some((1, 100)));
        assert_eq!(ended.next(), u64::MAX);
        ended.note((2, 200));
        ended.note((3, 300));
        assert_eq!((ended.untold(6), ended.next()), (None, 5 + TOLD_EVERY));
        assert_eq!(ended.untold(5 + TOLD_EVERY), Some((5, 500)));
        assert_eq!(ended.untold(u64::MAX), None);
        ended.note((1, 1));
        assert_eq!(ended.untold(0), Some((1, 1)), "the clock was set back");
    }
}
