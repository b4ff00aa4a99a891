//! What the client receives: every message once, in its order, within the window (4.3, 4.4, 4.6, 4.9).

use crate::packet::{PacketId, QoS};
use crate::session::OutboundLimits;
use rmqtt_codec::types::Publish;
use std::collections::VecDeque;

/// A message of a lane.
#[derive(Debug, Clone)]
pub(super) struct Message {
    pub serial: u32,
    pub lane: u16,
    pub qos: QoS,
    pub padding: usize,
    /// Answers that must be out before it.
    pub after: Vec<u32>,
}

impl Message {
    pub(super) fn topic(&self) -> String {
        format!("lane/{}", self.lane)
    }

    pub(super) fn payload(&self) -> Vec<u8> {
        let mut payload = self.serial.to_be_bytes().to_vec();
        payload.resize(4 + self.padding, b'x');
        payload
    }
}

/// What was handed to the session and has not come out.
#[derive(Debug)]
struct Awaited {
    message: Message,
    length: usize,
    /// It may have been dropped, and is counted then.
    may_be_lost: bool,
    /// It waits for an answer, not for the window.
    held: bool,
}

/// A message of QoS 1 or 2 that has come out and is not acknowledged to the end.
#[derive(Debug)]
pub(super) struct Flying {
    pub id: PacketId,
    pub qos: QoS,
    /// Where its PUBLISH ends in the stream.
    pub end: usize,
    pub released: bool,
    length: usize,
}

/// The client as a receiver.
pub(super) struct Receiving {
    limits: OutboundLimits,
    awaited: VecDeque<Awaited>,
    flying: Vec<Flying>,
    /// Messages that will not come.
    lost: u64,
    /// One that the session had no right to drop without its end.
    lost_one: bool,
}

impl Receiving {
    pub(super) fn new(limits: OutboundLimits) -> Self {
        Receiving {
            limits,
            awaited: VecDeque::new(),
            flying: Vec::new(),
            lost: 0,
            lost_one: false,
        }
    }

    pub(super) fn flying(&self) -> &[Flying] {
        &self.flying
    }

    /// QoS 1 and 2 messages that wait for the window, and their bytes.
    fn waiting(&self) -> (usize, usize) {
        let waiting = self
            .awaited
            .iter()
            .filter(|a| a.message.qos != QoS::AtMostOnce && !a.held);
        waiting.fold((0, 0), |(n, bytes), a| (n + 1, bytes + a.length))
    }

    /// A message was delivered: `taken` or not, `queued` bytes waiting for the socket before it.
    pub(super) fn delivered(
        &mut self,
        message: Message,
        length: usize,
        taken: bool,
        queued: usize,
    ) {
        let limits = self.limits;
        let (qos, held) = (message.qos, !message.after.is_empty());
        let too_large = limits
            .maximum_packet_size
            .is_some_and(|m| length > m as usize);
        if !taken {
            let (waiting, bytes) = self.waiting();
            let full = if held {
                let held = self.awaited.iter().filter(|a| a.held).map(|a| a.length);
                held.sum::<usize>() + length > limits.bytes
            } else if qos == QoS::AtMostOnce {
                queued > 0 && queued + length > limits.bytes
            } else {
                waiting >= limits.messages || bytes + length > limits.bytes
            };
            assert!(
                full,
                "{message:?} of {length} bytes was not taken, and there was room"
            );
            return self.lose(qos, false);
        }
        if too_large && !held {
            return self.lose(qos, true);
        }
        self.awaited.push_back(Awaited {
            message,
            length,
            may_be_lost: held && (too_large || qos == QoS::AtMostOnce),
            held,
        });
    }

    fn lose(&mut self, qos: QoS, may_be: bool) {
        self.lost += 1;
        self.lost_one |= qos != QoS::AtMostOnce && !may_be;
    }

    /// The last answer that `ticket` owed is out, and what it held goes on its way; not where its lane is
    /// `still_held` for another ticket, though it need not wait for that.
    pub(super) fn answered(&mut self, ticket: u32, still_held: impl Fn(u16) -> bool) {
        for awaited in &mut self.awaited {
            awaited.message.after.retain(|t| *t != ticket);
            // There may be no room for it now.
            awaited.may_be_lost |= awaited.held;
            awaited.held &= still_held(awaited.message.lane);
        }
    }

    /// A PUBLISH came out.
    pub(super) fn receive(&mut self, publish: &Publish, end: usize, length: usize) {
        let serial = publish.payload.get(..4).and_then(|b| b.try_into().ok());
        let serial = u32::from_be_bytes(serial.unwrap_or_default());
        let at = self.awaited.iter().position(|a| a.message.serial == serial);
        let Some(awaited) = at.and_then(|at| self.awaited.remove(at)) else {
            panic!("{publish:?}: message {serial} was not to come (again)");
        };
        let message = &awaited.message;
        assert!(message.after.is_empty(), "{message:?} before an answer");
        assert!(publish.topic[..] == *message.topic() && publish.payload == message.payload());
        assert_eq!(
            (publish.qos.value(), awaited.length),
            (message.qos as u8, length)
        );
        assert!(!publish.dup && !publish.retain, "{publish:?}");
        self.in_order(message);

        let Some(id) = publish.packet_id else {
            return assert_eq!(message.qos, QoS::AtMostOnce);
        };
        let used = self.flying.iter().any(|f| f.id == id);
        assert!(!used, "id {id} is in use [MQTT-2.2.1-3]");
        self.flying.push(Flying {
            id,
            qos: message.qos,
            end,
            released: false,
            length,
        });
        let window = usize::from(self.limits.receive_maximum);
        assert!(
            self.flying.len() <= window,
            "more than {window} on the way [MQTT-3.3.4-9]"
        );
        let unreceived = self.flying.iter().filter(|f| !f.released);
        let (many, bytes) = unreceived.fold((0, 0), |(n, bytes), f| (n + 1, bytes + f.length));
        assert!(
            many == 1 || bytes <= self.limits.bytes,
            "{bytes} bytes on the way"
        );
    }

    /// Nothing of the same lane and QoS that went before is still to come [MQTT-4.6.0-2 and the like].
    fn in_order(&mut self, message: &Message) {
        let same = |a: &Awaited| a.message.lane == message.lane && a.message.qos == message.qos;
        let earlier = |a: &Awaited| same(a) && a.message.serial < message.serial;
        let passed: Vec<bool> = self
            .awaited
            .iter()
            .filter(|a| earlier(a))
            .map(|a| a.may_be_lost)
            .collect();
        assert!(
            passed.iter().all(|may_be| *may_be),
            "{message:?} has overtaken another"
        );
        self.awaited.retain(|a| !earlier(a));
        for _ in passed {
            self.lose(message.qos, true);
        }
    }

    /// What an acknowledgement must come to.
    pub(super) fn acked(&mut self, id: PacketId) -> bool {
        self.over(|f| f.id == id && f.qos == QoS::AtLeastOnce)
    }

    pub(super) fn refused(&mut self, id: PacketId) -> bool {
        self.over(|f| f.id == id && f.qos == QoS::ExactlyOnce && !f.released)
    }

    pub(super) fn completed(&mut self, id: PacketId) -> bool {
        self.over(|f| f.id == id && f.released)
    }

    fn over(&mut self, which: impl Fn(&Flying) -> bool) -> bool {
        let before = self.flying.len();
        self.flying.retain(|f| !which(f));
        before > self.flying.len()
    }

    /// PUBREC: whether the message is known, so that PUBREL says success.
    pub(super) fn received(&mut self, id: PacketId) -> bool {
        let known = self
            .flying
            .iter_mut()
            .find(|f| f.id == id && f.qos == QoS::ExactlyOnce);
        known.map(|f| f.released = true).is_some()
    }

    /// What must hold between any two actions.
    pub(super) fn holds(&self) {
        let (waiting, bytes) = self.waiting();
        let certain = self.awaited.iter().all(|a| !a.may_be_lost);
        if !certain {
            return;
        }
        assert!(waiting <= self.limits.messages && bytes <= self.limits.bytes);
        let mut awaited = self.awaited.iter();
        assert!(
            awaited.all(|a| a.held || a.message.qos != QoS::AtMostOnce),
            "QoS 0 does not wait"
        );
        let next = self.awaited.iter().find(|a| !a.held);
        let flying = self.flying.iter().filter(|f| !f.released).map(|f| f.length);
        if let Some(next) = next {
            let many = self.flying.len() >= usize::from(self.limits.receive_maximum);
            let large = flying.sum::<usize>() + next.length > self.limits.bytes;
            assert!(
                many || (large && !self.flying.is_empty()),
                "{next:?} waits, and the window is open"
            );
        }
    }

    /// Nothing more is to come: `dropped` is what the session counted.
    pub(super) fn finish(mut self, dropped: u64, overflowed: bool) {
        assert!(self.flying.is_empty());
        let mut of_right = true;
        for awaited in std::mem::take(&mut self.awaited) {
            assert!(awaited.may_be_lost, "{awaited:?} never came");
            let too_large = self
                .limits
                .maximum_packet_size
                .is_some_and(|m| awaited.length > m as usize);
            of_right &= too_large || awaited.message.qos == QoS::AtMostOnce;
            self.lost += 1;
        }
        assert_eq!(self.lost, dropped, "messages that went missing are counted");
        assert!(
            overflowed || (of_right && !self.lost_one),
            "lost, and the session goes on"
        );
    }
}
