//! One run: actions go to the product and to the models, and both must agree.

mod packets;

use super::actions::Action;
use super::answering::{Answering, Asked, Request};
use super::machine::Machine;
use super::receiving::{Message, Receiving};
use super::sending::Sending;
use super::terms::{LANES, Setup, Terms, terms};
use super::wire::{Kind, Sent, Told, Wire};
use roommq_mqtt::packet::{PacketId, QoS, ReasonCode, Version};
use roommq_mqtt::session::Answer;
use std::collections::{HashSet, VecDeque};

/// The largest packet that an action can make.
const LARGEST: usize = 255 * 16 + 64;

/// When it begins: milliseconds since the Unix epoch.
const START: u64 = 1_000_000;

/// How a session stands.
#[derive(Debug)]
enum Stage {
    Open,
    /// With the QoS 2 ids that wait for their PUBREL.
    Offline(HashSet<PacketId>),
    /// A connection waits for the lanes.
    Resuming(HashSet<PacketId>, Terms),
}

pub(super) struct Trial {
    setup: Setup,
    /// Of the connection that is, or was the last.
    terms: Terms,
    stage: Stage,
    machine: Machine,
    wire: Wire,
    sending: Sending,
    receiving: Receiving,
    answering: Answering,
    /// Answers that must come, in this order.
    due: VecDeque<Told>,
    /// Request ids of the answers among them.
    answered: VecDeque<u32>,
    serial: u32,
}

impl Trial {
    pub(super) fn new(setup: Setup) -> Self {
        Trial {
            setup,
            terms: setup.terms,
            stage: Stage::Open,
            machine: Machine::connect(&setup, START),
            wire: Wire::new(&setup.terms),
            sending: Sending::default(),
            receiving: Receiving::new(setup.terms.outbound),
            answering: Answering::default(),
            due: VecDeque::new(),
            answered: VecDeque::new(),
            serial: 0,
        }
    }

    pub(super) fn act(&mut self, action: Action) {
        match action {
            Action::Deliver {
                lane,
                qos,
                padding,
                life,
            } => self.deliver(lane, qos, padding, life),
            Action::Answer { lane, code } => self.answer(lane, code),
            Action::Wait(milliseconds) => {
                self.machine.now += milliseconds;
                self.receiving.pass(self.machine.now);
            }
            Action::Skip { last } => self.machine.skip_ids_to(last),
            Action::Lose => self.lose(),
            Action::Resume {
                version,
                lanes,
                window,
                largest,
                aliases,
            } => self.resume(terms(&self.terms, version, window, largest, aliases), lanes),
            Action::Reconnect => *self = Trial::new(self.setup),
            _ if !matches!(self.stage, Stage::Open) => {}
            Action::Write { most } => {
                let most = most.min(self.machine.waiting());
                self.wire.write(&self.machine.bytes(0, most));
                self.machine.written(most);
            }
            Action::Forget { id } => {
                if let Some(id) = PacketId::new(id) {
                    self.machine.forget(id);
                    self.sending.release(id);
                }
            }
            // Who does not read what is sent is not read from.
            _ if self.machine.is_choked() => {}
            Action::Confirm { which, refuse } => self.confirm(which, refuse),
            Action::Acknowledge { ack, id, refuse } => self.acknowledge(ack, id, refuse),
            Action::Ask {
                what,
                lanes,
                filters,
                refused,
            } => self.ask(what, lanes, filters, refused),
            Action::Publish {
                qos,
                id,
                dup,
                topic,
                alias,
            } => self.publish((qos, id, dup), topic, alias),
            Action::Release { id } => self.release(id),
            Action::Ping => self.ping(),
            Action::Leave { reason } => self.leave(reason),
        }
        // By what an answer held back, too.
        self.receiving.overflowed = self.machine.overflowed();
        self.look();
        self.receiving.holds();
    }

    fn deliver(&mut self, lane: u16, qos: QoS, padding: usize, life: u64) {
        self.serial += 1;
        let message = Message {
            serial: self.serial,
            lane,
            qos,
            padding,
            at: self.machine.now,
            expires: self.machine.now.saturating_add(life),
            // Nothing is held back from a client that is away: all of it waits.
            after: match self.stage {
                Stage::Open => self.answering.before(lane),
                Stage::Offline(_) | Stage::Resuming(..) => Vec::new(),
            },
        };
        let delivered = self.machine.deliver(&message);
        self.receiving.delivered(message, delivered);
    }

    fn ask(&mut self, what: Request, lanes: u8, filters: usize, refused: bool) {
        let (request_id, id, codes, lanes) = self.answering.ask(what, lanes, filters, refused);
        let answer = match what {
            Request::Subscribe => Answer::SubAck(id, Vec::new()),
            Request::Unsubscribe => Answer::UnsubAck(id),
            Request::Resume => Answer::Resume,
        };
        self.machine.expect_answer(request_id, answer, codes, lanes);
        self.settle();
    }

    /// A lane answers; with the last one the answer must come.
    fn answer(&mut self, lane: u16, code: ReasonCode) {
        match self.answering.answer(lane, code) {
            Some((request_id, codes)) => self.machine.answer(request_id, lane, &codes),
            // What an earlier connection asked is nobody's any more.
            None => self
                .machine
                .answer(self.answering.stale(), lane, &[(0, code)]),
        }
        self.settle();
    }

    fn settle(&mut self) {
        while let Some(asked) = self.answering.done() {
            if asked.what == Request::Resume {
                assert_eq!(self.machine.resumed(), Some(asked.codes()));
                self.released(asked.request_id);
                self.reconnect();
            } else {
                self.due.push_back(self.told(&asked));
                self.answered.push_back(asked.request_id);
            }
        }
    }

    fn released(&mut self, request_id: u32) {
        let answering = &self.answering;
        self.receiving
            .answered(request_id, |lane| answering.before(lane));
    }

    fn told(&self, asked: &Asked) -> Told {
        let v3 = self.terms.version == Version::V3;
        let kind = match asked.what {
            Request::Unsubscribe => Kind::UnsubAck,
            _ => Kind::SubAck,
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

    /// The broker ends the connection.
    fn close(&mut self) {
        assert_eq!(self.machine.end(), (false, true), "it leaves its will");
        self.lose();
    }

    fn lose(&mut self) {
        match std::mem::replace(&mut self.stage, Stage::Open) {
            Stage::Open => {
                let unreleased = self.machine.disconnect();
                self.sending.lose(&unreleased);
                self.stage = Stage::Offline(unreleased);
            }
            Stage::Resuming(unreleased, _) => {
                assert!(self.machine.disconnect().is_empty(), "taken once");
                self.stage = Stage::Offline(unreleased);
            }
            offline @ Stage::Offline(_) => return self.stage = offline,
        }
        self.receiving.disconnect();
        self.answering.forget();
        self.wire = Wire::new(&self.terms);
    }

    fn resume(&mut self, terms: Terms, lanes: u8) {
        match std::mem::replace(&mut self.stage, Stage::Open) {
            Stage::Offline(unreleased) => {
                self.stage = Stage::Resuming(unreleased, terms);
                self.ask(Request::Resume, lanes, 1, false);
            }
            other => self.stage = other,
        }
    }

    /// The client is let in: CONNACK, then what was on the way before [MQTT-4.4.0-1].
    fn reconnect(&mut self) {
        let Stage::Resuming(unreleased, terms) = std::mem::replace(&mut self.stage, Stage::Open)
        else {
            panic!("{:?}", self.stage);
        };
        self.terms = terms;
        self.wire = Wire::new(&terms);
        self.machine.reconnect(&self.setup, &terms, unreleased);
        self.receiving.reconnect(terms.outbound);
        self.due.push_back(Told {
            kind: Kind::ConnAck,
            id: 0,
            codes: vec![1],
        });
        for id in self.receiving.in_flight.released().to_vec() {
            self.must_come(Kind::PubRel, id.get(), &[ReasonCode::Success]);
        }
    }

    fn must_come(&mut self, kind: Kind, id: u16, codes: &[ReasonCode]) {
        let codes = match self.terms.version {
            Version::V3 => Vec::new(),
            Version::V5 => codes.iter().map(|code| *code as u8).collect(),
        };
        self.due.push_back(Told { kind, id, codes });
    }

    /// Reads what has come out.
    fn look(&mut self) {
        let waiting = self.machine.waiting();
        if !matches!(self.stage, Stage::Open) {
            return assert_eq!(waiting, 0, "for a socket that is gone");
        }
        // The socket's queue, the window of one more round, and answers.
        let answers = 1_000 + 5 * self.receiving.in_flight.released().len();
        let most = 2 * (self.terms.outbound.bytes + LARGEST) + answers;
        assert!(waiting <= most, "{waiting} bytes wait for the socket");
        let new = self.machine.bytes(self.wire.queued(), waiting);
        for sent in self.wire.look(&new) {
            match sent {
                Sent::Publish(published) => {
                    let version = self.terms.version;
                    self.receiving
                        .receive(&published, version, self.machine.now);
                }
                Sent::Reply(told) => {
                    let is_answer = matches!(told.kind, Kind::SubAck | Kind::UnsubAck);
                    assert_eq!(Some(told), self.due.pop_front());
                    if let (true, Some(request_id)) = (is_answer, self.answered.pop_front()) {
                        self.released(request_id);
                    }
                }
            }
        }
        assert!(self.due.is_empty(), "not answered: {:?}", self.due);
    }

    /// The client comes back if it is away, lanes answer, the client reads and acknowledges, until nothing is left to do.
    pub(super) fn finish(mut self) {
        self.act(Action::resume(&self.terms));
        while let Some(lane) = self.answering.pending_lane() {
            self.act(Action::Answer {
                lane: lane % LANES,
                code: ReasonCode::Success,
            });
        }
        loop {
            self.act(Action::Write { most: usize::MAX });
            let in_flight = &self.receiving.in_flight;
            if in_flight.is_empty() {
                break;
            }
            let nothing = in_flight.released().is_empty()
                && in_flight.messages().iter().all(|m| m.end.is_none());
            assert!(!nothing, "messages are on the way, and the client has none");
            self.act(Action::Confirm {
                which: 0,
                refuse: false,
            });
        }
        assert!(self.machine.has_sent_all());
        self.receiving.finish(self.machine.dropped());
    }
}
