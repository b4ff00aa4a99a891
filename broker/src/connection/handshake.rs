//! From an open socket to an accepted CONNECT. Every refusal is answered by a CONNACK [MQTT-3.2.2-7].

use super::ending::LAST_WORDS;
use super::intake::{Intake, Woken};
use super::opening::{Admitted, open, plain};
use super::{Connection, Link, Shared};
use crate::listener::Port;
use crate::outlet::Outlet;
use crate::packet::{
    ConnAck, Connect, DecodeError, Decoder, Packet, ReasonCode, Reply, Version, encode,
};
use crate::policy::{ConnectRequest, Peer, Refusal};
use crate::transport::Arrival;
use std::sync::Arc;
use tokio::time::Instant;

/// A peer that has no session yet.
pub(super) struct Door<'a> {
    pub link: Link,
    pub outlet: Outlet,
    pub decoder: Decoder,
    pub peer: Peer,
    intake: &'a mut Intake,
}

/// What a reply has to be written in: a version, and the largest packet that the peer takes.
pub(super) type Spoken = (Version, Option<u32>);

/// The connection, its link, and its keep-alive in seconds; none where it was refused or went.
pub(super) async fn accept(
    arrival: Arrival,
    intake: &mut Intake,
    port: &Port,
    until: Instant,
    shared: &Arc<Shared>,
) -> Option<(Box<Connection>, Link, u16)> {
    let certificate_user = arrival.certificate_user;
    let mut door = Door {
        link: arrival.link,
        outlet: arrival.outlet,
        decoder: Decoder::new(port.layers.packet_bytes),
        peer: arrival.peer,
        intake,
    };
    let peer = door.peer;
    let connect = match tokio::time::timeout_at(until, door.first_packet()).await {
        Err(_) => {
            let limit = port.handshake_time;
            tracing::info!(%peer, listener = %port.place, "no CONNECT within {limit:?}");
            door.close().await;
            return None;
        }
        Ok(Err(None)) => {
            tracing::debug!(%peer, "gone before CONNECT");
            door.close().await;
            return None;
        }
        Ok(Err(Some(error))) => {
            tracing::info!(%peer, %error, "a bad CONNECT");
            match error.connack_version() {
                Some(version) => {
                    let refusal = wrong(error.reason(), &error.to_string());
                    door.refuse((version, None), &refusal).await;
                }
                None => door.close().await,
            }
            return None;
        }
        Ok(Ok(connect)) => connect,
    };
    let spoken = speaks(&connect);
    if let Some(most) = too_many(port, shared) {
        tracing::warn!(%peer, listener = %port.place, "refused: {most} connections are open");
        let text = format!("the server has {most} connections, as many as it may");
        door.refuse(spoken, &wrong(ReasonCode::ServerBusy, &text))
            .await;
        return None;
    }
    // Password checks are few at a time; who waits for one is not kept waiting for ever.
    let limit = shared.limits.connect_time;
    let admitted = admit(connect, certificate_user, shared, peer);
    let busy = |_| {
        let text = format!("credentials could not be checked within {limit:?}; try again later");
        wrong(ReasonCode::ServerBusy, &text)
    };
    let admitted = tokio::time::timeout(limit, admitted).await;
    match admitted.map_err(busy).flatten() {
        Ok(admitted) => open(admitted, door, port, shared).await,
        Err(refusal) => {
            tracing::info!(%peer, %refusal, "a CONNECT was refused");
            door.refuse(spoken, &refusal).await;
            None
        }
    }
}

/// The limit of connections that has been passed.
fn too_many(port: &Port, shared: &Shared) -> Option<usize> {
    let pairs = [
        (shared.living.count(), shared.limits.connections),
        (port.open.count(), port.connections),
    ];
    let passed = pairs.into_iter().find(|(open, most)| open > most);
    passed.map(|(_, most)| most)
}

pub(super) fn speaks(connect: &Connect) -> Spoken {
    (connect.version, connect.maximum_packet_size)
}

pub(super) fn wrong(code: ReasonCode, reason: &str) -> Refusal {
    let reason = reason.to_owned();
    Refusal { code, reason }
}

impl Door<'_> {
    /// The first packet; `Err(None)` where the peer went before it was whole.
    async fn first_packet(&mut self) -> Result<Box<Connect>, Option<DecodeError>> {
        loop {
            match self.intake.next(&mut self.decoder).map_err(Some)? {
                Some(Packet::Connect(connect)) => return Ok(connect),
                // The decoder lets nothing else be first [MQTT-3.1.0-1].
                Some(_) => return Err(None),
                None => {}
            }
            match self.intake.wait(&mut self.link, None, true).await {
                Ok(Woken::Read(n)) if n > 0 => {}
                _ => return Err(None),
            }
        }
    }

    async fn close(mut self) {
        drop(self.outlet);
        let until = Instant::now() + LAST_WORDS;
        self.link.close(until, false).await;
    }

    /// CONNACK with an error, and the close [MQTT-3.1.4-2].
    pub(super) async fn refuse(mut self, (version, largest): Spoken, refusal: &Refusal) {
        let reply = Reply::ConnAck(Box::new(ConnAck {
            reason_string: Some(refusal.reason.as_str().into()),
            ..plain(refusal.code)
        }));
        let mut bytes = Vec::new();
        // [MQTT-3.2.2-19]
        encode(version, &reply, true, largest, &mut bytes);
        let until = Instant::now() + LAST_WORDS;
        let sent = tokio::time::timeout_at(until, self.link.send(&bytes)).await;
        if !matches!(sent, Ok(Ok(()))) {
            tracing::debug!("a refused peer did not read its CONNACK");
        }
        // The sending side is shut.
        drop(self.outlet);
        self.link.close(until, true).await;
    }
}

/// Who it is, and by which client id.
async fn admit(
    connect: Box<Connect>,
    certificate_user: Option<String>,
    shared: &Shared,
    peer: Peer,
) -> Result<Admitted, Refusal> {
    if connect.authentication_method.is_some() {
        let reason = "enhanced authentication is not served yet; use a user name and password";
        return Err(wrong(ReasonCode::BadAuthenticationMethod, reason));
    }
    let client_id = if connect.client_id.is_empty() {
        if connect.version == Version::V3 && !connect.clean {
            let reason = "an empty client id needs clean session [MQTT-3.1.3-8]";
            return Err(wrong(ReasonCode::ClientIdentifierNotValid, reason));
        }
        format!("auto-{}", uuid::Uuid::new_v4().simple()).into()
    } else {
        connect.client_id.clone()
    };
    let request = ConnectRequest {
        client_id: client_id.to_string(),
        user_name: connect.user_name.as_ref().map(ToString::to_string),
        password: connect.password.clone(),
        certificate_user,
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
    Ok(Admitted {
        connect,
        who,
        client_id,
    })
}
