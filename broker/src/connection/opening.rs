//! From an accepted CONNECT to an open session: terms, the session of before, CONNACK.

use super::Connection;
use super::authentication::Method;
use super::client::Client;
use super::connecting::{ConnectingPeer, speaks};
use super::ending::give_up;
use super::pending::Pending;
use super::resume::resume;
use crate::clock::now_ms;
use crate::node::Node;
use crate::outbox::Outbox;
use crate::packet::{Authentication, ConnAck, Connect, ReasonCode, Reply, Version, encode};
use crate::policy::{Principal, Refusal, SessionId};
use crate::session::{FOR_EVER, Filters, OutboundLimits, Session, Start, longest_expiry};
use crate::sessions::{
    Absence, OfflineSession, Registration, SessionState, end_offline_session, send_will,
};
use crate::transport::{Link, ListenerContext};
use bytestring::ByteString;
use roommq_config::Limits;
use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;

/// Topic aliases that a client is sent, where it takes as many: each keeps a topic of up to 64 KiB for as long as
/// the connection lives. How many it may set itself is `limits.topic_aliases`.
const ALIASES_SENT: u16 = 64;

/// What both sides hold themselves to.
struct Terms {
    version: Version,
    /// Seconds.
    keep_alive: u16,
    /// Seconds that the session outlives its connection: asked for, and left of it.
    asked: u32,
    expiry: u32,
    outbound: OutboundLimits,
    connack: ConnAck,
}

impl Terms {
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
        let asked = match version {
            // 3.1.1 keeps what is not clean for as long as the server will [MQTT-3.1.2-4].
            Version::V3 if connect.clean => 0,
            Version::V3 => FOR_EVER,
            Version::V5 => connect.session_expiry,
        };
        let expiry = asked.min(longest_expiry(limits.session_expiry));
        Terms {
            version,
            keep_alive,
            asked,
            expiry,
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
                session_expiry: (expiry != asked).then_some(expiry),
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
pub(super) struct Admitted {
    pub connect: Box<Connect>,
    pub who: Principal,
    pub client_id: ByteString,
    /// How it was found out, where CONNECT named a method.
    pub authentication: Option<Authentication>,
}

/// A session that the registry has given to this connection, and what it had before.
struct Taken {
    id: SessionId,
    outbox: Arc<Outbox>,
    kept: SessionState,
    /// Where it goes on with what it had: whose it was, and how it was without a connection.
    before: Option<(Principal, Absence)>,
}

/// Enters the session, or wakes it where it `resumes` and still can [5.0 MQTT-3.1.2-5, MQTT-3.1.4-4], once the
/// connection before it has ended.
async fn take_session(
    who: Principal,
    client_id: ByteString,
    resumes: bool,
    terms: &Terms,
    node: &Node,
) -> Result<Taken, Refusal> {
    let fresh = Arc::new(Outbox::asleep(
        terms.version,
        terms.outbound,
        node.counters.clone(),
    ));
    let entering = node
        .sessions
        .enter(&who.user, &client_id, &fresh, resumes, now_ms);
    let limit = node.limits.connect_time;
    let Ok(entered) = tokio::time::timeout(limit, entering).await else {
        let text = "the connection that uses this client id did not end in time; try again";
        return Err(Refusal::new(ReasonCode::ServerBusy, text));
    };
    let (id, old) = match entered {
        Registration::Shut => {
            let text = "the server is shutting down";
            return Err(Refusal::new(ReasonCode::ServerUnavailable, text));
        }
        Registration::Resumed(id, old, outbox, asleep) => {
            let OfflineSession {
                kept,
                since,
                expires,
                will,
                ..
            } = *asleep;
            let mut will = will.map(|delayed| (delayed.will, delayed.due));
            // A will that was not due yet is not sent [MQTT-3.1.3-9].
            if let Some((will, _)) = will.take_if(|(_, due)| *due <= now_ms()) {
                send_will(node, old, &kept.who, &will).await;
            }
            return Ok(Taken {
                id,
                outbox,
                before: Some((
                    kept.who.clone(),
                    Absence {
                        since,
                        expires,
                        will,
                    },
                )),
                kept: SessionState { who, ..kept },
            });
        }
        Registration::Replaced(id, old, theirs, asleep) => (id, Some((old, theirs, asleep))),
        Registration::New(id) => (id, None),
    };
    if let Some((old, theirs, asleep)) = old {
        // Clean start, or its time was over: what there was ends here [MQTT-3.1.2-4, MQTT-3.1.2-6, MQTT-4.1.0-2].
        theirs.part(None, false, now_ms());
        end_offline_session(node, old, *asleep).await;
    }
    Ok(Taken {
        id,
        outbox: fresh,
        kept: SessionState {
            who,
            client_id,
            unreleased: HashSet::new(),
            filters: Filters::default(),
            lanes: BTreeSet::new(),
            request_id: 0,
        },
        before: None,
    })
}

/// Enters or wakes the session and sends CONNACK, the first packet of all
/// [MQTT-3.2.0-1, 3.1.1 MQTT-3.1.4-4, 5.0 MQTT-3.1.4-5].
pub(super) async fn open(
    admitted: Admitted,
    connecting: ConnectingPeer<'_>,
    listener: &ListenerContext,
    node: &Arc<Node>,
) -> Option<(Box<Connection>, Link, u16)> {
    let Admitted {
        connect,
        who,
        client_id,
        authentication,
    } = admitted;
    let spoken = speaks(&connect);
    let mut terms = Terms::of(&connect, &client_id, listener, &node.limits);
    terms.connack.authentication = authentication;
    terms.connack.response_information = answers_to(&connect, &who, node);
    if !fits(&terms) {
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
    let taken = match take_session(who, client_id, resumes, &terms, node).await {
        Ok(taken) => taken,
        Err(refusal) => {
            connecting.refuse(spoken, &refusal).await;
            return None;
        }
    };
    let Taken {
        id,
        outbox,
        kept,
        before,
    } = taken;
    terms.connack.session_present = before.is_some() && connect.level > 3; // [MQTT-3.2.2-2, MQTT-3.2.2-3, 3.1.1 MQTT-3.2.2-1]
    let session = Session::new(Start {
        version: terms.version,
        will: connect.will,
        expiry: terms.expiry,
        may_stay: terms.asked > 0,
        alias_maximum: node.limits.topic_aliases,
        // [MQTT-3.3.4-7] is of 5.0.
        receive_maximum: match terms.version {
            Version::V5 => node.limits.inflight,
            Version::V3 => u16::MAX,
        },
        unreleased: kept.unreleased,
    });
    let peer = connecting.peer;
    let client = Client {
        node: node.clone(),
        who: kept.who,
        id,
        name: kept.client_id,
        peer,
        session,
        outbox,
        lanes: kept.lanes,
        filters: kept.filters,
        request_id: kept.request_id,
        permit: None,
        pending: Pending::default(),
        notices: Vec::new(),
        ended: false,
    };
    let method = terms.connack.authentication.as_ref().map(Method::of);
    let mut connection = Box::new(Connection {
        client,
        decoder: connecting.decoder.clone(),
        method,
        draining: false,
    });
    let client = &mut connection.client;
    if let Some((who, before)) = before {
        let ended = tokio::time::timeout(node.limits.connect_time, resume(client)).await;
        if !matches!(ended, Ok(Ok(()))) {
            client.who = who;
            give_up(client, before).await;
            let text = "the session could not be resumed in time; try again";
            let refusal = Refusal::new(ReasonCode::ServerBusy, text);
            connecting.refuse(spoken, &refusal).await;
            return None;
        }
    }
    let connack = Reply::ConnAck(Box::new(terms.connack));
    client.outbox.open(
        Some(connecting.outlet),
        terms.version,
        terms.outbound,
        &connack,
        now_ms(),
    );
    node.sessions.opened(client.id);
    tracing::debug!(user = %client.who.user, client = %client.name, %peer, version = ?terms.version, "connected");
    Some((connection, connecting.link, terms.keep_alive))
}

/// Whether the client takes a packet as large as its CONNACK.
fn fits(terms: &Terms) -> bool {
    let largest = terms.outbound.maximum_packet_size;
    if largest.is_none() {
        return true;
    }
    let connack = Reply::ConnAck(Box::new(terms.connack.clone()));
    let mut bytes = Vec::new();
    encode(terms.version, &connack, true, largest, &mut bytes);
    !bytes.is_empty()
}

/// Where the client's answers come, told to who asks [MQTT-3.1.2-28].
fn answers_to(connect: &Connect, who: &Principal, node: &Node) -> Option<ByteString> {
    if !connect.request_response_information {
        return None;
    }
    node.policy.response_information(who).map(Into::into)
}
