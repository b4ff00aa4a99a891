//! From an open socket to an accepted CONNECT. Every refusal is answered by a CONNACK [MQTT-3.2.2-6].

use super::intake::{Intake, Woken};
use super::{Connection, Shared};
use crate::outbox::Outbox;
use crate::packet::{
    ConnAck, Connect, DecodeError, Decoder, Packet, ReasonCode, Reply, Version, encode,
};
use crate::policy::{ConnectRequest, Principal, Refusal};
use crate::session::{Outbound, OutboundLimits, Session};
use bytestring::ByteString;
use std::collections::{BTreeSet, HashSet};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};

/// Topic aliases that a client may use: each keeps a topic of up to 64 KiB for as long as the connection lives.
const ALIAS_MAXIMUM: u16 = 64;

/// The connection, and its keep-alive in seconds; none where it was refused or went.
pub(super) async fn accept(
    read: &mut OwnedReadHalf,
    write: OwnedWriteHalf,
    intake: &mut Intake,
    peer: SocketAddr,
    shared: &Arc<Shared>,
) -> Option<(Box<Connection>, u16)> {
    let mut decoder = Decoder::new(shared.limits.packet_bytes);
    let limit = shared.limits.connect_time;
    let first = tokio::time::timeout(limit, first_packet(read, intake, &mut decoder)).await;
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
                refuse(&write, version, error.reason(), &error.to_string()).await;
            }
            return None;
        }
        Ok(Ok(connect)) => connect,
    };
    if shared.living.count() > shared.limits.connections {
        let most = shared.limits.connections;
        tracing::warn!(%peer, "refused: {most} connections are open");
        let text = format!("the server has {most} connections, as many as it may");
        refuse(&write, connect.version, ReasonCode::ServerBusy, &text).await;
        return None;
    }
    // Password checks are few at a time; who waits for one is not kept waiting for ever.
    let admitted = tokio::time::timeout(limit, admit(&connect, peer, shared)).await;
    let busy = |_| Refusal {
        code: ReasonCode::ServerBusy,
        reason: format!("credentials could not be checked within {limit:?}; try again later"),
    };
    match admitted.map_err(busy).flatten() {
        Ok((who, client_id)) => open(*connect, who, client_id, write, decoder, peer, shared),
        Err(refusal) => {
            tracing::info!(%peer, client = %connect.client_id, %refusal, "a CONNECT was refused");
            refuse(&write, connect.version, refusal.code, &refusal.reason).await;
            None
        }
    }
}

/// The first packet; `Err(None)` where the peer went before it was whole.
async fn first_packet(
    read: &mut OwnedReadHalf,
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
        match intake.wait(read, false, true).await {
            Ok(Woken::Read(n)) if n > 0 => {}
            _ => return Err(None),
        }
    }
}

/// Who it is, and by which client id.
async fn admit(
    connect: &Connect,
    peer: SocketAddr,
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

/// Sends CONNACK, the first packet of all [MQTT-3.2.0-1], and enters the session.
fn open(
    connect: Connect,
    who: Principal,
    client_id: ByteString,
    write: OwnedWriteHalf,
    decoder: Decoder,
    peer: SocketAddr,
    shared: &Arc<Shared>,
) -> Option<(Box<Connection>, u16)> {
    let limits = &shared.limits;
    let version = connect.version;
    let mut outbound = Outbound::new(
        version,
        OutboundLimits {
            bytes: limits.outbox_bytes,
            messages: limits.outbox_messages,
            receive_maximum: connect.receive_maximum.min(limits.inflight),
            maximum_packet_size: connect.maximum_packet_size,
            problem_information: connect.request_problem_information,
        },
    );
    let keep_alive = connect.keep_alive;
    let longest = u16::try_from(limits.keep_alive.as_secs()).unwrap_or(u16::MAX);
    // Only 5.0 can be told of another keep-alive than it asked for [MQTT-3.1.2-21].
    let shorter =
        version == Version::V5 && longest < u16::MAX && (keep_alive == 0 || keep_alive > longest);
    let keep_alive = if shorter { longest } else { keep_alive };
    let assigned = connect.client_id.is_empty().then(|| client_id.clone());
    outbound.reply(&Reply::ConnAck(Box::new(ConnAck {
        // Sessions do not outlive their connections yet, and 5.0 clients are told so.
        session_expiry: (connect.session_expiry > 0).then_some(0),
        receive_maximum: Some(limits.inflight),
        maximum_packet_size: Some(limits.packet_bytes),
        assigned_client_id: assigned,
        topic_alias_maximum: ALIAS_MAXIMUM,
        server_keep_alive: shorter.then_some(longest),
        shared_subscriptions: false,
        ..plain(ReasonCode::Success)
    })));
    let outbox = Arc::new(Outbox::new(outbound, Some(write)));
    let Some(id) = shared.sessions.enter(&who.user, &client_id, &outbox) else {
        tracing::debug!(%peer, "came while shutting down");
        return None;
    };
    outbox.flush();
    tracing::debug!(user = %who.user, client = %client_id, %peer, ?version, "connected");
    let session = Session::new(version, connect.will, ALIAS_MAXIMUM, limits.inflight);
    let connection = Box::new(Connection {
        shared: shared.clone(),
        who,
        id,
        client_id,
        peer,
        session,
        outbox,
        decoder,
        lanes: BTreeSet::new(),
        filters: HashSet::new(),
        ticket: 0,
        permit: None,
        batches: Vec::new(),
        acks: Vec::new(),
        notices: Vec::new(),
        draining: false,
    });
    Some((connection, keep_alive))
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

async fn refuse(write: &OwnedWriteHalf, version: Version, reason: ReasonCode, text: &str) {
    let reply = Reply::ConnAck(Box::new(ConnAck {
        reason_string: Some(text.into()),
        ..plain(reason)
    }));
    let mut bytes = Vec::new();
    encode(version, &reply, true, None, &mut bytes);
    let write_all = async {
        let mut rest = &bytes[..];
        while !rest.is_empty() && write.writable().await.is_ok() {
            match write.try_write(rest) {
                Ok(n) => rest = &rest[n..],
                Err(e) if e.kind() == std::io::ErrorKind::WouldBlock => {}
                Err(_) => return,
            }
        }
    };
    if tokio::time::timeout(Duration::from_secs(1), write_all)
        .await
        .is_err()
    {
        tracing::debug!("a refused peer did not read its CONNACK");
    }
}
