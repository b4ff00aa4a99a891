//! The bytes from the broker to the client, read as they are queued.

use super::super::client::{Received, announced, receive_one};
use super::published::{self, Aliases, Published};
use super::terms::Terms;
use rmqtt_codec::{v3, v5};
use roommq_mqtt::packet::Version;

/// The stream of one connection.
pub(super) struct Wire {
    version: Version,
    aliases: Aliases,
    /// Queued and not yet taken by the socket.
    queued: Vec<u8>,
    /// Bytes that the socket has taken since the connection began: so far the client has read.
    pub written: usize,
}

/// A packet of the broker's.
#[derive(Debug)]
pub(super) enum Sent {
    Publish(Published),
    Reply(Told),
}

/// An answer as far as the model knows it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Told {
    pub kind: Kind,
    /// 0 where it has none.
    pub id: u16,
    /// Those that the version has room for.
    pub codes: Vec<u8>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    ConnAck,
    PubAck,
    PubRec,
    PubRel,
    PubComp,
    SubAck,
    UnsubAck,
    PingResp,
}

impl Wire {
    pub(super) fn new(terms: &Terms) -> Self {
        Wire {
            version: terms.version,
            aliases: Aliases::new(terms.outbound.topic_aliases),
            queued: Vec::new(),
            written: 0,
        }
    }

    /// Bytes that are queued, as far as they have been read.
    pub(super) fn queued(&self) -> usize {
        self.queued.len()
    }

    /// Reads what is `new` in the queue: whole packets.
    pub(super) fn look(&mut self, mut new: &[u8]) -> Vec<Sent> {
        let mut sent = Vec::new();
        while let Some(length) = announced(new) {
            let Some((packet, rest)) = new.split_at_checked(length) else {
                panic!("the queue ends within a packet: {new:x?}");
            };
            self.queued.extend_from_slice(packet);
            let end = self.written + self.queued.len();
            sent.push(if packet[0] >> 4 == 3 {
                Sent::Publish(published::read(
                    self.version,
                    packet,
                    end,
                    &mut self.aliases,
                ))
            } else {
                Sent::Reply(self.reply(packet))
            });
            new = rest;
        }
        assert!(new.is_empty(), "the queue ends within a packet: {new:x?}");
        sent
    }

    fn reply(&self, packet: &[u8]) -> Told {
        let (kind, id, codes) = match receive_one(self.version, packet) {
            Ok(Received::V3(packet)) => of_v3(packet),
            Ok(Received::V5(packet)) => of_v5(packet),
            Err(error) => panic!("a client cannot read it: {error}: {packet:x?}"),
        };
        Told { kind, id, codes }
    }

    /// The socket has taken `bytes`.
    pub(super) fn write(&mut self, bytes: &[u8]) {
        assert!(
            self.queued.starts_with(bytes),
            "what was queued has changed"
        );
        self.queued.drain(..bytes.len());
        self.written += bytes.len();
    }
}

fn of_v3(packet: v3::Packet) -> (Kind, u16, Vec<u8>) {
    match packet {
        v3::Packet::ConnectAck(ack) => (Kind::ConnAck, 0, vec![ack.session_present.into()]),
        v3::Packet::PublishAck { packet_id } => (Kind::PubAck, packet_id.get(), vec![]),
        v3::Packet::PublishReceived { packet_id } => (Kind::PubRec, packet_id.get(), vec![]),
        v3::Packet::PublishRelease { packet_id } => (Kind::PubRel, packet_id.get(), vec![]),
        v3::Packet::PublishComplete { packet_id } => (Kind::PubComp, packet_id.get(), vec![]),
        v3::Packet::UnsubscribeAck { packet_id } => (Kind::UnsubAck, packet_id.get(), vec![]),
        v3::Packet::SubscribeAck { packet_id, status } => {
            let code = |status: &v3::SubscribeReturnCode| match status {
                v3::SubscribeReturnCode::Success(qos) => qos.value(),
                v3::SubscribeReturnCode::Failure => 0x80,
            };
            (
                Kind::SubAck,
                packet_id.get(),
                status.iter().map(code).collect(),
            )
        }
        v3::Packet::PingResponse => (Kind::PingResp, 0, vec![]),
        other => panic!("{other:?} to a client"),
    }
}

fn of_v5(packet: v5::Packet) -> (Kind, u16, Vec<u8>) {
    match packet {
        v5::Packet::ConnectAck(ack) => (Kind::ConnAck, 0, vec![ack.session_present.into()]),
        v5::Packet::PublishAck(ack) => (
            Kind::PubAck,
            ack.packet_id.get(),
            vec![ack.reason_code.into()],
        ),
        v5::Packet::PublishReceived(ack) => (
            Kind::PubRec,
            ack.packet_id.get(),
            vec![ack.reason_code.into()],
        ),
        v5::Packet::PublishRelease(ack) => (
            Kind::PubRel,
            ack.packet_id.get(),
            vec![ack.reason_code.into()],
        ),
        v5::Packet::PublishComplete(ack) => (
            Kind::PubComp,
            ack.packet_id.get(),
            vec![ack.reason_code.into()],
        ),
        v5::Packet::SubscribeAck(ack) => {
            let codes = ack.status.into_iter().map(u8::from).collect();
            (Kind::SubAck, ack.packet_id.get(), codes)
        }
        v5::Packet::UnsubscribeAck(ack) => {
            let codes = ack.status.into_iter().map(u8::from).collect();
            (Kind::UnsubAck, ack.packet_id.get(), codes)
        }
        v5::Packet::PingResponse => (Kind::PingResp, 0, vec![]),
        other => panic!("{other:?} to a client"),
    }
}
