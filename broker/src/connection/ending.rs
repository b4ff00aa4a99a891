//! How a connection ends: the last words, the will, and word to every lane that knew the session.

use super::client::Client;
use crate::clock;
use crate::lane::Origin;
use crate::outbox::Outbox;
use crate::packet::{DecodeError, ReasonCode};
use crate::policy::EndReason;
use crate::session::{Close, FOR_EVER, longest_expiry};
use crate::sessions::{
    OfflinePeriod, OfflineSession, SessionState, carry_out, notify_lanes, send_will,
};
use crate::transport::{CLOSE_TIME, Link};
use futures_util::future::join_all;
use std::io;
use std::time::Duration;
use tokio::time::Instant;

/// Why a connection ends.
#[derive(Debug)]
pub(super) enum Ending {
    /// DISCONNECT by the client.
    Disconnect,
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

    /// The peer's stream has ended without a DISCONNECT.
    pub(super) fn without_disconnect() -> Self {
        Ending::lost("connection closed without DISCONNECT")
    }

    /// The stream can be read or written no more.
    pub(super) fn lost_with(kind: io::ErrorKind) -> Self {
        Ending::lost(&format!("connection lost: {kind}"))
    }

    /// A read has failed. Bytes that are no frame, or a frame that is too large, are the peer's fault, and it is told so;
    /// anything else is the network's.
    pub(super) fn unreadable(error: &io::Error) -> Self {
        let reason = match error.kind() {
            io::ErrorKind::InvalidData => ReasonCode::ProtocolError,
            io::ErrorKind::FileTooLarge => ReasonCode::PacketTooLarge,
            kind => return Ending::lost_with(kind),
        };
        let text = error.to_string();
        Ending::Closed(Close { reason, text })
    }

    /// The peer has sent what is no packet, or none that may come now.
    pub(super) fn bad_packet(error: &DecodeError) -> Self {
        Ending::Closed(Close {
            reason: error.reason(),
            text: error.to_string(),
        })
    }
}

/// Ends the connection: the session's end or its time offline, the last words if there are any [5.0 MQTT-3.14.4-2,
/// MQTT-4.13.2-1], and the close.
pub(super) async fn end(client: &mut Client, ending: Ending, mut link: Link) {
    let reason = match &ending {
        _ if client.session.left_in_order() => EndReason::Orderly,
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
        tracing::debug!(peer = %client.peer, "closed with bytes that the peer did not take");
    }
    // This shuts the sending side.
    drop(rest);
    link.close(until, matches!(ending, Ending::Closed(_))).await;
    let (user, id, peer) = (&client.who.user, &client.client_id, client.peer);
    let dropped = client.outbox.dropped();
    match reason {
        EndReason::Orderly => tracing::debug!(%user, client = %id, %peer, dropped, "left"),
        EndReason::Lost(reason) => {
            tracing::info!(%user, client = %id, %peer, dropped, reason, "connection ended");
        }
    }
}

/// Ends the connection for everybody but its peer: last words, will, lanes, registry. The session stays, offline, if
/// it has time left [5.0 MQTT-3.1.2-23]. Gives back the bytes that the socket has not taken yet.
async fn disconnect(client: &mut Client, last: Option<&Close>, reason: &EndReason) -> Outbox {
    let since = clock::now_ms();
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

/// The connection could not take its session up. The session stays offline as if nobody had come: with the time and the
/// will that it had `before`.
pub(super) async fn restore_offline(client: &mut Client, period: OfflinePeriod) {
    let reason = EndReason::Lost("could not be resumed".to_owned());
    end_session_or_go_offline(client, None, &reason, period).await;
}

async fn end_session_or_go_offline(
    client: &mut Client,
    last: Option<&Close>,
    reason: &EndReason,
    mut period: OfflinePeriod,
) -> Outbox {
    client.ended = true;
    let now = clock::now_ms();
    let node = client.node.clone();
    let resumable = period.expires > now && !node.sessions.is_shutting_down();
    let rest = client.outbox.disconnect(last, resumable, now);
    client.remove_refused_filters();
    // A will that is due has its place in the log before the end of its session.
    if let Some((will, _)) = period.will.take_if(|(_, due)| !resumable || *due <= now) {
        send_will(&node, client.session_id, &client.who, &will).await;
    }
    notify_lanes(&node, client.origin(), &client.lanes, reason, resumable).await;
    if !resumable {
        node.sessions.remove(client.session_id);
        return rest;
    }
    let state = SessionState {
        who: client.who.clone(),
        client_id: client.client_id.clone(),
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
    // Only from now on can it be one of those that are evicted for others.
    counters.kept.notify_if_high();
    // If one lane is full, the ends in others do not wait for it.
    join_all(ended.into_iter().map(|due| carry_out(&node, due))).await;
    rest
}

/// Ends a session whose task is panicking: no ghost stays, neither in a room nor for the next connection with its client
/// id. Its will is sent as after any other loss [MQTT-3.1.2-8].
pub(super) fn end_after_panic(client: &mut Client) {
    tracing::error!(user = %client.who.user, client = %client.client_id, "a connection has panicked");
    client.outbox.disconnect(None, false, clock::now_ms());
    let (node, id, who) = (client.node.clone(), client.session_id, client.who.clone());
    let lanes = std::mem::take(&mut client.lanes);
    // A delay is over with the session (3.1.3.2.2).
    let will = client.session.take_will();
    let Ok(runtime) = tokio::runtime::Handle::try_current() else {
        return;
    };
    runtime.spawn(async move {
        if let Some(will) = will {
            let (node, who) = (node.clone(), who.clone());
            let sent = async move { send_will(&node, id, &who, &will).await };
            // In a task of its own: the fault may hit the will as well, and the lanes are to be told even so.
            let _ = tokio::spawn(sent).await;
        }
        let origin = Origin {
            session: id,
            user: &who.user,
        };
        let reason = EndReason::Lost("an error of the server".to_owned());
        notify_lanes(&node, origin, &lanes, &reason, false).await;
        node.sessions.remove(id);
    });
}
