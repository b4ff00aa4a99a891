//! The product: both halves of a session, called as a connection and the lanes call them. What the product's interface
//! changes changes here.

use super::actions::Setup;
use super::receiving::Message;
use crate::packet::{
    Packet, PacketId, PublishParts, PublishProperties, QoS, ReasonCode, Reply, Will, encode_publish,
};
use crate::session::{Answer, Close, Frame, Outbound, Session, Start, Step};
use bytes::Bytes;
use std::collections::HashSet;
use std::io::IoSlice;

/// Time stands still.
const NOW: u64 = 1_000_000;

pub(super) struct Machine {
    session: Session,
    out: Outbound,
}

impl Machine {
    /// A connection whose session is new.
    pub(super) fn connect(setup: &Setup) -> Self {
        let will = "w".parse().ok().map(|topic| Will {
            topic,
            payload: Bytes::new(),
            qos: QoS::AtMostOnce,
            retain: false,
            delay: 0,
            properties: PublishProperties::default(),
        });
        Machine {
            session: Session::new(Start {
                version: setup.version,
                will,
                expiry: 0,
                alias_maximum: setup.alias_maximum,
                receive_maximum: setup.receive_maximum,
                unreleased: HashSet::new(),
            }),
            out: Outbound::new(setup.version, setup.outbound),
        }
    }

    /// A lane delivers; false where the message found no room. And the bytes that it has.
    pub(super) fn deliver(&mut self, message: &Message) -> (bool, usize) {
        let parts = PublishParts {
            topic: &message.topic(),
            payload: &message.payload(),
            qos: message.qos,
            retain: false,
            dup: false,
            payload_is_utf8: false,
            message_expiry: None,
            content_type: None,
            response_topic: None,
            correlation_data: None,
            user_properties: &[],
            subscription_ids: &[],
        };
        let packet = encode_publish(self.out.version(), &parts);
        let length = packet.len();
        let frame = Frame {
            qos: message.qos,
            packet,
            expires: Frame::FOR_EVER,
            share: None,
        };
        (self.out.deliver(message.lane, &frame, NOW), length)
    }

    /// A packet of the client's.
    pub(super) fn take(&mut self, packet: Packet) -> Result<Step, Close> {
        self.session.step(packet)
    }

    pub(super) fn forget(&mut self, id: PacketId) {
        self.session.forget(id);
    }

    /// Whether the session ended in order, and whether it leaves a will.
    pub(super) fn end(&mut self) -> (bool, bool) {
        (
            self.session.left_in_order(),
            self.session.take_will().is_some(),
        )
    }

    pub(super) fn reply(&mut self, reply: &Reply) {
        self.out.reply(reply);
    }

    pub(super) fn acked(&mut self, id: PacketId) -> bool {
        self.out.acked(id, NOW)
    }

    pub(super) fn received(&mut self, id: PacketId) {
        self.out.received(id, NOW);
    }

    pub(super) fn refused(&mut self, id: PacketId) -> bool {
        self.out.refused(id, NOW)
    }

    pub(super) fn completed(&mut self, id: PacketId) -> bool {
        self.out.completed(id, NOW)
    }

    pub(super) fn owe(
        &mut self,
        ticket: u32,
        answer: Answer,
        codes: Vec<ReasonCode>,
        lanes: usize,
    ) {
        self.out.owe(ticket, answer, codes, None, lanes, NOW);
    }

    pub(super) fn answer(&mut self, ticket: u32, lane: u16, codes: &[(u16, ReasonCode)]) {
        let codes = codes.iter().map(|(slot, code)| {
            let text = (*code as u8 >= 0x80).then(|| "not today".to_owned());
            (*slot, *code, text)
        });
        self.out.answer(ticket, lane, codes, NOW);
    }

    /// Whether the connection stops reading from its client, whose socket takes nothing.
    pub(super) fn is_choked(&self) -> bool {
        self.out.is_full()
    }

    pub(super) fn is_settled(&self) -> bool {
        self.out.is_settled()
    }

    pub(super) fn overflowed(&self) -> bool {
        self.out.overflowed()
    }

    pub(super) fn dropped(&self) -> u64 {
        self.out.dropped()
    }

    /// Bytes that wait for the socket.
    pub(super) fn waiting(&mut self) -> usize {
        self.out.queue().len()
    }

    /// What waits for the socket, from byte `from` to byte `to`.
    pub(super) fn bytes(&mut self, from: usize, to: usize) -> Vec<u8> {
        let mut slices = [IoSlice::new(&[]); 64];
        let pieces = self.out.queue().slices(&mut slices);
        let mut bytes = Vec::with_capacity(to - from);
        let mut at = 0;
        for piece in &slices[..pieces] {
            let wanted = from.saturating_sub(at).min(piece.len())..(to - at).min(piece.len());
            bytes.extend_from_slice(&piece[wanted]);
            at += piece.len();
            if at >= to {
                break;
            }
        }
        bytes
    }

    /// The socket takes the first `bytes` of it.
    pub(super) fn written(&mut self, bytes: usize) {
        self.out.queue().advance(bytes);
    }
}
