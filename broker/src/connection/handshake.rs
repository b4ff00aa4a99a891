//! From an open socket to an accepted CONNECT. Every refusal is answered by a CONNACK [MQTT-3.2.2-7].

use super::Connection;
use super::authentication::authenticate_connect;
use super::connecting::{ConnectingPeer, ReplyFormat};
use super::intake::Intake;
use super::opening::{AcceptedConnect, open};
use super::publishing::check_payload_format;
use crate::node::Node;
use crate::packet::{Authentication, Connect, Decoder, ReasonCode, Version};
use crate::policy::{ConnectRequest, Principal, Refusal};
use crate::transport::{CertificateUserError, EstablishedTransport, Link, ListenerContext};
use bytestring::ByteString;
use std::sync::Arc;
use tokio::time::Instant;

/// The connection, its link, and its keep-alive in seconds; none where it was refused or went.
pub(super) async fn accept(
    established: EstablishedTransport,
    intake: &mut Intake,
    listener: &ListenerContext,
    until: Instant,
    node: &Arc<Node>,
) -> Option<(Box<Connection>, Link, u16)> {
    let certificate_user = established.certificate_user;
    let mut connecting = ConnectingPeer {
        link: established.link,
        outlet: established.outlet,
        intake,
        decoder: Decoder::new(listener.layers.packet_bytes),
        peer: established.peer,
        node,
        awaits_packet: false,
    };
    let peer = connecting.peer;
    let connect = match tokio::time::timeout_at(until, connecting.read_connect()).await {
        Err(_) => {
            let limit = listener.handshake_time;
            tracing::info!(%peer, listener = %listener.address, "no CONNECT within {limit:?}");
            connecting.close().await;
            return None;
        }
        Ok(Err(None)) => {
            tracing::debug!(%peer, "gone before CONNECT");
            connecting.close().await;
            return None;
        }
        Ok(Err(Some(error))) => {
            tracing::info!(%peer, %error, "a bad CONNECT");
            let refusal = Refusal::new(error.reason(), error.to_string());
            match error.connack_version() {
                Some(version) => {
                    let reply_format = ReplyFormat {
                        version,
                        maximum_packet_size: None,
                    };
                    connecting.refuse(reply_format, &refusal).await;
                }
                None => connecting.close().await,
            }
            return None;
        }
        Ok(Ok(connect)) => connect,
    };
    let reply_format = ReplyFormat::of(&connect);
    if let Some(most) = exceeded_limit(listener, node) {
        tracing::warn!(%peer, listener = %listener.address, "refused: {most} connections are open");
        let text = format!("{most} connections are open, as many as may be here");
        let refusal = Refusal::new(ReasonCode::ServerBusy, &text);
        connecting.refuse(reply_format, &refusal).await;
        return None;
    }
    let limit = node.limits.connect_time;
    // Password checks are few at a time; who waits for one is not kept waiting for ever. In a conversation it
    // is the client that is waited for, and its time runs on.
    let (until, late) = match connect.authentication_method {
        None => (Instant::now() + limit, ReasonCode::ServerBusy),
        Some(_) => (until, ReasonCode::NotAuthorized),
    };
    let accepting = admit(&connect, certificate_user, node, &mut connecting);
    let accepted = tokio::time::timeout_at(until, accepting).await;
    let late = |_| {
        let text = if connecting.awaits_packet {
            let limit = listener.handshake_time;
            format!(
                "the client did not answer by AUTH; it has {limit:?} from connecting to the end of its login"
            )
        } else {
            format!("credentials could not be checked within {limit:?}; try again later")
        };
        Some(Refusal::new(late, &text))
    };
    match accepted.map_err(late).flatten() {
        Ok((who, client_id, authentication)) => {
            let accepted = AcceptedConnect {
                connect,
                who,
                client_id,
                authentication,
            };
            open(accepted, connecting, listener, node).await
        }
        Err(None) => {
            tracing::debug!(%peer, client = %connect.client_id, "gone before CONNACK");
            connecting.close().await;
            None
        }
        Err(Some(refusal)) => {
            tracing::info!(%peer, client = %connect.client_id, %refusal, "a CONNECT was refused");
            connecting.refuse(reply_format, &refusal).await;
            None
        }
    }
}

/// The limit of connections that has been passed.
fn exceeded_limit(listener: &ListenerContext, node: &Node) -> Option<usize> {
    let pairs = [
        (node.connections.count(), node.limits.connections),
        (listener.open.count(), listener.connections),
    ];
    let passed = pairs.into_iter().find(|(open, most)| open > most);
    passed.map(|(_, most)| most)
}

/// Who it is, by which client id, and how it was found out where a method was named; `Err(None)` where it went. Any
/// client id that is given is taken [MQTT-3.1.3-5].
async fn admit(
    connect: &Connect,
    certificate_user: Result<Option<String>, CertificateUserError>,
    node: &Node,
    connecting: &mut ConnectingPeer<'_>,
) -> Result<(Principal, ByteString, Option<Authentication>), Option<Refusal>> {
    let nameless =
        |error: CertificateUserError| Refusal::new(ReasonCode::NotAuthorized, error.to_string());
    let certificate_user = certificate_user.map_err(nameless)?;
    let client_id = if connect.client_id.is_empty() {
        if connect.version == Version::V3 && !connect.clean {
            let reason = "an empty client id needs clean session [MQTT-3.1.3-8]";
            return Err(Some(Refusal::new(
                ReasonCode::ClientIdentifierNotValid,
                reason,
            )));
        }
        // [3.1.1 MQTT-3.1.3-6]
        format!("auto-{}", uuid::Uuid::new_v4().simple()).into()
    } else {
        // A copy: it lives as long as the session, and what is read of a CONNECT is a slice of all of it.
        ByteString::from(&*connect.client_id)
    };
    let request = ConnectRequest {
        client_id: client_id.to_string(),
        user_name: connect.user_name.as_ref().map(ToString::to_string),
        password: connect.password.clone(),
        certificate_user,
        peer: connecting.peer,
    };
    let policy = &*node.policy;
    let (mut who, authentication) = match &connect.authentication_method {
        None => (policy.connect(request).await?, None),
        Some(method) => {
            let (who, authentication) =
                authenticate_connect(method, connect, request, connecting, policy).await?;
            (who, Some(authentication))
        }
    };
    who.client_id = client_id.clone();
    if let Some(will) = &connect.will {
        let permit = policy.publish(&who, &will.topic, will.retain);
        let whole = permit.and_then(|_| check_payload_format(&will.properties, &will.payload));
        whole.map_err(|refusal| Refusal {
            code: refusal.code,
            reason: format!("will: {}", refusal.reason),
        })?;
    }
    Ok((who, client_id, authentication))
}
