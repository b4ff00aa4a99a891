//! The product: both halves of a session, called as a connection and the lanes call them. What the product's interface
//! changes changes here.

use super::flying::Size;
use super::receiving::{Delivered, Message};
use super::terms::{Setup, Terms};
use bytes::Bytes;
use roommq_mqtt::packet::{
    ConnAck, Packet, PacketId, PublishParts, PublishProperties, QoS, ReasonCode, Reply, Version,
    Will, encode_publish,
};
use roommq_mqtt::session::{Answer, Close, Frame, Outbound, Session, Start, Step, WrongKind};
use std::collections::HashSet;
use std::io::IoSlice;

pub(super) struct Machine {
    session: Session,
    out: Outbound,
    /// Milliseconds since the Unix epoch.
    pub now: u64,
}

/// The receiving half of a connection.
fn session(setup: &Setup, terms: &Terms, unreleased: HashSet<PacketId>) -> Session {
    let will = "w".parse().ok().map(|topic| Will {
        topic,
        payload: Bytes::new(),
        qos: QoS::AtMostOnce,
        retain: false,
        delay: 0,
        properties: PublishProperties::default(),
    });
    Session::new(Start {
        version: terms.version,
        will,
        expiry: 0,
        expiry_requested: false,
        alias_maximum: setup.alias_maximum,
        receive_maximum: setup.receive_maximum,
        unreleased,
    })
}

impl Machine {
    /// A connection whose session is new.
    pub(super) fn connect(setup: &Setup, now: u64) -> Self {
        Machine {
            session: session(setup, &setup.terms, HashSet::new()),
            out: Outbound::new(setup.terms.version, setup.terms.outbound),
            now,
        }
    }

    /// The connection ends, the session is kept: with these QoS 2 ids that wait for their PUBREL.
    pub(super) fn disconnect(&mut self) -> HashSet<PacketId> {
        self.out.disconnect(self.now);
        self.session.take_unreleased()
    }

    /// Another connection takes the session up.
    pub(super) fn reconnect(
        &mut self,
        setup: &Setup,
        terms: &Terms,
        unreleased: HashSet<PacketId>,
    ) {
        self.session = session(setup, terms, unreleased);
        let connack = Reply::ConnAck(Box::new(ConnAck {
            session_present: true,
            ..ConnAck::new(ReasonCode::Success)
        }));
        self.out
            .reconnect(terms.version, terms.outbound, &connack, self.now);
    }

    /// The lanes' answers to a session that goes on, once all are there.
    pub(super) fn resumed(&mut self) -> Option<Vec<ReasonCode>> {
        self.out.take_resumed()
    }

    /// A lane delivers.
    pub(super) fn deliver(&mut self, message: &Message) -> Delivered {
        let parts = PublishParts {
            topic: &message.topic(),
            payload: &message.payload(),
            qos: message.qos,
            retain: false,
            dup: false,
            payload_format_indicator: None,
            message_expiry: message.left(self.now),
            content_type: None,
            response_topic: None,
            correlation_data: None,
            user_properties: &[],
            subscription_ids: &[],
        };
        let version = self.out.version();
        let packet = encode_publish(version, &parts);
        let size = Size {
            kept: packet.len(),
            in_v5: packet.translated(Version::V5).len(),
        };
        let queued = self.waiting();
        let frame = Frame {
            qos: message.qos,
            packet,
            expires: message.expires,
            share: None,
        };
        Delivered {
            taken: self.out.deliver(message.lane, &frame, self.now),
            overflowed: self.out.overflowed(),
            size,
            version,
            queued,
        }
    }

    /// A packet of the client's.
    pub(super) fn take(&mut self, packet: Packet) -> Result<Step, Close> {
        self.session.step(packet)
    }

    pub(super) fn forget(&mut self, id: PacketId) {
        self.session.release(id);
    }

    /// Whether the session ended in order, and whether it leaves a will.
    pub(super) fn end(&mut self) -> (bool, bool) {
        (
            self.session.has_disconnected(),
            self.session.take_will().is_some(),
        )
    }

    pub(super) fn reply(&mut self, reply: &Reply) {
        self.out.reply(reply);
    }

    pub(super) fn skip_ids_to(&mut self, last: u16) {
        self.out.skip_ids_to(last);
    }

    pub(super) fn acked(&mut self, id: PacketId) -> Result<bool, WrongKind> {
        self.out.acked(id, self.now)
    }

    pub(super) fn received(&mut self, id: PacketId) -> Result<bool, WrongKind> {
        self.out.received(id, self.now)
    }

    pub(super) fn refused(&mut self, id: PacketId) -> Result<bool, WrongKind> {
        self.out.refused(id, self.now)
    }

    pub(super) fn completed(&mut self, id: PacketId) -> Result<bool, WrongKind> {
        self.out.completed(id, self.now)
    }

    pub(super) fn expect_answer(
        &mut self,
        request_id: u32,
        answer: Answer,
        codes: Vec<ReasonCode>,
        lanes: usize,
    ) {
        self.out
            .expect_answer(request_id, answer, codes, None, lanes, self.now);
    }

    pub(super) fn answer(&mut self, request_id: u32, lane: u16, codes: &[(u16, ReasonCode)]) {
        let codes = codes.iter().map(|(slot, code)| {
            let text = (*code as u8 >= 0x80).then(|| "not today".to_owned());
            (*slot, *code, text)
        });
        self.out.answer(request_id, lane, codes, self.now);
    }

    /// Whether the connection stops reading from its client, whose socket takes nothing.
    pub(super) fn is_choked(&self) -> bool {
        self.out.is_full()
    }

    pub(super) fn has_sent_all(&self) -> bool {
        self.out.has_sent_all()
    }

    /// Whether the connection is to be closed.
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
