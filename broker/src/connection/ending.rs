//! The end of a connection: DISCONNECT, the will, the entries in the session's lanes, and the
//! close.

use super::client::Client;
use crate::clock;
use crate::outbox::Outbox;
use crate::packet::{DecodeError, ReasonCode};
use crate::policy::EndReason;
use crate::session::{Close, FOR_EVER, longest_expiry};
use crate::sessions::{
    LastWords, OfflinePeriod, OfflineSession, SessionState, carry_out, notify_lanes, send_will,
};
use crate::transport::{CLOSE_TIME, Link};
use futures_util::future::join_all;
use std::io;
use std::time::Duration;
use tokio::time::Instant;

/// Why a connection ends.
#[derive(Debug)]
pub(super) enum Ending {
    /// The client sent DISCONNECT.
    Disconnect,
    /// The connection was lost.
    Lost(String),
    /// The server ends the connection for this reason.
    Closed(Close),
}

impl Ending {
    pub(super) fn lost(text: &str) -> Self {
        Ending::Lost(text.to_owned())
    }

    /// The peer has closed the connection without DISCONNECT.
    pub(super) fn without_disconnect() -> Self {
        Ending::lost("connection closed without DISCONNECT")
    }

    /// A read or write has failed.
    pub(super) fn lost_with(kind: io::ErrorKind) -> Self {
        Ending::lost(&format!("connection lost: {kind}"))
    }

    /// A read has failed. If the peer has sent an invalid or too large frame, the server tells it
    /// so by DISCONNECT. Any other error is the network's.
    pub(super) fn unreadable(error: &io::Error) -> Self {
        let reason = match error.kind() {
            io::ErrorKind::InvalidData => ReasonCode::ProtocolError,
            io::ErrorKind::FileTooLarge => ReasonCode::PacketTooLarge,
            kind => return Ending::lost_with(kind),
        };
        let text = error.to_string();
        Ending::Closed(Close { reason, text })
    }

    /// The peer has sent an invalid packet, or one that is not allowed now.
    pub(super) fn bad_packet(error: &DecodeError) -> Self {
        let (reason, text) = (error.reason(), error.to_string());
        Ending::Closed(Close { reason, text })
    }
}

impl From<Close> for Ending {
    fn from(close: Close) -> Self {
        Ending::Closed(close)
    }
}

/// Ends the connection. The session ends or goes offline, a 5.0 client gets DISCONNECT if the
/// server ends the connection [5.0 MQTT-3.14.4-2, MQTT-4.13.2-1], and the socket is closed.
pub(super) async fn end(client: &mut Client, ending: Ending, link: &mut Link) {
    let reason = match &ending {
        _ if client.session.has_disconnected() => EndReason::Orderly,
        Ending::Disconnect => EndReason::Orderly,
        Ending::Lost(text) => EndReason::Lost(text.clone()),
        Ending::Closed(close) => EndReason::Lost(close.text.clone()),
    };
    let last = match &ending {
        Ending::Closed(close) => Some(close),
        Ending::Disconnect | Ending::Lost(_) => None,
    };
    if let Some(close) = last {
        client.node.counters.ended(close.reason);
    }
    let rest = disconnect(client, last, &reason).await;
    let limit = match &ending {
        Ending::Closed(close) if close.reason == ReasonCode::ServerShuttingDown => {
            client.node.limits.shutdown_time / 2
        }
        Ending::Closed(_) | Ending::Disconnect => CLOSE_TIME,
        Ending::Lost(_) => Duration::ZERO,
    };
    let until = Instant::now() + limit;
    if tokio::time::timeout_at(until, link.drain(&rest))
        .await
        .is_err()
    {
        tracing::debug!(peer = %client.peer, "connection closed with unsent bytes: the peer did not read");
    }
    // This shuts the sending side.
    drop(rest);
    link.close(until, matches!(ending, Ending::Closed(_))).await;
    let (user, id, peer) = (&client.who.user, &client.who.client_id, client.peer);
    let dropped = client.outbox.dropped();
    match reason {
        EndReason::Orderly => {
            tracing::debug!(%user, client = %id, %peer, dropped, "client disconnected");
        }
        EndReason::Lost(reason) => {
            tracing::info!(%user, client = %id, %peer, dropped, reason, "connection ended");
        }
    }
}

/// Disconnects the outbox, and tells the lanes and the registry. The session goes offline if its
/// expiry interval is not 0 [5.0 MQTT-3.1.2-23]. Returns the bytes that the socket has not taken
/// yet.
async fn disconnect(client: &mut Client, last: Option<&Close>, reason: &EndReason) -> Outbox {
    let since = clock::lane_ms();
    let longest = longest_expiry(client.node.limits.session_expiry);
    let expiry = client.session.expiry().min(longest);
    let after = |seconds: u32| since + u64::from(seconds) * 1000;
    let period = OfflinePeriod {
        since,
        expires: match expiry {
            FOR_EVER => u64::MAX,
            seconds => after(seconds),
        },
        will: client.session.take_will().map(|will| {
            let due = after(will.delay.min(expiry));
            (will, due)
        }),
    };
    end_session_or_go_offline(client, last, reason, period).await
}

/// Ends a connection that could not resume its session. The session goes offline again, for the
/// rest of its old `period` and with its old will.
pub(super) async fn restore_offline(client: &mut Client, period: OfflinePeriod) {
    let reason = EndReason::Lost("the session could not be resumed".to_owned());
    end_session_or_go_offline(client, None, &reason, period).await;
}

/// Disconnects the outbox. Then the session ends if its `period` is over or the server is shutting
/// down, and goes offline otherwise.
async fn end_session_or_go_offline(
    client: &mut Client,
    last: Option<&Close>,
    reason: &EndReason,
    mut period: OfflinePeriod,
) -> Outbox {
    client.ended = true;
    let now = clock::lane_ms();
    let node = client.node.clone();
    let resumable = period.expires > now && !node.sessions.is_shutting_down();
    let rest = client.outbox.disconnect(last, resumable, now);
    client.remove_refused_filters();
    let (lanes, authenticated) = (&client.lanes, client.who.authenticated);
    let last_words = client
        .outbox
        .queue(|out| LastWords::of(out, lanes, authenticated));
    // The entry of a will precedes that of its session's end.
    if let Some((will, _)) = period.will.take_if(|(_, due)| !resumable || *due <= now) {
        send_will(
            &node,
            client.session_id,
            client.connection,
            &client.who,
            &will,
        )
        .await;
    }
    notify_lanes(
        &node,
        client.who.actor(client.session_id, client.connection),
        &client.lanes,
        reason,
        last_words.filter(|_| resumable),
    )
    .await;
    if !resumable {
        node.sessions.remove(client.session_id);
        return rest;
    }
    let state = SessionState {
        connection: client.connection,
        who: client.who.clone(),
        unreleased: client.session.take_unreleased(),
        filters: std::mem::take(&mut client.filters),
        lanes: std::mem::take(&mut client.lanes),
        request_id: client.request_id,
    };
    let counters = &node.counters;
    let offline = Box::new(OfflineSession::new(state, period, counters));
    let ended = node
        .sessions
        .go_offline(client.session_id, offline, &counters.kept, now);
    // Now that the session is registered as offline it can be evicted.
    counters.kept.notify_if_high();
    // A full lane must not delay the ends in the others.
    join_all(ended.into_iter().map(|due| carry_out(&node, due))).await;
    rest
}

impl Drop for Client {
    fn drop(&mut self) {
        if !self.ended && std::thread::panicking() {
            end_after_panic(self);
        }
    }
}

/// Ends the session of a task that panics, so that it stays neither in rooms nor in the registry.
/// Its will is sent as after any lost connection [MQTT-3.1.2-8].
fn end_after_panic(client: &mut Client) {
    tracing::error!(user = %client.who.user, client = %client.who.client_id, "connection task panicked");
    client.outbox.disconnect(None, false, clock::lane_ms());
    let (node, id, connection) = (client.node.clone(), client.session_id, client.connection);
    let who = client.who.clone();
    let lanes = std::mem::take(&mut client.lanes);
    // The session ends now, so the will's delay does, too (3.1.3.2.2).
    let will = client.session.take_will();
    let Ok(runtime) = tokio::runtime::Handle::try_current() else {
        return;
    };
    runtime.spawn(async move {
        if let Some(will) = will {
            let (node, who) = (node.clone(), who.clone());
            let sent = async move { send_will(&node, id, connection, &who, &will).await };
            // In a task of its own: if the will causes a panic, too, the lanes must still be told.
            let _ = tokio::spawn(sent).await;
        }
        let reason = EndReason::Lost("internal server error".to_owned());
        notify_lanes(&node, who.actor(id, connection), &lanes, &reason, None).await;
        node.sessions.remove(id);
    });
}
