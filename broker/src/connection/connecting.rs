//! Packets from and to a peer that has no session yet, and so no outbox.

use super::intake::{Intake, LinkEvent};
use crate::node::Node;
use crate::outbox::Outlet;
use crate::packet::{ConnAck, Connect, DecodeError, Decoder, Packet, Reply, Version, encode};
use crate::policy::{Peer, Refusal};
use crate::transport::{CLOSE_TIME, Link};
use tokio::time::Instant;

/// A peer that has no session yet. It is told AUTH and one CONNACK, never DISCONNECT [5.0 MQTT-3.2.0-2, MQTT-3.14.0-1].
pub(super) struct ConnectingPeer<'a> {
    pub link: Link,
    pub outlet: Outlet,
    pub intake: &'a mut Intake,
    pub decoder: Decoder,
    pub peer: Peer,
    pub node: &'a Node,
    /// A packet of the peer's is waited for.
    pub awaits_packet: bool,
}

/// What a reply has to be written in: a version, and the largest packet that the peer takes.
#[derive(Debug, Clone, Copy)]
pub(super) struct ReplyFormat {
    pub version: Version,
    pub maximum_packet_size: Option<u32>,
}

impl ReplyFormat {
    pub(super) fn of(connect: &Connect) -> Self {
        ReplyFormat {
            version: connect.version,
            maximum_packet_size: connect.maximum_packet_size,
        }
    }
}

impl ConnectingPeer<'_> {
    /// The first packet; `Err(None)` where the peer went before it was whole.
    pub(super) async fn read_connect(&mut self) -> Result<Box<Connect>, Option<DecodeError>> {
        match self.read_packet().await? {
            Packet::Connect(connect) => Ok(connect),
            // The decoder lets nothing else be first [MQTT-3.1.0-1].
            _ => Err(None),
        }
    }

    /// The next packet of a client whose CONNECT has been read; `Err(None)` where it went.
    pub(super) async fn next_packet(&mut self) -> Result<Packet, Option<Refusal>> {
        let bad = |error: DecodeError| Refusal::new(error.reason(), error.to_string());
        self.awaits_packet = true;
        let packet = self.read_packet().await;
        self.awaits_packet = false;
        packet.map_err(|error| error.map(bad))
    }

    async fn read_packet(&mut self) -> Result<Packet, Option<DecodeError>> {
        loop {
            if let Some(packet) = self.intake.next(&mut self.decoder).map_err(Some)? {
                return Ok(packet);
            }
            match self.intake.wait(&mut self.link, None, true).await {
                Ok(LinkEvent::Read(n)) if n > 0 => {}
                // The handshake has a time of its own.
                Ok(LinkEvent::Partial(_)) => {}
                _ => return Err(None),
            }
        }
    }

    /// Writes `reply`, as the client of `connect` wants it; `Err(None)` where it went.
    pub(super) async fn send(
        &mut self,
        connect: &Connect,
        reply: &Reply,
    ) -> Result<(), Option<Refusal>> {
        let mut bytes = Vec::new();
        let problems = connect.request_problem_information;
        let largest = connect.maximum_packet_size;
        encode(connect.version, reply, problems, largest, &mut bytes);
        self.node.counters.replied(bytes.len());
        self.link.send(&bytes).await.map_err(|_| None)
    }

    /// CONNACK with an error, and the close [MQTT-3.1.4-2, 3.1.1 MQTT-3.2.2-5, 5.0 MQTT-4.12.0-4, MQTT-4.13.2-1]. What
    /// the peer still sends is thrown away [3.1.1 MQTT-3.1.4-5, 5.0 MQTT-3.1.4-6].
    pub(super) async fn refuse(mut self, format: ReplyFormat, refusal: &Refusal) {
        let reply = Reply::ConnAck(Box::new(ConnAck {
            reason_string: Some(refusal.reason.as_str().into()),
            ..ConnAck::new(refusal.code)
        }));
        let mut bytes = Vec::new();
        // [MQTT-3.2.2-19]
        let largest = format.maximum_packet_size;
        encode(format.version, &reply, true, largest, &mut bytes);
        self.node.counters.refused(refusal.code);
        self.node.counters.replied(bytes.len());
        let until = Instant::now() + CLOSE_TIME;
        let sent = tokio::time::timeout_at(until, self.link.send(&bytes)).await;
        if !matches!(sent, Ok(Ok(()))) {
            tracing::debug!(peer = %self.peer, "a refused peer did not read its CONNACK");
        }
        // The sending side is shut.
        drop(self.outlet);
        self.link.close(until, true).await;
    }

    /// The close, without a word.
    pub(super) async fn close(mut self) {
        drop(self.outlet);
        let until = Instant::now() + CLOSE_TIME;
        self.link.close(until, false).await;
    }
}
