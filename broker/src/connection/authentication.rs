//! Enhanced authentication (5.0, 4.12): the conversation before CONNACK, and those that a client begins later.
//!
//! Who somebody is, the policy finds out; here is only the order in which AUTH may come.

use super::client::Client;
use super::connecting::ConnectingPeer;
use crate::packet::{Auth, Authentication, Connect, Packet, ReasonCode, Reply};
use crate::policy::{AuthExchange, AuthStep, ConnectRequest, Policy, Principal, Refusal};
use crate::session::Close;
use bytes::Bytes;
use bytestring::ByteString;

/// The method of a connection, and what is under way by it.
pub(super) struct Method {
    name: ByteString,
    exchange: Option<Box<dyn AuthExchange>>,
}

impl Method {
    #[allow(clippy::unnecessary_box_returns)] // most connections have none, and all have room for one
    pub(super) fn of(authentication: &Authentication) -> Box<Method> {
        Box::new(Method {
            name: authentication.method.clone(),
            exchange: None,
        })
    }
}

/// The conversation that `connect` begins by naming `method`, to its end. `Err(None)` where the client went.
pub(super) async fn authenticate_connect(
    method: &ByteString,
    connect: &Connect,
    request: ConnectRequest,
    peer: &mut ConnectingPeer<'_>,
    policy: &dyn Policy,
) -> Result<(Principal, Authentication), Option<Refusal>> {
    // A copy: what is read of a CONNECT is a slice of all of it.
    let method = ByteString::from(&**method);
    let mut exchange = policy.authenticate(&method, request)?;
    let mut client_data = connect.authentication_data.clone().unwrap_or_default();
    loop {
        match exchange.step(client_data).await? {
            AuthStep::Done(who, data) => return Ok((who, Authentication { method, data })),
            AuthStep::Continue(data) => {
                // [MQTT-4.12.0-2]
                let reply = reply(ReasonCode::ContinueAuthentication, &method, non_empty(data));
                peer.send(connect, &reply).await?;
            }
        }
        client_data = match peer.next_packet().await? {
            Packet::Auth(auth) => continuation_data(auth, &method)?,
            Packet::Disconnect(_) => return Err(None),
            _ => {
                let text = "before CONNACK only AUTH and DISCONNECT may come [MQTT-3.1.2-30]";
                return Err(Some(Refusal::new(ReasonCode::ProtocolError, text)));
            }
        };
    }
}

/// What an AUTH before CONNACK says.
fn continuation_data(auth: Auth, method: &ByteString) -> Result<Bytes, Refusal> {
    if auth.method.as_ref() != Some(method) {
        let text = "the authentication method is not that of CONNECT [MQTT-4.12.0-5]";
        return Err(Refusal::new(ReasonCode::BadAuthenticationMethod, text));
    }
    if auth.reason != ReasonCode::ContinueAuthentication {
        let text = "before CONNACK an AUTH continues, with 0x18 [MQTT-4.12.0-3]";
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

/// AUTH during the connection: it begins or continues a re-authentication (4.12.1). Until that is over the
/// client is who it was; where it fails, the connection ends [MQTT-4.12.1-2].
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
        // 3.14.2.1 has no 0x8C.
        let text = "the authentication method is not that of CONNECT [MQTT-4.12.1-1]";
        return Err(protocol_error(text));
    }
    let mut exchange = match (auth.reason, method.exchange.take()) {
        (ReasonCode::ReAuthenticate, None) => {
            let request = ConnectRequest {
                client_id: client.client_id.to_string(),
                user_name: None,
                password: None,
                // Whoever it is now must be the user of before.
                certificate_user: None,
                peer: client.peer,
            };
            let begun = client.node.policy.authenticate(&method.name, request);
            begun.map_err(|refusal| failed(&refusal.reason))?
        }
        (ReasonCode::ContinueAuthentication, Some(exchange)) => exchange,
        (ReasonCode::ReAuthenticate, Some(_)) => {
            return Err(protocol_error("a re-authentication is under way (4.12.1)"));
        }
        _ => return Err(protocol_error("AUTH continues nothing (4.12)")),
    };
    let limit = client.node.limits.connect_time;
    let step = tokio::time::timeout(limit, exchange.step(auth.data.unwrap_or_default())).await;
    match step {
        Err(_) => Err(failed(&format!("it could not be judged within {limit:?}"))),
        Ok(Err(refusal)) => Err(failed(&refusal.reason)),
        Ok(Ok(AuthStep::Continue(data))) => {
            let code = ReasonCode::ContinueAuthentication;
            let reply = reply(code, &method.name, non_empty(data));
            client.pending.acknowledge(reply);
            method.exchange = Some(exchange);
            Ok(())
        }
        // Its subscriptions and its place in rooms are the user's.
        Ok(Ok(AuthStep::Done(who, _))) if who.user != client.who.user => {
            Err(failed("it is another user's"))
        }
        Ok(Ok(AuthStep::Done(_, data))) => {
            tracing::debug!(user = %client.who.user, client = %client.client_id, "authenticated again");
            let reply = reply(ReasonCode::Success, &method.name, data);
            client.pending.acknowledge(reply);
            Ok(())
        }
    }
}

fn protocol_error(text: &str) -> Close {
    Close {
        reason: ReasonCode::ProtocolError,
        text: text.to_owned(),
    }
}

/// DISCONNECT knows no wrong password (3.14.2.1).
fn failed(why: &str) -> Close {
    Close {
        reason: ReasonCode::NotAuthorized,
        text: format!("the re-authentication failed: {why}"),
    }
}
