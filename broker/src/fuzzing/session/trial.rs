//! One run: actions go to the product and to the models, and both must agree.

use super::actions::{Ack, Action, LANES, Setup};
use super::answering::{Answering, Asked};
use super::machine::Machine;
use super::receiving::{Message, Receiving};
use super::sending::{self, Due, Sending};
use super::wire::{Kind, Sent, Told, Wire};
use crate::packet::{Disconnect, Packet, PacketId, QoS, ReasonCode, Reply, Version};
use crate::session::{Answer, Step};
use std::collections::VecDeque;

/// The largest packet that an action can make.
const LARGEST: usize = 255 * 16 + 64;

pub(super) struct Trial {
    setup: Setup,
    machine: Machine,
    wire: Wire,
    sending: Sending,
    receiving: Receiving,
    answering: Answering,
    /// Answers that must come, in this order.
    due: VecDeque<Told>,
    /// Tickets of the answers among them.
    answered: VecDeque<u32>,
    serial: u32,
}

impl Trial {
    pub(super) fn new(setup: Setup) -> Self {
        Trial {
            setup,
            machine: Machine::connect(&setup),
            wire: Wire::new(setup.version),
            sending: Sending::default(),
            receiving: Receiving::new(setup.outbound),
            answering: Answering::default(),
            due: VecDeque::new(),
            answered: VecDeque::new(),
            serial: 0,
        }
    }

    pub(super) fn act(&mut self, action: Action) {
        match action {
            Action::Deliver { lane, qos, padding } => self.deliver(lane, qos, padding),
            Action::Write { most } => {
                let most = most.min(self.machine.waiting());
                self.wire.write(&self.machine.bytes(0, most));
                self.machine.written(most);
            }
            Action::Answer { lane, code } => self.answer(lane, code),
            Action::Forget { id } => {
                if let Some(id) = PacketId::new(id) {
                    self.machine.forget(id);
                    self.sending.release(id);
                }
            }
            Action::Reconnect => *self = Trial::new(self.setup),
            // Who does not read what is sent is not read from.
            _ if self.machine.is_choked() => {}
            Action::Confirm { which, refuse } => self.confirm(which, refuse),
            Action::Acknowledge { ack, id, refuse } => self.acknowledge(ack, id, refuse),
            Action::Ask {
                subscribe,
                lanes,
                filters,
                refused,
            } => {
                let (ticket, id, codes, lanes) =
                    self.answering.ask(subscribe, lanes, filters, refused);
                let answer = if subscribe {
                    Answer::SubAck(id, Vec::new())
                } else {
                    Answer::UnsubAck(id)
                };
                self.machine.owe(ticket, answer, codes, lanes);
                self.settle();
            }
            Action::Publish {
                qos,
                id,
                dup,
                topic,
                alias,
            } => self.publish((qos, id, dup), topic, alias),
            Action::Release { id } => self.release(id),
            Action::Ping => {
                let step = self.machine.take(Packet::PingReq);
                assert!(matches!(step, Ok(Step::Ping)), "{step:?}");
                self.reply(Kind::PingResp, 0, &[], &Reply::PingResp);
            }
            Action::Leave { reason } => self.leave(reason),
        }
        self.look();
        self.receiving.holds();
    }

    fn deliver(&mut self, lane: u16, qos: QoS, padding: usize) {
        self.serial += 1;
        let message = Message {
            serial: self.serial,
            lane,
            qos,
            padding,
            after: self.answering.before(lane),
        };
        let queued = self.machine.waiting();
        let (taken, length) = self.machine.deliver(&message);
        self.receiving.delivered(message, length, taken, queued);
    }

    /// A lane answers; with the last one the answer must come.
    fn answer(&mut self, lane: u16, code: ReasonCode) {
        if let Some((ticket, codes)) = self.answering.answer(lane, code) {
            self.machine.answer(ticket, lane, &codes);
            self.settle();
        }
    }

    fn settle(&mut self) {
        while let Some(asked) = self.answering.done() {
            self.due.push_back(self.told(&asked));
            self.answered.push_back(asked.ticket);
        }
    }

    fn told(&self, asked: &Asked) -> Told {
        let v3 = self.setup.version == Version::V3;
        let kind = if asked.subscribe {
            Kind::SubAck
        } else {
            Kind::UnsubAck
        };
        let of = |code: ReasonCode| match (kind, code as u8) {
            // What the packet does not have.
            (Kind::SubAck, 0x11) | (Kind::UnsubAck, 0x01 | 0x02 | 0x97) => 0x80,
            (_, 0x80..) if v3 => 0x80,
            (_, code) => code,
        };
        let codes = asked.codes().into_iter().map(of).collect();
        Told {
            kind,
            id: asked.id.get(),
            codes: if v3 && kind == Kind::UnsubAck {
                Vec::new()
            } else {
                codes
            },
        }
    }

    /// The broker answers a packet of the client's.
    fn reply(&mut self, kind: Kind, id: u16, codes: &[ReasonCode], reply: &Reply) {
        self.machine.reply(reply);
        self.must_come(kind, id, codes);
    }

    fn must_come(&mut self, kind: Kind, id: u16, codes: &[ReasonCode]) {
        let codes = match self.setup.version {
            Version::V3 => Vec::new(),
            Version::V5 => codes.iter().map(|code| *code as u8).collect(),
        };
        self.due.push_back(Told { kind, id, codes });
    }

    /// Acknowledges one of the messages that the client has read.
    fn confirm(&mut self, which: usize, refuse: bool) {
        let read = self
            .receiving
            .flying()
            .iter()
            .filter(|f| f.end <= self.wire.written);
        let read: Vec<(Ack, u16)> = read
            .map(|f| match (f.qos, f.released) {
                (QoS::AtLeastOnce, _) => (Ack::Taken, f.id.get()),
                (_, false) => (Ack::Received, f.id.get()),
                (_, true) => (Ack::Complete, f.id.get()),
            })
            .collect();
        if !read.is_empty() {
            let (ack, id) = read[which % read.len()];
            self.acknowledge(ack, id, refuse);
        }
    }

    fn acknowledge(&mut self, ack: Ack, id: u16, refuse: bool) {
        let Some(id) = PacketId::new(id) else { return };
        let refuse = refuse && self.setup.version == Version::V5;
        let step = self.machine.take(sending::ack(ack, id, refuse));
        let (did, expected) = match (ack, step) {
            (Ack::Taken, Ok(Step::Acked(of))) if of == id => {
                (self.machine.acked(id), self.receiving.acked(id))
            }
            (Ack::Received, Ok(Step::Refused(of))) if of == id && refuse => {
                (self.machine.refused(id), self.receiving.refused(id))
            }
            (Ack::Received, Ok(Step::Received(of))) if of == id && !refuse => {
                self.machine.received(id);
                let reason = found(self.receiving.received(id));
                return self.must_come(Kind::PubRel, id.get(), &[reason]);
            }
            (Ack::Complete, Ok(Step::Completed(of))) if of == id => {
                (self.machine.completed(id), self.receiving.completed(id))
            }
            (ack, step) => panic!("{ack:?} of {id}: {step:?}"),
        };
        assert_eq!(did, expected, "{ack:?} of {id}");
    }

    fn publish(&mut self, (qos, id, dup): (QoS, u16, bool), topic: Option<u8>, alias: Option<u16>) {
        let Some(id) = PacketId::new(id) else { return };
        let (publish, due) = self
            .sending
            .publish(&self.setup, (qos, id, dup), topic, alias);
        let step = self.machine.take(Packet::Publish(publish.clone()));
        sending::check(&publish, &due, &step);
        if let Due::Close(_) = due {
            assert_eq!(self.machine.end(), (false, true), "it leaves its will");
            *self = Trial::new(self.setup);
            return;
        }
        let success = ReasonCode::Success;
        match qos {
            QoS::AtMostOnce => {}
            QoS::AtLeastOnce => {
                self.reply(
                    Kind::PubAck,
                    id.get(),
                    &[success],
                    &Reply::PubAck(id, success, None),
                );
            }
            QoS::ExactlyOnce => {
                self.reply(
                    Kind::PubRec,
                    id.get(),
                    &[success],
                    &Reply::PubRec(id, success, None),
                );
            }
        }
    }

    fn release(&mut self, id: u16) {
        let Some(id) = PacketId::new(id) else { return };
        let packet = Packet::PubRel(crate::packet::Ack {
            packet_id: id,
            reason: ReasonCode::Success,
        });
        let reason = found(self.sending.release(id));
        match self.machine.take(packet) {
            Ok(Step::Released(of, code)) => assert_eq!((of, code), (id, reason)),
            other => panic!("PUBREL of {id}: {other:?}"),
        }
        self.reply(
            Kind::PubComp,
            id.get(),
            &[reason],
            &Reply::PubComp(id, reason),
        );
    }

    fn leave(&mut self, reason: ReasonCode) {
        let goodbye = Disconnect {
            reason,
            session_expiry: None,
        };
        let step = self.machine.take(Packet::Disconnect(goodbye));
        assert!(matches!(step, Ok(Step::Leave)), "{step:?}");
        let will = reason != ReasonCode::Success;
        assert_eq!(
            self.machine.end(),
            (true, will),
            "DISCONNECT with {reason:?}"
        );
        *self = Trial::new(self.setup);
    }

    /// Reads what has come out.
    fn look(&mut self) {
        let waiting = self.machine.waiting();
        // The socket's queue, the window of one more round, and answers.
        let most = 2 * (self.setup.outbound.bytes + LARGEST) + 1_000;
        assert!(waiting <= most, "{waiting} bytes wait for the socket");
        let new = self.machine.bytes(self.wire.queued(), waiting);
        for sent in self.wire.look(&new) {
            match sent {
                Sent::Publish(publish, end, length) => {
                    self.receiving.receive(&publish, end, length);
                }
                Sent::Reply(told) => {
                    let is_answer = matches!(told.kind, Kind::SubAck | Kind::UnsubAck);
                    assert_eq!(Some(told), self.due.pop_front());
                    if let (true, Some(ticket)) = (is_answer, self.answered.pop_front()) {
                        let answering = &self.answering;
                        let still_held = |lane| !answering.before(lane).is_empty();
                        self.receiving.answered(ticket, still_held);
                    }
                }
            }
        }
        assert!(self.due.is_empty(), "not answered: {:?}", self.due);
    }

    /// Lanes answer, the client reads and acknowledges, until nothing is left to do.
    pub(super) fn finish(mut self) {
        while let Some(lane) = self.answering.owing() {
            self.act(Action::Answer {
                lane: lane % LANES,
                code: ReasonCode::Success,
            });
        }
        loop {
            self.act(Action::Write { most: usize::MAX });
            if self.receiving.flying().is_empty() {
                break;
            }
            self.act(Action::Confirm {
                which: 0,
                refuse: false,
            });
        }
        assert!(self.machine.is_settled());
        let (dropped, overflowed) = (self.machine.dropped(), self.machine.overflowed());
        self.receiving.finish(dropped, overflowed);
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
