//! From an accepted CONNECT to CONNACK: negotiates settings, and registers or resumes the session.

use super::authentication::Method;
use super::client::Client;
use super::connecting::ConnectingPeer;
use super::ending::restore_offline;
use super::intake::Intake;
use super::pending::Pending;
use super::resume::resume;
use super::{Connection, Limited};
use crate::clock::lane_ms;
use crate::node::Node;
use crate::outbox::Outbox;
use crate::packet::{Authentication, ConnAck, Connect, ReasonCode, Reply, Version};
use crate::policy::{Principal, Refusal, SessionId};
use crate::session::{FOR_EVER, OutboundLimits, Session, Start, longest_expiry};
use crate::sessions::{OfflinePeriod, Registration, SessionState, end_offline_session, send_will};
use crate::transport::ListenerContext;
use bytestring::ByteString;
use roommq_config::Limits;
use std::sync::Arc;
use std::time::Duration;

/// Topic aliases that the server sets, at most, if the client accepts as many. Each holds a topic
/// of up to 64 KiB for the life of the connection. `limits.topic_aliases` bounds those that a
/// client sets.
const ALIASES_SENT: u16 = 64;

/// The settings that CONNECT and the limits of the server result in.
struct Negotiated {
    version: Version,
    /// Seconds.
    keep_alive: u16,
    /// Session expiry interval of CONNECT, in seconds.
    requested_expiry: u32,
    /// The same after the server's limit.
    session_expiry: u32,
    outbound: OutboundLimits,
    connack: ConnAck,
}

impl Negotiated {
    fn of(
        connect: &Connect,
        client_id: &ByteString,
        listener: &ListenerContext,
        limits: &Limits,
    ) -> Self {
        let version = connect.version;
        let keep_alive = keep_alive(connect, limits);
        let requested_expiry = match version {
            // 3.1.1 has no interval: the session lasts as long as the server allows
            // [3.1.1 MQTT-3.1.2-4].
            Version::V3 if connect.clean => 0,
            Version::V3 => FOR_EVER,
            Version::V5 => connect.session_expiry,
        };
        let session_expiry = requested_expiry.min(longest_expiry(limits.session_expiry));
        Negotiated {
            version,
            keep_alive,
            requested_expiry,
            session_expiry,
            outbound: OutboundLimits {
                bytes: limits.outbox_bytes,
                messages: limits.outbox_messages,
                receive_maximum: connect.receive_maximum.min(limits.inflight),
                maximum_packet_size: connect.maximum_packet_size,
                problem_information: connect.request_problem_information,
                topic_aliases: connect.topic_alias_maximum.min(ALIASES_SENT),
                age: u64::try_from(limits.queue_age.as_millis()).unwrap_or(u64::MAX),
            },
            connack: ConnAck {
                // Sent only if it differs from the request (3.2.2.3.2).
                session_expiry: (session_expiry != requested_expiry).then_some(session_expiry),
                receive_maximum: Some(limits.inflight),
                maximum_packet_size: Some(listener.layers.packet_bytes),
                // [5.0 MQTT-3.1.3-7, MQTT-3.2.2-16]
                assigned_client_id: connect.client_id.is_empty().then(|| client_id.clone()),
                // 0 is not encoded: the client may set no alias then (3.2.2.3.8).
                topic_alias_maximum: limits.topic_aliases,
                // Sent only if it differs from the request [5.0 MQTT-3.1.2-21, MQTT-3.2.2-22].
                server_keep_alive: (keep_alive != connect.keep_alive).then_some(keep_alive),
                ..ConnAck::new(ReasonCode::Success)
            },
        }
    }
}

/// The keep-alive in seconds; 0: none. Only 5.0 can tell the client of a shorter one than it asks for. One that asks
/// for none gets `limits.keep_alive_default` in both versions.
fn keep_alive(connect: &Connect, limits: &Limits) -> u16 {
    let seconds = |time: Duration| u16::try_from(time.as_secs()).unwrap_or(u16::MAX);
    let (longest, default) = (
        seconds(limits.keep_alive),
        seconds(limits.keep_alive_default),
    );
    let asked = if connect.keep_alive == 0 {
        default
    } else {
        connect.keep_alive
    };
    let exceeds = asked == 0 || asked > longest;
    if connect.version == Version::V5 && longest < u16::MAX && exceeds {
        return longest;
    }
    asked
}

/// The session of this connection, as registered.
struct RegisteredSession {
    id: SessionId,
    outbox: Arc<Outbox>,
    state: SessionState,
    /// For a resumed session: the user as of the last connection, and the rest of its offline
    /// period.
    resumed: Option<(Principal, OfflinePeriod)>,
}

/// Registers the connection, once the client's last connection has ended. Resumes the client's
/// session if the connection `resumes` and there is one [5.0 MQTT-3.1.2-5, MQTT-3.1.4-4].
///
/// # Errors
/// 0x89 (server busy) if the last connection has not ended within `limits.connect_time`; 0x88
/// during a shutdown.
async fn register_session(
    who: Principal,
    resumes: bool,
    negotiated: &Negotiated,
    node: &Node,
) -> Result<RegisteredSession, Refusal> {
    let outbox = Arc::new(Outbox::offline(
        negotiated.version,
        negotiated.outbound,
        node.counters.clone(),
    ));
    let registering = node
        .sessions
        .register(&who.user, &who.client_id, &outbox, resumes, lane_ms);
    let limit = node.limits.connect_time;
    let Ok(registration) = tokio::time::timeout(limit, registering).await else {
        let text = "another connection uses this client id and did not end in time; try again";
        return Err(Refusal::new(ReasonCode::ServerBusy, text));
    };
    let id = match registration {
        Registration::ShuttingDown => {
            let text = "the server is shutting down";
            return Err(Refusal::new(ReasonCode::ServerUnavailable, text));
        }
        Registration::Resumed(old) => {
            let (state, mut period) = old.session.into_parts();
            // A will that is not due yet is not sent [MQTT-3.1.3-9].
            if let Some((will, _)) = period.will.take_if(|(_, due)| *due <= lane_ms()) {
                send_will(node, old.id, state.connection, &state.who, &will).await;
            }
            return Ok(RegisteredSession {
                id: old.id,
                outbox: old.outbox,
                resumed: Some((state.who.clone(), period)),
                state: SessionState {
                    connection: state.connection.saturating_add(1),
                    who,
                    ..state
                },
            });
        }
        Registration::Replaced(id, old) => {
            // Clean start, or expired: the old session ends here
            // [MQTT-3.1.2-4, MQTT-3.1.2-6, MQTT-4.1.0-2].
            old.outbox.disconnect(None, false, lane_ms());
            end_offline_session(node, old.id, *old.session).await;
            id
        }
        Registration::New(id) => id,
    };
    Ok(RegisteredSession {
        id,
        outbox,
        state: SessionState::new(who),
        resumed: None,
    })
}

/// Resumes the session of a client, for `limits.connect_time` at most.
async fn resume_in_time(client: &mut Client) -> Result<(), Refusal> {
    let limit = client.node.limits.connect_time;
    match tokio::time::timeout(limit, resume(client)).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(error)) => {
            let code = ReasonCode::ServerUnavailable;
            Err(Refusal::new(code, error.to_string()))
        }
        Err(_) => {
            let text = "the session could not be resumed in time; try again";
            Err(Refusal::new(ReasonCode::ServerBusy, text))
        }
    }
}

/// Registers or resumes the session and sends CONNACK, the first packet to the client
/// [MQTT-3.2.0-1, 3.1.1 MQTT-3.1.4-4, 5.0 MQTT-3.1.4-5].
pub(super) async fn open(
    mut connect: Box<Connect>,
    who: Principal,
    authentication: Option<Authentication>,
    connecting: ConnectingPeer<'_>,
    listener: &ListenerContext,
) -> Option<Box<Connection>> {
    let (node, peer) = (connecting.node, connecting.peer);
    let mut negotiated = Negotiated::of(&connect, &who.client_id, listener, &node.limits);
    negotiated.connack.authentication = authentication;
    negotiated.connack.response_information = response_information(&connect, &who, node);
    if !fits(&negotiated.connack, &connecting) {
        // The server must not send it [MQTT-3.1.2-24], and the client would wait for it in vain.
        let (client, maximum) = (&connect.client_id, connect.maximum_packet_size);
        let user = &who.user;
        tracing::info!(%peer, %client, %user, maximum, "connection closed: CONNACK exceeds the client's maximum packet size");
        connecting.close().await;
        return None;
    }
    let user = who.user.clone();
    let registered = match register_session(who, !connect.clean, &negotiated, node).await {
        Ok(registered) => registered,
        Err(refusal) => {
            tracing::info!(%peer, client = %connect.client_id, %user, %refusal, "connection refused");
            connecting.refuse(&refusal).await;
            return None;
        }
    };
    let (state, resumed) = (registered.state, registered.resumed);
    // [MQTT-3.2.2-2, MQTT-3.2.2-3, 3.1.1 MQTT-3.2.2-1]
    negotiated.connack.session_present = resumed.is_some() && connect.level & !Connect::BRIDGE > 3;
    let session = Session::new(Start {
        version: negotiated.version,
        will: connect.will.take().map(|will| will.detached()),
        expiry: negotiated.session_expiry,
        expiry_requested: negotiated.requested_expiry > 0,
        alias_maximum: node.limits.topic_aliases,
        // [MQTT-3.3.4-7] is of 5.0.
        receive_maximum: match negotiated.version {
            Version::V5 => node.limits.inflight,
            Version::V3 => u16::MAX,
        },
        unreleased: state.unreleased,
    });
    let mut client = Client {
        node: node.clone(),
        who: state.who,
        session_id: registered.id,
        connection: state.connection,
        peer,
        session,
        keeps: negotiated.session_expiry > 0,
        outbox: registered.outbox,
        lanes: state.lanes,
        filters: state.filters,
        request_id: state.request_id,
        permit: None,
        pending: Pending::default(),
        filters_appended: 0,
        notices: Vec::new(),
        draining: false,
        ended: false,
    };
    let method = negotiated.connack.authentication.as_ref().map(Method::of);
    if let Some((who, period)) = resumed {
        let resumed = resume_in_time(&mut client).await;
        let is_evicted = node.sessions.is_evicted(client.session_id);
        if resumed.is_err() || is_evicted {
            let who = std::mem::replace(&mut client.who, who);
            restore_offline(&mut client, period).await;
            if let Err(refusal) = resumed {
                tracing::info!(%peer, client = %client.who.client_id, user = %client.who.user, %refusal, "connection refused");
                connecting.refuse(&refusal).await;
                return None;
            }
            // That has ended the session. The client finds no session, and so knows that it has
            // missed something.
            connect.will = client.session.take_will();
            let authentication = negotiated.connack.authentication;
            return Box::pin(open(connect, who, authentication, connecting, listener)).await;
        }
    }
    let (connack, keeps) = (Reply::ConnAck(Box::new(negotiated.connack)), client.keeps);
    client.outbox.set_bridge(connect.is_bridge());
    client.outbox.queue(|out| out.set_resumable(keeps));
    client.outbox.connect(
        Some(connecting.outlet),
        negotiated.version,
        negotiated.outbound,
        &connack,
        lane_ms(),
    );
    node.sessions.on_connected(client.session_id);
    tracing::debug!(user = %client.who.user, client = %client.who.client_id, %peer, version = ?negotiated.version, "client connected");
    let deadlines = client.deadlines(negotiated.keep_alive);
    let (connected, reading) = (node.connected.enter(), node.reading.enter());
    // A shutdown may have begun before the gates counted this connection.
    client.draining = client.outbox.condition().draining;
    Some(Box::new(Connection {
        client,
        link: connecting.link,
        intake: Intake::default(),
        decoder: connecting.decoder,
        deadlines,
        limited: Limited::new(&node.limits, *connecting.guards),
        method,
        reading: Some(reading),
        closing: None,
        _connected: connected,
    }))
}

/// Whether CONNACK fits into the client's maximum packet size.
fn fits(connack: &ConnAck, connecting: &ConnectingPeer<'_>) -> bool {
    let encoded = || connecting.encode(&Reply::ConnAck(Box::new(connack.clone())));
    connecting.maximum_packet_size.is_none() || !encoded().is_empty()
}

/// The response information, if CONNECT requests it [MQTT-3.1.2-28].
fn response_information(connect: &Connect, who: &Principal, node: &Node) -> Option<ByteString> {
    if !connect.request_response_information {
        return None;
    }
    node.policy.response_information(who).map(Into::into)
}
