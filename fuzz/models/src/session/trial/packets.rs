//! What the client sends, and what is to come of it.

use super::super::actions::Ack;
use super::super::sending::{self, Due};
use super::super::wire::Kind;
use super::Trial;
use roommq_mqtt::packet::{Disconnect, Packet, PacketId, QoS, ReasonCode, Reply, Version};
use roommq_mqtt::session::{Step, WrongKind};

impl Trial {
    pub(super) fn ping(&mut self) {
        let step = self.machine.take(Packet::PingReq);
        assert!(matches!(step, Ok(Step::Ping)), "{step:?}");
        self.reply(Kind::PingResp, 0, &[], &Reply::PingResp);
    }

    /// The broker answers a packet of the client's.
    fn reply(&mut self, kind: Kind, id: u16, codes: &[ReasonCode], reply: &Reply) {
        self.machine.reply(reply);
        self.must_come(kind, id, codes);
    }

    /// Acknowledges one of the messages that the client has read.
    pub(super) fn confirm(&mut self, which: usize, refuse: bool) {
        let in_flight = &self.receiving.in_flight;
        let read = |end: Option<usize>| end.is_some_and(|end| end <= self.wire.written);
        let messages = in_flight.messages().iter().filter(|m| read(m.end));
        let released = in_flight.released().iter();
        let open: Vec<(Ack, u16)> = messages
            .map(|m| match m.qos {
                QoS::ExactlyOnce => (Ack::Received, m.id.get()),
                _ => (Ack::Taken, m.id.get()),
            })
            .chain(released.map(|id| (Ack::Complete, id.get())))
            .collect();
        if !open.is_empty() {
            let (ack, id) = open[which % open.len()];
            self.acknowledge(ack, id, refuse);
        }
    }

    pub(super) fn acknowledge(&mut self, ack: Ack, id: u16, refuse: bool) {
        let Some(id) = PacketId::new(id) else { return };
        let refuse = refuse && self.terms.version == Version::V5;
        let step = self.machine.take(sending::ack(ack, id, refuse));
        let in_flight = &mut self.receiving.in_flight;
        let is_wrong = in_flight.is_wrong(ack, id);
        let (did, expected) = match (ack, step) {
            (Ack::Taken, Ok(Step::Acked(of))) if of == id => {
                (self.machine.acked(id), in_flight.acked(id))
            }
            (Ack::Received, Ok(Step::Refused(of))) if of == id && refuse => {
                (self.machine.refused(id), in_flight.refused(id))
            }
            (Ack::Received, Ok(Step::Received(of))) if of == id && !refuse => {
                (self.machine.received(id), in_flight.received(id))
            }
            (Ack::Complete, Ok(Step::Completed(of))) if of == id => {
                (self.machine.completed(id), in_flight.completed(id))
            }
            (ack, step) => panic!("{ack:?} of {id}: {step:?}"),
        };
        if is_wrong {
            assert_eq!(did, Err(WrongKind(id)), "{ack:?} of {id}");
            return self.close();
        }
        assert_eq!(did, Ok(expected), "{ack:?} of {id}");
        if ack == Ack::Received && !refuse {
            self.must_come(Kind::PubRel, id.get(), &[found(expected)]);
        }
    }

    pub(super) fn publish(
        &mut self,
        (qos, id, dup): (QoS, u16, bool),
        topic: Option<u8>,
        alias: Option<u16>,
    ) {
        let Some(id) = PacketId::new(id) else { return };
        let version = self.terms.version;
        let (publish, due) =
            self.sending
                .publish(&self.setup, version, (qos, id, dup), topic, alias);
        let step = self.machine.take(Packet::Publish(publish.clone()));
        sending::check(&publish, &due, &step);
        if let Due::Close(_) = due {
            assert_eq!(self.machine.end(), (false, true), "it leaves its will");
            return self.lose();
        }
        let success = ReasonCode::Success;
        let (kind, reply) = match qos {
            QoS::AtMostOnce => return,
            QoS::AtLeastOnce => (Kind::PubAck, Reply::PubAck(id, success, None)),
            QoS::ExactlyOnce => (Kind::PubRec, Reply::PubRec(id, success, None)),
        };
        self.reply(kind, id.get(), &[success], &reply);
    }

    pub(super) fn release(&mut self, id: u16) {
        let Some(id) = PacketId::new(id) else { return };
        let packet = Packet::PubRel(roommq_mqtt::packet::Ack {
            packet_id: id,
            reason: ReasonCode::Success,
        });
        let reason = found(self.sending.release(id));
        match self.machine.take(packet) {
            Ok(Step::Released(of, code)) => assert_eq!((of, code), (id, reason)),
            other => panic!("PUBREL of {id}: {other:?}"),
        }
        let reply = Reply::PubComp(id, reason, None);
        self.reply(Kind::PubComp, id.get(), &[reason], &reply);
    }

    pub(super) fn leave(&mut self, reason: ReasonCode) {
        let goodbye = Disconnect {
            reason,
            session_expiry: None,
        };
        let step = self.machine.take(Packet::Disconnect(goodbye));
        assert!(matches!(step, Ok(Step::Disconnect)), "{step:?}");
        let will = reason != ReasonCode::Success;
        assert_eq!(
            self.machine.end(),
            (true, will),
            "DISCONNECT with {reason:?}"
        );
        self.lose();
    }
}

/// The code for an id that is known, or not.
fn found(known: bool) -> ReasonCode {
    if known {
        ReasonCode::Success
    } else {
        ReasonCode::PacketIdentifierNotFound
    }
}
