//! From an accepted CONNECT to an open session: terms, the session of before, CONNACK.

use super::Connection;
use super::authentication::Method;
use super::client::Client;
use super::connecting::{ConnectingPeer, ReplyFormat};
use super::ending::restore_offline;
use super::pending::Pending;
use super::resume::resume;
use crate::clock::now_ms;
use crate::node::Node;
use crate::outbox::Outbox;
use crate::packet::{Authentication, ConnAck, Connect, ReasonCode, Reply, Version, encode};
use crate::policy::{Principal, Refusal, SessionId};
use crate::session::{FOR_EVER, OutboundLimits, Session, Start, longest_expiry};
use crate::sessions::{OfflinePeriod, Registration, SessionState, end_offline_session, send_will};
use crate::transport::{Link, ListenerContext};
use bytestring::ByteString;
use roommq_config::Limits;
use std::sync::Arc;

/// Topic aliases that a client is sent, where it takes as many: each keeps a topic of up to 64 KiB for as long as
/// the connection lives. How many it may set itself is `limits.topic_aliases`.
const ALIASES_SENT: u16 = 64;

/// What both sides hold themselves to.
struct Negotiated {
    version: Version,
    /// Seconds.
    keep_alive: u16,
    /// Seconds that the session outlives its connection: asked for, and left of it.
    requested_expiry: u32,
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
        let longest = u16::try_from(limits.keep_alive.as_secs()).unwrap_or(u16::MAX);
        // Only 5.0 can be told of another keep-alive than it asked for [5.0 MQTT-3.1.2-21, MQTT-3.2.2-22].
        let shorter = version == Version::V5
            && longest < u16::MAX
            && (connect.keep_alive == 0 || connect.keep_alive > longest);
        let keep_alive = if shorter { longest } else { connect.keep_alive };
        let requested_expiry = match version {
            // 3.1.1 keeps what is not clean for as long as the server will [MQTT-3.1.2-4].
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
                // Only where it is not what was asked for (3.2.2.3.2): without a cap it always is.
                session_expiry: (session_expiry != requested_expiry).then_some(session_expiry),
                receive_maximum: Some(limits.inflight),
                maximum_packet_size: Some(listener.layers.packet_bytes),
                // [5.0 MQTT-3.1.3-7, MQTT-3.2.2-16]
                assigned_client_id: connect.client_id.is_empty().then(|| client_id.clone()),
                // 0 is left out: no alias may be set then (3.2.2.3.8).
                topic_alias_maximum: limits.topic_aliases,
                server_keep_alive: shorter.then_some(longest),
                ..ConnAck::new(ReasonCode::Success)
            },
        }
    }
}

/// Somebody whom the policy lets in.
pub(super) struct AcceptedConnect {
    pub connect: Box<Connect>,
    pub who: Principal,
    pub client_id: ByteString,
    /// How it was found out, where CONNECT named a method.
    pub authentication: Option<Authentication>,
}

/// A session that the registry has given to this connection, and what it had before.
struct RegisteredSession {
    id: SessionId,
    outbox: Arc<Outbox>,
    state: SessionState,
    /// Where it goes on with what it had: whose it was, and how it was without a connection.
    resumed: Option<(Principal, OfflinePeriod)>,
}

/// Enters the session, or wakes it where it `resumes` and still can [5.0 MQTT-3.1.2-5, MQTT-3.1.4-4], once the
/// connection before it has ended.
async fn register_session(
    who: Principal,
    client_id: ByteString,
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
        .register(&who.user, &client_id, &outbox, resumes, now_ms);
    let limit = node.limits.connect_time;
    let Ok(registration) = tokio::time::timeout(limit, registering).await else {
        let text = "the connection that uses this client id did not end in time; try again";
        return Err(Refusal::new(ReasonCode::ServerBusy, text));
    };
    let id = match registration {
        Registration::ShuttingDown => {
            let text = "the server is shutting down";
            return Err(Refusal::new(ReasonCode::ServerUnavailable, text));
        }
        Registration::Resumed(id, old) => {
            let (state, mut period) = old.session.into_parts();
            // A will that was not due yet is not sent [MQTT-3.1.3-9].
            if let Some((will, _)) = period.will.take_if(|(_, due)| *due <= now_ms()) {
                send_will(node, old.id, &state.who, &will).await;
            }
            return Ok(RegisteredSession {
                id,
                outbox: old.outbox,
                resumed: Some((state.who.clone(), period)),
                state: SessionState { who, ..state },
            });
        }
        Registration::Replaced(id, old) => {
            // Clean start, or its time was over: what there was ends here [MQTT-3.1.2-4, MQTT-3.1.2-6, MQTT-4.1.0-2].
            old.outbox.disconnect(None, false, now_ms());
            end_offline_session(node, old.id, *old.session).await;
            id
        }
        Registration::New(id) => id,
    };
    Ok(RegisteredSession {
        id,
        outbox,
        state: SessionState::new(who, client_id),
        resumed: None,
    })
}

/// Enters or wakes the session and sends CONNACK, the first packet of all
/// [MQTT-3.2.0-1, 3.1.1 MQTT-3.1.4-4, 5.0 MQTT-3.1.4-5].
pub(super) async fn open(
    accepted: AcceptedConnect,
    connecting: ConnectingPeer<'_>,
    listener: &ListenerContext,
    node: &Arc<Node>,
) -> Option<(Box<Connection>, Link, u16)> {
    let AcceptedConnect {
        connect,
        who,
        client_id,
        authentication,
    } = accepted;
    let reply_format = ReplyFormat::of(&connect);
    let mut negotiated = Negotiated::of(&connect, &client_id, listener, &node.limits);
    negotiated.connack.authentication = authentication;
    negotiated.connack.response_information = response_information(&connect, &who, node);
    if !connack_fits(&negotiated) {
        // Who would wait for it in vain is better told by the close [MQTT-3.1.2-24].
        let (peer, client, most) = (
            connecting.peer,
            &connect.client_id,
            connect.maximum_packet_size,
        );
        tracing::info!(%peer, %client, ?most, "closed: CONNACK is larger than the client's maximum packet size");
        connecting.close().await;
        return None;
    }
    let resumes = !connect.clean;
    let registered = match register_session(who, client_id, resumes, &negotiated, node).await {
        Ok(registered) => registered,
        Err(refusal) => {
            connecting.refuse(reply_format, &refusal).await;
            return None;
        }
    };
    let RegisteredSession {
        id,
        outbox,
        state,
        resumed,
    } = registered;
    negotiated.connack.session_present = resumed.is_some() && connect.level > 3; // [MQTT-3.2.2-2, MQTT-3.2.2-3, 3.1.1 MQTT-3.2.2-1]
    let session = Session::new(Start {
        version: negotiated.version,
        will: connect.will,
        expiry: negotiated.session_expiry,
        may_stay: negotiated.requested_expiry > 0,
        alias_maximum: node.limits.topic_aliases,
        // [MQTT-3.3.4-7] is of 5.0.
        receive_maximum: match negotiated.version {
            Version::V5 => node.limits.inflight,
            Version::V3 => u16::MAX,
        },
        unreleased: state.unreleased,
    });
    let peer = connecting.peer;
    let client = Client {
        node: node.clone(),
        who: state.who,
        session_id: id,
        client_id: state.client_id,
        peer,
        session,
        outbox,
        lanes: state.lanes,
        filters: state.filters,
        request_id: state.request_id,
        permit: None,
        pending: Pending::default(),
        notices: Vec::new(),
        ended: false,
    };
    let method = negotiated.connack.authentication.as_ref().map(Method::of);
    let mut connection = Box::new(Connection {
        client,
        decoder: connecting.decoder.clone(),
        method,
        draining: false,
    });
    let client = &mut connection.client;
    if let Some((who, period)) = resumed {
        let resuming = tokio::time::timeout(node.limits.connect_time, resume(client)).await;
        if !matches!(resuming, Ok(Ok(()))) {
            client.who = who;
            restore_offline(client, period).await;
            let text = "the session could not be resumed in time; try again";
            let refusal = Refusal::new(ReasonCode::ServerBusy, text);
            connecting.refuse(reply_format, &refusal).await;
            return None;
        }
    }
    let connack = Reply::ConnAck(Box::new(negotiated.connack));
    client.outbox.connect(
        Some(connecting.outlet),
        negotiated.version,
        negotiated.outbound,
        &connack,
        now_ms(),
    );
    node.sessions.on_connected(client.session_id);
    tracing::debug!(user = %client.who.user, client = %client.client_id, %peer, version = ?negotiated.version, "connected");
    Some((connection, connecting.link, negotiated.keep_alive))
}

/// Whether the client takes a packet as large as its CONNACK.
fn connack_fits(negotiated: &Negotiated) -> bool {
    let largest = negotiated.outbound.maximum_packet_size;
    if largest.is_none() {
        return true;
    }
    let connack = Reply::ConnAck(Box::new(negotiated.connack.clone()));
    let mut bytes = Vec::new();
    encode(negotiated.version, &connack, true, largest, &mut bytes);
    !bytes.is_empty()
}

/// Where the client's answers come, told to who asks [MQTT-3.1.2-28].
fn response_information(connect: &Connect, who: &Principal, node: &Node) -> Option<ByteString> {
    if !connect.request_response_information {
        return None;
    }
    node.policy.response_information(who).map(Into::into)
}
