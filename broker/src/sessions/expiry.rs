//! The wills and ends of sessions whose client does not return.

use super::ending::{notify_lanes, send_will};
use super::offline::{Due, OfflineSession};
use crate::clock;
use crate::node::Node;
use crate::policy::{EndReason, SessionId};
use crate::rate_limiter::RateLimiter;
use futures_util::stream::{FuturesUnordered, StreamExt};
use std::sync::Arc;

/// Milliseconds between two log lines about evicted sessions, at least.
const LOG_INTERVAL_MS: u64 = 10_000;

/// Sends wills that are due, ends expired sessions, and evicts some above `limits.kept_bytes`. Runs
/// for ever, as the server's only such task.
pub(crate) async fn expire_offline_sessions(node: Arc<Node>) {
    let (sessions, kept) = (&node.sessions, &node.counters.kept);
    let mut evicted = RateLimiter::every(LOG_INTERVAL_MS);
    let mut evicted_bytes = 0;
    // A full lane must not delay what is due in the others.
    let mut under_way = FuturesUnordered::new();
    loop {
        for session in sessions.evict(kept) {
            evicted.note(1);
            evicted_bytes += session.bytes;
            let due = session.release_queue(kept, clock::lane_ms());
            under_way.push(carry_out(&node, due));
        }
        for due in sessions.take_evicted() {
            evicted.note(1);
            under_way.push(carry_out(&node, due));
        }
        if let Some(sessions) = evicted.take(clock::lane_ms()) {
            let (bytes, limit) = (std::mem::take(&mut evicted_bytes), node.limits.kept_bytes);
            tracing::warn!(
                sessions,
                bytes,
                limit,
                "offline sessions evicted: limits.kept_bytes is almost reached"
            );
        }
        let (due, next) = sessions.due(clock::lane_ms());
        under_way.extend(due.into_iter().map(|due| carry_out(&node, due)));
        let next = [next, evicted.due()].into_iter().flatten().min();
        tokio::select! {
            () = clock::sleep_until(next) => {}
            () = sessions.due_earlier.notified() => {}
            () = kept.needs_eviction.notified() => {}
            Some(()) = under_way.next() => {}
        }
    }
}

/// Sends a will that is due, or ends a session, and tells the registry when that is done.
pub(crate) async fn carry_out(node: &Node, due: Due) {
    match due {
        Due::Will(id, connection, who, delayed) => {
            send_will(node, id, connection, &who, &delayed.will).await;
            node.sessions.will_logged(id);
        }
        Due::End(id, offline) => {
            node.sessions.wait_for_will(id).await;
            let who = &offline.state.who;
            let (user, client) = (&who.user, &who.client_id);
            tracing::debug!(%user, %client, "offline session ended");
            if let Some(outbox) = node.sessions.outbox(id) {
                outbox.disconnect(None, false, clock::lane_ms());
            }
            end_offline_session(node, id, *offline).await;
            node.sessions.remove(id);
        }
    }
}

/// Ends an offline session in the lanes. A will that is not sent yet is sent now [MQTT-3.1.2-8].
pub(crate) async fn end_offline_session(node: &Node, id: SessionId, offline: OfflineSession) {
    let state = &offline.state;
    if let Some(delayed) = &offline.will {
        send_will(node, id, state.connection, &state.who, &delayed.will).await;
    }
    let reason = EndReason::Lost("the session has ended".to_owned());
    notify_lanes(node, state.actor(id), &state.lanes, &reason, None).await;
}
