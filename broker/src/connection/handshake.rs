//! From an open socket to an accepted CONNECT. Every refusal is answered by a CONNACK [MQTT-3.2.2-6].

use super::ending::LAST_WORDS;
use super::intake::{Intake, Woken};
use super::sleepers::bury;
use super::{Connection, Link, Shared};
use crate::clock::now_ms;
use crate::outbox::Outbox;
use crate::outlet::Outlet;
use crate::packet::{
    ConnAck, Connect, DecodeError, Decoder, Packet, ReasonCode, Reply, Version, encode,
};
use crate::policy::{ConnectRequest, GoneReason, Peer, Principal, Refusal};
use crate::session::{OutboundLimits, Session, Start};
use crate::sessions::{Entered, Kept};
use bytestring::ByteString;
use roommq_config::Limits;
use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;
use tokio::time::Instant;

/// Topic aliases that a client may use: each keeps a topic of up to 64 KiB for as long as the connection lives.
const ALIAS_MAXIMUM: u16 = 64;

/// The connection, and its keep-alive in seconds; none where it was refused or went.
pub(super) async fn accept(
    link: &mut Link,
    outlet: Outlet,
    intake: &mut Intake,
    peer: Peer,
    shared: &Arc<Shared>,
) -> Option<(Box<Connection>, u16)> {
    let mut decoder = Decoder::new(shared.limits.packet_bytes);
    let limit = shared.limits.connect_time;
    let first = tokio::time::timeout(limit, first_packet(link, intake, &mut decoder)).await;
    let connect = match first {
        Err(_) => {
            tracing::info!(%peer, "no CONNECT within {limit:?}");
            return None;
        }
        Ok(Err(None)) => {
            tracing::debug!(%peer, "gone before CONNECT");
            return None;
        }
        Ok(Err(Some(error))) => {
            tracing::info!(%peer, %error, "a bad CONNECT");
            if let Some(version) = error.connack_version() {
                refuse(
                    link,
                    outlet,
                    (version, None),
                    error.reason(),
                    &error.to_string(),
                )
                .await;
            }
            return None;
        }
        Ok(Ok(connect)) => connect,
    };
    if shared.living.count() > shared.limits.connections {
        let most = shared.limits.connections;
        tracing::warn!(%peer, "refused: {most} connections are open");
        let text = format!("the server has {most} connections, as many as it may");
        refuse(
            link,
            outlet,
            speaks(&connect),
            ReasonCode::ServerBusy,
            &text,
        )
        .await;
        return None;
    }
    // Password checks are few at a time; who waits for one is not kept waiting for ever.
    let admitted = tokio::time::timeout(limit, admit(&connect, peer, shared)).await;
    let busy = |_| Refusal {
        code: ReasonCode::ServerBusy,
        reason: format!("credentials could not be checked within {limit:?}; try again later"),
    };
    match admitted.map_err(busy).flatten() {
        Ok((who, client_id)) => {
            let admitted = Admitted {
                connect,
                who,
                client_id,
                peer,
            };
            open(admitted, link, outlet, decoder, shared).await
        }
        Err(refusal) => {
            tracing::info!(%peer, client = %connect.client_id, %refusal, "a CONNECT was refused");
            refuse(
                link,
                outlet,
                speaks(&connect),
                refusal.code,
                &refusal.reason,
            )
            .await;
            None
        }
    }
}

/// The first packet; `Err(None)` where the peer went before it was whole.
async fn first_packet(
    link: &mut Link,
    intake: &mut Intake,
    decoder: &mut Decoder,
) -> Result<Box<Connect>, Option<DecodeError>> {
    loop {
        match intake.next(decoder).map_err(Some)? {
            Some(Packet::Connect(connect)) => return Ok(connect),
            // The decoder lets nothing else be first [MQTT-3.1.0-1].
            Some(_) => return Err(None),
            None => {}
        }
        match intake.wait(link, None, true).await {
            Ok(Woken::Read(n)) if n > 0 => {}
            _ => return Err(None),
        }
    }
}

/// Who it is, and by which client id.
async fn admit(
    connect: &Connect,
    peer: Peer,
    shared: &Shared,
) -> Result<(Principal, ByteString), Refusal> {
    let no = |code, reason: &str| {
        Err(Refusal {
            code,
            reason: reason.to_owned(),
        })
    };
    if connect.authentication_method.is_some() {
        let reason = "enhanced authentication is not served yet; use a user name and password";
        return no(ReasonCode::BadAuthenticationMethod, reason);
    }
    let client_id = if connect.client_id.is_empty() {
        if connect.version == Version::V3 && !connect.clean {
            let reason = "an empty client id needs clean session [MQTT-3.1.3-8]";
            return no(ReasonCode::ClientIdentifierNotValid, reason);
        }
        format!("auto-{}", uuid::Uuid::new_v4().simple()).into()
    } else {
        connect.client_id.clone()
    };
    let request = ConnectRequest {
        client_id: client_id.to_string(),
        user_name: connect.user_name.as_ref().map(ToString::to_string),
        password: connect.password.clone(),
        peer,
    };
    let who = shared.policy.connect(request).await?;
    if let Some(will) = &connect.will {
        let permit = shared.policy.publish(&who, &will.topic, will.retain);
        permit.map_err(|refusal| Refusal {
            code: refusal.code,
            reason: format!("will: {}", refusal.reason),
        })?;
    }
    Ok((who, client_id))
}

/// What both sides hold themselves to.
struct Terms {
    version: Version,
    /// Seconds.
    keep_alive: u16,
    /// Seconds that the session outlives its connection.
    expiry: u32,
    outbound: OutboundLimits,
    connack: ConnAck,
}

impl Terms {
    fn of(connect: &Connect, client_id: &ByteString, limits: &Limits) -> Self {
        let version = connect.version;
        let longest = u16::try_from(limits.keep_alive.as_secs()).unwrap_or(u16::MAX);
        // Only 5.0 can be told of another keep-alive than it asked for [MQTT-3.1.2-21].
        let shorter = version == Version::V5
            && longest < u16::MAX
            && (connect.keep_alive == 0 || connect.keep_alive > longest);
        let keep_alive = if shorter { longest } else { connect.keep_alive };
        let asked = match version {
            // 3.1.1 keeps what is not clean for as long as the server will [MQTT-3.1.2-4].
            Version::V3 if connect.clean => 0,
            Version::V3 => u32::MAX,
            Version::V5 => connect.session_expiry,
        };
        let most = u32::try_from(limits.session_expiry.as_secs()).unwrap_or(u32::MAX);
        let expiry = asked.min(most);
        Terms {
            version,
            keep_alive,
            expiry,
            outbound: OutboundLimits {
                bytes: limits.outbox_bytes,
                messages: limits.outbox_messages,
                receive_maximum: connect.receive_maximum.min(limits.inflight),
                maximum_packet_size: connect.maximum_packet_size,
                problem_information: connect.request_problem_information,
                topic_aliases: connect.topic_alias_maximum.min(ALIAS_MAXIMUM),
                age: u64::try_from(limits.queue_age.as_millis()).unwrap_or(u64::MAX),
            },
            connack: ConnAck {
                session_expiry: (expiry != asked).then_some(expiry),
                receive_maximum: Some(limits.inflight),
                maximum_packet_size: Some(limits.packet_bytes),
                assigned_client_id: connect.client_id.is_empty().then(|| client_id.clone()),
                topic_alias_maximum: ALIAS_MAXIMUM,
                server_keep_alive: shorter.then_some(longest),
                ..plain(ReasonCode::Success)
            },
        }
    }
}

/// Somebody whom the policy lets in.
struct Admitted {
    connect: Box<Connect>,
    who: Principal,
    client_id: ByteString,
    peer: Peer,
}

/// Enters or wakes the session and sends CONNACK, the first packet of all [MQTT-3.2.0-1].
async fn open(
    admitted: Admitted,
    link: &mut Link,
    outlet: Outlet,
    decoder: Decoder,
    shared: &Arc<Shared>,
) -> Option<(Box<Connection>, u16)> {
    let Admitted {
        connect,
        who,
        client_id,
        peer,
    } = admitted;
    let limit = shared.limits.connect_time;
    let spoken = speaks(&connect);
    let mut terms = Terms::of(&connect, &client_id, &shared.limits);
    let fresh = Arc::new(Outbox::asleep(terms.version, terms.outbound));
    let resumes = !connect.clean;
    let entering = shared
        .sessions
        .enter(&who.user, &client_id, &fresh, resumes);
    let Ok(entered) = tokio::time::timeout(limit, entering).await else {
        let text = "the connection that uses this client id did not end in time; try again";
        refuse(link, outlet, spoken, ReasonCode::ServerBusy, text).await;
        return None;
    };
    let none = |who: Principal| Kept {
        who,
        client_id: client_id.clone(),
        unreleased: HashSet::new(),
        filters: HashSet::new(),
        lanes: BTreeSet::new(),
        ticket: 0,
    };
    let (id, outbox, kept) = match entered {
        Entered::Shut => {
            let text = "the server is shutting down";
            refuse(link, outlet, spoken, ReasonCode::ServerUnavailable, text).await;
            return None;
        }
        Entered::New(id) => (id, fresh, none(who)),
        // A will that was not due yet is not sent [MQTT-3.1.3-9].
        Entered::Woken(id, _, theirs, asleep) if resumes => {
            terms.connack.session_present = true; // [MQTT-3.2.2-2, MQTT-3.2.2-3]
            (id, theirs, Kept { who, ..asleep.kept })
        }
        Entered::Woken(id, old, theirs, asleep) => {
            // Clean start: what there was ends here [MQTT-3.1.2-4, MQTT-3.1.2-6].
            theirs.part(None, false, now_ms());
            bury(shared, old, *asleep).await;
            (id, fresh, none(who))
        }
    };
    let session = Session::new(Start {
        version: terms.version,
        will: connect.will,
        expiry: terms.expiry,
        alias_maximum: ALIAS_MAXIMUM,
        receive_maximum: shared.limits.inflight,
        unreleased: kept.unreleased,
    });
    let mut connection = Box::new(Connection {
        shared: shared.clone(),
        who: kept.who,
        id,
        client_id: kept.client_id,
        peer,
        session,
        outbox,
        decoder,
        lanes: kept.lanes,
        filters: kept.filters,
        ticket: kept.ticket,
        permit: None,
        batches: Vec::new(),
        acks: Vec::new(),
        notices: Vec::new(),
        draining: false,
        parted: false,
    });
    if terms.connack.session_present {
        let went_on = tokio::time::timeout(limit, connection.resume()).await;
        if !matches!(went_on, Ok(Ok(()))) {
            // As if it had not come; the session sleeps on.
            connection.session.take_will();
            let reason = GoneReason::Lost("could not be resumed".to_owned());
            connection.part(None, &reason).await;
            let text = "the session could not be resumed in time; try again";
            refuse(link, outlet, spoken, ReasonCode::ServerBusy, text).await;
            return None;
        }
    }
    let connack = Reply::ConnAck(Box::new(terms.connack));
    connection.outbox.open(
        Some(outlet),
        terms.version,
        terms.outbound,
        &connack,
        now_ms(),
    );
    shared.sessions.opened(connection.id);
    tracing::debug!(user = %connection.who.user, client = %connection.client_id, %peer, version = ?terms.version, "connected");
    Some((connection, terms.keep_alive))
}

fn plain(reason: ReasonCode) -> ConnAck {
    ConnAck {
        session_present: false,
        reason,
        reason_string: None,
        session_expiry: None,
        receive_maximum: None,
        maximum_qos: None,
        maximum_packet_size: None,
        assigned_client_id: None,
        topic_alias_maximum: 0,
        server_keep_alive: None,
        shared_subscriptions: true,
        response_information: None,
    }
}

/// What a refusal has to be written in: a version, and the largest packet that the peer takes.
type Spoken = (Version, Option<u32>);

fn speaks(connect: &Connect) -> Spoken {
    (connect.version, connect.maximum_packet_size)
}

async fn refuse(
    link: &mut Link,
    outlet: Outlet,
    (version, largest): Spoken,
    reason: ReasonCode,
    text: &str,
) {
    let reply = Reply::ConnAck(Box::new(ConnAck {
        reason_string: Some(text.into()),
        ..plain(reason)
    }));
    let mut bytes = Vec::new();
    encode(version, &reply, true, largest, &mut bytes); // [MQTT-3.2.2-19]
    let until = Instant::now() + LAST_WORDS;
    let sent = tokio::time::timeout_at(until, link.send(&bytes)).await;
    if !matches!(sent, Ok(Ok(()))) {
        tracing::debug!("a refused peer did not read its CONNACK");
    }
    // The sending side is shut.
    drop(outlet);
    link.close(until, true).await;
}
