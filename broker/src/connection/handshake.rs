//! From an open link to an accepted CONNECT. The server answers every refusal by CONNACK
//! [MQTT-3.2.2-7].

use super::Connection;
use super::authentication::authenticate_connect;
use super::connecting::ConnectingPeer;
use super::intake::Intake;
use super::opening::open;
use super::peer_limits::{
    check_flapping, check_levels, check_will_bytes, enter_address, enter_user, note_user_properties,
};
use super::publishing::check_payload_format;
use crate::clock::wall_time;
use crate::node::Node;
use crate::packet::{Authentication, Connect, Decoder, ReasonCode, Version};
use crate::policy::{ConnectRequest, Principal, Refusal};
use crate::transport::{CertificateUserError, EstablishedTransport, ListenerContext, Spoken};
use bytestring::ByteString;
use std::sync::Arc;
use tokio::time::Instant;

/// Reads CONNECT, asks the policy, and opens the session. Returns none if the connection was
/// refused or closed.
pub(super) async fn accept(
    established: EstablishedTransport,
    intake: &mut Intake,
    listener: &ListenerContext,
    until: Instant,
    node: &Arc<Node>,
) -> Option<Box<Connection>> {
    let certificate_user = established.certificate_user;
    let mut connecting = ConnectingPeer {
        link: established.link,
        outlet: established.outlet,
        intake,
        decoder: Decoder::new(listener.layers.packet_bytes)
            .with_user_properties(node.limits.user_properties),
        peer: established.peer,
        node,
        version: Version::V5,
        maximum_packet_size: None,
        until,
        handshake_time: listener.handshake_time,
        spoken: None,
        guards: Box::default(),
    };
    let peer = connecting.peer;
    let entered = enter_address(&mut connecting);
    let connect = match tokio::time::timeout_at(until, connecting.read_connect()).await {
        Err(_) => {
            let limit = listener.handshake_time;
            tracing::info!(%peer, listener = listener.address(), "connection closed: no CONNECT within {limit:?}");
            connecting.close().await;
            return None;
        }
        Ok(Err(None)) => {
            tracing::debug!(%peer, "peer closed the connection before CONNECT");
            connecting.close().await;
            return None;
        }
        Ok(Err(Some(error))) => {
            note_user_properties(&error, &node.limit_counts);
            let layers = &listener.layers;
            if let Some(spoken @ (Spoken::Tls | Spoken::Http | Spoken::Proxy)) = connecting.spoken
                && layers.websocket.is_none()
            {
                let error = listener.wrong_protocol(spoken, layers.tls.is_some());
                tracing::info!(%peer, listener = listener.address(), error, "connection refused: bad CONNECT");
            } else {
                tracing::info!(%peer, %error, "connection refused: bad CONNECT");
            }
            let refusal = Refusal::new(error.reason(), error.to_string());
            match error.connack_version() {
                Some(version) => {
                    connecting.version = version;
                    connecting.refuse(&refusal).await;
                }
                None => connecting.close().await,
            }
            return None;
        }
        Ok(Ok(connect)) => connect,
    };
    if let Some(limit) = exceeded_limit(listener, node) {
        tracing::warn!(%peer, client = %connect.client_id, user = user(&connect), listener = listener.address(), "connection refused: {limit} connections are open");
        let text = format!("the limit of {limit} connections is reached");
        let refusal = Refusal::new(ReasonCode::ServerBusy, text);
        connecting.refuse(&refusal).await;
        return None;
    }
    let flapping = entered.and_then(|()| check_flapping(&connect, node));
    if let Err(refusal) = flapping {
        tracing::info!(%peer, client = %connect.client_id, user = user(&connect), %refusal, "connection refused");
        connecting.refuse(&refusal).await;
        return None;
    }
    // The policy checks few passwords at a time, so a client may have to wait for its turn, but not
    // for ever.
    let limit = node.limits.login_time;
    let accepting = admit(&connect, certificate_user, node, &mut connecting);
    let accepted = tokio::time::timeout(limit, accepting).await;
    let timed_out = |_| {
        let text = format!("the login did not come to its turn within {limit:?}; try again later");
        Some(Refusal::new(ReasonCode::ServerBusy, text))
    };
    match accepted.map_err(timed_out).flatten() {
        Ok((who, authentication)) => open(connect, who, authentication, connecting, listener).await,
        Err(None) => {
            tracing::debug!(%peer, client = %connect.client_id, user = user(&connect), "peer closed the connection before CONNACK");
            connecting.close().await;
            None
        }
        Err(Some(refusal)) => {
            tracing::info!(%peer, client = %connect.client_id, user = user(&connect), %refusal, "connection refused");
            connecting.refuse(&refusal).await;
            None
        }
    }
}

/// The user name for a log line. None: CONNECT has none.
pub(super) fn user(connect: &Connect) -> Option<&str> {
    connect.user_name.as_deref()
}

/// The limit of connections that is exceeded, of the server or of the listener.
fn exceeded_limit(listener: &ListenerContext, node: &Node) -> Option<usize> {
    let limits = [
        (node.connections.count(), node.limits.connections),
        (listener.open.count(), listener.connections),
    ];
    let exceeded = limits.into_iter().find(|(open, limit)| open > limit);
    exceeded.map(|(_, limit)| limit)
}

/// Asks the policy for the user of a CONNECT. Returns the user with the client id, and the
/// authentication if CONNECT names a method. `Err(None)` if the peer closes the connection. The
/// server accepts any client id [MQTT-3.1.3-5].
async fn admit(
    connect: &Connect,
    certificate_user: Result<Option<String>, CertificateUserError>,
    node: &Node,
    connecting: &mut ConnectingPeer<'_>,
) -> Result<(Principal, Option<Authentication>), Option<Refusal>> {
    let nameless =
        |error: CertificateUserError| Refusal::new(ReasonCode::NotAuthorized, error.to_string());
    let certificate_user = certificate_user.map_err(nameless)?;
    if let Some(will) = &connect.will {
        check_will_bytes(will, node)?;
    }
    let client_id = if connect.client_id.is_empty() {
        if connect.version == Version::V3 && !connect.clean {
            let reason = "an empty client id needs clean session [MQTT-3.1.3-8]";
            let code = ReasonCode::ClientIdentifierNotValid;
            return Err(Some(Refusal::new(code, reason)));
        }
        // [3.1.1 MQTT-3.1.3-6]
        format!("auto-{}", uuid::Uuid::new_v4().simple()).into()
    } else {
        // A copy that lives as long as the session: the text of a CONNECT is a slice that holds the
        // whole packet in memory.
        ByteString::from(&*connect.client_id)
    };
    let request = ConnectRequest {
        client_id: client_id.to_string(),
        user_name: connect.user_name.as_ref().map(ToString::to_string),
        password: connect.password.clone(),
        certificate_user,
        peer: connecting.peer,
        now: wall_time(),
    };
    let policy = &*node.policy;
    let generation = policy.version();
    let (mut who, authentication) = match &connect.authentication_method {
        None => (connecting.answer(policy.connect(request)).await?, None),
        Some(method) => {
            let (who, authentication) =
                authenticate_connect(method, connect, request, connecting, policy).await?;
            (who, Some(authentication))
        }
    };
    (who.client_id, who.generation) = (client_id, generation);
    if let Some(will) = &connect.will {
        let code = ReasonCode::TopicNameInvalid;
        let checked = check_levels(will.topic.as_str(), code, node)
            .and_then(|()| policy.publish(&who, &will.topic, will.retain))
            .and_then(|_| check_payload_format(Some(&will.properties), &will.payload));
        checked.map_err(|r| Refusal::new(r.code, format!("will: {}", r.reason)))?;
    }
    enter_user(connect, &who, connecting)?;
    Ok((who, authentication))
}
