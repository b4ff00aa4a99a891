//! Enhanced authentication (5.0, 4.12): the AUTH exchange before CONNACK, and re-authentication.
//!
//! This file checks the order of AUTH packets. The policy checks what they contain.

use super::client::Client;
use super::connecting::ConnectingPeer;
use crate::clock::wall_time;
use crate::packet::{Auth, Authentication, Connect, Packet, ReasonCode, Reply};
use crate::policy::{AuthExchange, AuthStep, ConnectRequest, Policy, Principal, Refusal};
use crate::session::Close;
use bytes::Bytes;
use bytestring::ByteString;

/// The authentication method of a connection, and the exchange in progress.
pub(super) struct Method {
    name: ByteString,
    exchange: Option<Box<dyn AuthExchange>>,
}

impl Method {
    #[allow(clippy::unnecessary_box_returns)] // one pointer in a connection without a method
    pub(super) fn of(authentication: &Authentication) -> Box<Method> {
        Box::new(Method {
            name: authentication.method.clone(),
            exchange: None,
        })
    }
}

/// Authenticates a client whose CONNECT names `method`. `Err(None)` if the client disconnects
/// first.
pub(super) async fn authenticate_connect(
    method: &ByteString,
    connect: &Connect,
    request: ConnectRequest,
    peer: &mut ConnectingPeer<'_>,
    policy: &dyn Policy,
) -> Result<(Principal, Authentication), Option<Refusal>> {
    // A copy: the text of a CONNECT is a slice that holds the whole packet in memory.
    let method = ByteString::from(&**method);
    let mut exchange = policy.authenticate(&method, request)?;
    let mut client_data = connect.authentication_data.clone().unwrap_or_default();
    loop {
        match peer.answer(exchange.step(client_data)).await? {
            AuthStep::Done(who, data) => return Ok((who, Authentication { method, data })),
            AuthStep::Continue(data) => {
                // [MQTT-4.12.0-2]
                let reply = reply(ReasonCode::ContinueAuthentication, &method, non_empty(data));
                peer.send(&reply).await?;
            }
        }
        client_data = match peer.next_packet().await? {
            Some(Packet::Auth(auth)) => continuation_data(auth, &method)?,
            Some(Packet::Disconnect(_)) => return Err(None),
            None => {
                let text = format!(
                    "the client did not answer by AUTH: it has {:?} from connecting to the end of its login",
                    peer.handshake_time
                );
                return Err(Some(Refusal::new(ReasonCode::NotAuthorized, &text)));
            }
            Some(_) => {
                let text = "only AUTH and DISCONNECT are allowed before CONNACK [MQTT-3.1.2-30]";
                return Err(Some(Refusal::new(ReasonCode::ProtocolError, text)));
            }
        };
    }
}

/// The data of an AUTH before CONNACK.
fn continuation_data(auth: Auth, method: &ByteString) -> Result<Bytes, Refusal> {
    if auth.method.as_ref() != Some(method) {
        let text = "the authentication method is not that of CONNECT [MQTT-4.12.0-5]";
        return Err(Refusal::new(ReasonCode::BadAuthenticationMethod, text));
    }
    if auth.reason != ReasonCode::ContinueAuthentication {
        let text = "AUTH before CONNACK must have reason code 0x18 [MQTT-4.12.0-3]";
        return Err(Refusal::new(ReasonCode::ProtocolError, text));
    }
    Ok(auth.data.unwrap_or_default())
}

fn reply(reason: ReasonCode, method: &ByteString, data: Option<Bytes>) -> Reply {
    let method = method.clone();
    Reply::Auth(reason, Authentication { method, data }, None)
}

fn non_empty(data: Bytes) -> Option<Bytes> {
    (!data.is_empty()).then_some(data)
}

/// Handles an AUTH after CONNACK, which begins or continues a re-authentication (4.12.1). The
/// client keeps its user meanwhile. If the re-authentication fails, the connection ends
/// [MQTT-4.12.1-2].
pub(super) async fn reauthenticate(
    client: &mut Client,
    method: &mut Option<Box<Method>>,
    auth: Auth,
) -> Result<(), Close> {
    let Some(method) = method else {
        let text = "AUTH without an authentication method in CONNECT [MQTT-4.12.0-7]";
        return Err(protocol_error(text));
    };
    if auth.method.as_ref() != Some(&method.name) {
        // DISCONNECT has no reason code 0x8C (3.14.2.1).
        let text = "the authentication method is not that of CONNECT [MQTT-4.12.1-1]";
        return Err(protocol_error(text));
    }
    let mut exchange = match (auth.reason, method.exchange.take()) {
        (ReasonCode::ReAuthenticate, None) => {
            let request = ConnectRequest {
                client_id: client.who.client_id.to_string(),
                user_name: None,
                password: None,
                // The user must be the one of before.
                certificate_user: None,
                peer: client.peer,
                now: wall_time(),
            };
            let begun = client.node.policy.authenticate(&method.name, request);
            begun.map_err(|refusal| failed(&refusal.reason))?
        }
        (ReasonCode::ContinueAuthentication, Some(exchange)) => exchange,
        (ReasonCode::ReAuthenticate, Some(_)) => {
            let text = "a re-authentication is in progress (4.12.1)";
            return Err(protocol_error(text));
        }
        _ => return Err(protocol_error("AUTH continues no authentication (4.12)")),
    };
    let limit = client.node.limits.connect_time;
    let step = tokio::time::timeout(limit, exchange.step(auth.data.unwrap_or_default())).await;
    match step {
        Err(_) => {
            let why = format!("the credentials could not be checked within {limit:?}");
            Err(failed(&why))
        }
        Ok(Err(refusal)) => Err(failed(&refusal.reason)),
        Ok(Ok(AuthStep::Continue(data))) => {
            let code = ReasonCode::ContinueAuthentication;
            let reply = reply(code, &method.name, non_empty(data));
            client.pending.acknowledge(reply);
            method.exchange = Some(exchange);
            Ok(())
        }
        // The subscriptions and the seats in rooms belong to the user.
        Ok(Ok(AuthStep::Done(who, _))) if who.user != client.who.user => {
            Err(failed("the user is another one"))
        }
        Ok(Ok(AuthStep::Done(who, data))) => {
            client.who.credential = who.credential;
            // It was given for the old credentials.
            client.permit = None;
            tracing::debug!(user = %client.who.user, client = %client.who.client_id, "client re-authenticated");
            let reply = reply(ReasonCode::Success, &method.name, data);
            client.pending.acknowledge(reply);
            Ok(())
        }
    }
}

fn protocol_error(text: &str) -> Close {
    let (reason, text) = (ReasonCode::ProtocolError, text.to_owned());
    Close { reason, text }
}

/// DISCONNECT has no reason code 0x86 for a wrong password (3.14.2.1).
fn failed(why: &str) -> Close {
    Close {
        reason: ReasonCode::NotAuthorized,
        text: format!("the re-authentication failed: {why}"),
    }
}
