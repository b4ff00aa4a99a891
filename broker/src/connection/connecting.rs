//! Reads from and writes to a peer that has no session yet, and therefore no outbox.

use super::intake::{Intake, LinkEvent};
use crate::connect_limits::ConnectGuard;
use crate::node::Node;
use crate::outbox::Outlet;
use crate::packet::{ConnAck, Connect, DecodeError, Decoder, Packet, Reply, Version, encode};
use crate::policy::{Peer, Refusal};
use crate::transport::{CLOSE_TIME, Link, Spoken};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// A peer that has no session yet. The server sends it AUTH and one CONNACK, never DISCONNECT
/// [5.0 MQTT-3.2.0-2, MQTT-3.14.0-1].
pub(super) struct ConnectingPeer<'a> {
    pub link: Link,
    pub outlet: Outlet,
    pub intake: &'a mut Intake,
    pub decoder: Decoder,
    pub peer: Peer,
    pub node: &'a Arc<Node>,
    /// The version of CONNECT, and the largest packet in bytes that it allows: for replies.
    pub version: Version,
    pub maximum_packet_size: Option<u32>,
    /// The deadline for packets of the peer: `handshake_time` after it has connected.
    pub until: Instant,
    pub handshake_time: Duration,
    /// The protocol of the bytes of the packet that is read.
    pub spoken: Option<Spoken>,
    /// Count the connection for the limits of its address and its user.
    pub guards: Box<ConnectGuards>,
}

/// What counts a connection for limits until it ends.
#[derive(Debug, Default)]
pub(super) struct ConnectGuards {
    pub address: Option<ConnectGuard>,
    pub user: Option<ConnectGuard>,
}

impl ConnectingPeer<'_> {
    /// Reads CONNECT. `Err(None)` if the peer closes the connection before the packet is complete.
    pub(super) async fn read_connect(&mut self) -> Result<Box<Connect>, Option<DecodeError>> {
        match self.read_packet().await? {
            Packet::Connect(connect) => {
                self.version = connect.version;
                self.maximum_packet_size = connect.maximum_packet_size;
                Ok(connect)
            }
            // The decoder refuses any other first packet [MQTT-3.1.0-1].
            _ => Err(None),
        }
    }

    /// Reads a packet after CONNECT. `Ok(None)` if the deadline passes, `Err(None)` if the peer closes the
    /// connection.
    pub(super) async fn next_packet(&mut self) -> Result<Option<Packet>, Option<Refusal>> {
        let bad = |error: DecodeError| Refusal::new(error.reason(), error.to_string());
        match tokio::time::timeout_at(self.until, self.read_packet()).await {
            Ok(packet) => packet.map(Some).map_err(|error| error.map(bad)),
            Err(_) => Ok(None),
        }
    }

    /// Waits for what the policy answers. That is no time of the peer, whose deadline moves. `Err(None)` if
    /// the peer closes the connection meanwhile.
    pub(super) async fn answer<T>(
        &mut self,
        answer: impl Future<Output = Result<T, Refusal>>,
    ) -> Result<T, Option<Refusal>> {
        let asked = Instant::now();
        let answer = tokio::select! {
            // Most answers are there at once, and nothing is read then.
            biased;
            answer = answer => answer.map_err(Some),
            () = self.hung_up() => Err(None),
        };
        self.until += asked.elapsed();
        answer
    }

    /// Waits until the peer has closed the connection. Reads no more than once what it sends meanwhile.
    ///
    /// A peer may send more packets and close the connection at once: they still count, so such a peer has
    /// not hung up.
    async fn hung_up(&mut self) {
        while self.intake.unread().is_empty() {
            match self.intake.wait(&mut self.link, None, true).await {
                Ok(LinkEvent::Read(n)) if n > 0 => {}
                Ok(LinkEvent::Partial(_)) => {}
                _ => return,
            }
        }
        std::future::pending::<()>().await;
    }

    async fn read_packet(&mut self) -> Result<Packet, Option<DecodeError>> {
        loop {
            self.spoken = Spoken::of(self.intake.unread());
            if let Some(packet) = self.intake.next(&mut self.decoder).map_err(Some)? {
                return Ok(packet);
            }
            match self.intake.wait(&mut self.link, None, true).await {
                Ok(LinkEvent::Read(n)) if n > 0 => {}
                // The caller bounds the time of the handshake.
                Ok(LinkEvent::Partial(_)) => {}
                _ => return Err(None),
            }
        }
    }

    /// Sends `reply`. `Err(None)` if the peer has closed the
    /// connection.
    pub(super) async fn send(&mut self, reply: &Reply) -> Result<(), Option<Refusal>> {
        let bytes = self.encode(reply);
        self.node.counters.replied(bytes.len());
        let sent = self.link.send(&mut self.outlet, &bytes).await;
        sent.map_err(|_| None)
    }

    /// The bytes of AUTH or CONNACK; none if it exceeds the peer's maximum packet size [MQTT-3.2.2-19].
    pub(super) fn encode(&self, reply: &Reply) -> Vec<u8> {
        let (largest, mut bytes) = (self.maximum_packet_size, Vec::new());
        encode(self.version, reply, true, largest, &mut bytes);
        bytes
    }

    /// Sends CONNACK with an error, of at most `limit` bytes, and closes the connection
    /// [MQTT-3.1.4-2, 3.1.1 MQTT-3.2.2-5, 5.0 MQTT-4.12.0-4, MQTT-4.13.2-1]. Discards what the peer
    /// still sends [3.1.1 MQTT-3.1.4-5, 5.0 MQTT-3.1.4-6].
    pub(super) async fn refuse(mut self, refusal: &Refusal) {
        let reply = Reply::ConnAck(Box::new(ConnAck {
            reason_string: Some(refusal.reason.as_str().into()),
            ..ConnAck::new(refusal.code)
        }));
        self.node.counters.refused(refusal.code);
        let until = Instant::now() + CLOSE_TIME;
        let sent = tokio::time::timeout_at(until, self.send(&reply)).await;
        if !matches!(sent, Ok(Ok(()))) {
            tracing::debug!(peer = %self.peer, "the refused peer did not read CONNACK");
        }
        // This shuts the sending side.
        drop(self.outlet);
        self.link.close(until, true).await;
    }

    /// Closes the connection without a packet.
    pub(super) async fn close(mut self) {
        drop(self.outlet);
        let until = Instant::now() + CLOSE_TIME;
        self.link.close(until, false).await;
    }
}
