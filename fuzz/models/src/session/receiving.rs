//! What the client receives: every message once, in its order, within the window (4.3, 4.4, 4.6, 4.9).

use super::flying::{InFlight, Size};
use super::published::Published;
use super::terms::FOR_EVER;
use roommq_mqtt::packet::{QoS, Version};
use roommq_mqtt::session::OutboundLimits;
use std::collections::VecDeque;

/// A message of a lane.
#[derive(Debug, Clone)]
pub(super) struct Message {
    pub serial: u32,
    pub lane: u16,
    pub qos: QoS,
    pub padding: usize,
    /// When it was delivered, and when it is worth nothing any more; in milliseconds.
    pub at: u64,
    pub expires: u64,
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

    /// Seconds to live at `now`, as the receiver is told [MQTT-3.3.2-6].
    pub(super) fn left(&self, now: u64) -> Option<u32> {
        let left = self.expires.saturating_sub(now).div_ceil(1000);
        (self.expires != FOR_EVER).then(|| u32::try_from(left).unwrap_or(u32::MAX))
    }
}

/// What came of a delivery.
#[derive(Debug, Clone, Copy)]
pub(super) struct Delivered {
    pub taken: bool,
    /// Whether the connection is to be closed, for this message or one before it.
    pub overflowed: bool,
    pub size: Size,
    /// What the lane encoded it for.
    pub version: Version,
    /// Bytes that waited for the socket before.
    pub queued: usize,
}

/// What was handed to the session and has not come out.
#[derive(Debug)]
struct Awaited {
    message: Message,
    size: Size,
    /// It may have been dropped, and is counted then.
    may_be_lost: bool,
    /// It waits for an answer, not for the window.
    held: bool,
    /// In the order in which they came to wait, for the one or the other.
    number: u64,
}

impl Awaited {
    /// Bytes that it counts for, of what is held if it is.
    fn weight(&self) -> usize {
        weight(self.size, self.held)
    }
}

/// What is held counts for 64 bytes at least.
fn weight(size: Size, held: bool) -> usize {
    size.kept.max(if held { 64 } else { 0 })
}

/// The client as a receiver.
pub(super) struct Receiving {
    pub in_flight: InFlight,
    connected: bool,
    awaited: VecDeque<Awaited>,
    /// All that came out once and may come again, by serial, with the version that they are encoded for.
    versions: Vec<Version>,
    expiries: Vec<u64>,
    last_number: u64,
    /// Messages that will not come.
    lost: u64,
    /// Messages of QoS 0 that were held when a connection was lost: those that had found no more room are counted.
    perhaps: u64,
    /// The connection may have found a queue that was filled before it, and is not closed for that.
    behind: bool,
    /// The connection was to be closed.
    pub overflowed: bool,
}

impl Receiving {
    pub(super) fn new(limits: OutboundLimits) -> Self {
        Receiving {
            in_flight: InFlight::new(limits),
            connected: true,
            awaited: VecDeque::new(),
            versions: Vec::new(),
            expiries: Vec::new(),
            last_number: 0,
            lost: 0,
            perhaps: 0,
            behind: false,
            overflowed: false,
        }
    }

    fn limits(&self) -> OutboundLimits {
        self.in_flight.limits
    }

    /// QoS 1 and 2 messages that wait for the window, and their bytes.
    fn waiting(&self) -> (usize, usize) {
        let waits = |a: &&Awaited| a.message.qos != QoS::AtMostOnce && !a.held;
        let waiting = self.awaited.iter().filter(waits);
        waiting.fold((0, 0), |(n, bytes), a| (n + 1, bytes + a.size.kept))
    }

    /// A message was delivered. Serials start at 1 and leave none out.
    pub(super) fn delivered(&mut self, message: Message, what: Delivered) {
        self.versions.push(what.version);
        self.expiries.push(message.expires);
        let limits = self.limits();
        let (qos, held) = (message.qos, !message.after.is_empty());
        let length = weight(what.size, held);
        let full = self.is_full(&message, what);
        let begins = what.overflowed && !self.overflowed;
        self.overflowed = what.overflowed;
        assert!(
            !begins || full && qos != QoS::AtMostOnce,
            "{message:?} of {length} bytes ends the connection, and there was room"
        );
        if !what.taken {
            let never = qos == QoS::AtMostOnce || length > limits.bytes;
            assert!(
                full && never,
                "{message:?} of {length} bytes was not taken, and could have been"
            );
            assert!(
                qos == QoS::AtMostOnce || self.may_drop(),
                "{message:?} was dropped, and the connection goes on"
            );
            self.lost += 1;
            return;
        }
        if !self.connected && !held && qos == QoS::AtMostOnce {
            return; // lost, and not counted: nobody is there (4.3.1)
        }
        let too_large = self.connected && self.in_flight.is_too_large(what.size);
        if too_large && !held {
            self.lost += 1;
            return;
        }
        let over = message.expires <= message.at;
        self.last_number += 1;
        self.awaited.push_back(Awaited {
            number: self.last_number,
            message,
            size: what.size,
            may_be_lost: over || too_large || (held && qos == QoS::AtMostOnce),
            held,
        });
        if full && self.may_drop() {
            self.only_newest_are_sure();
        }
    }

    /// Whether there may be no room for one more.
    fn is_full(&self, message: &Message, what: Delivered) -> bool {
        let held = !message.after.is_empty();
        let (limits, length) = (self.limits(), weight(what.size, held));
        if held {
            let held = self.awaited.iter().filter(|a| a.held).map(Awaited::weight);
            return held.sum::<usize>() + length > limits.bytes;
        }
        if message.qos == QoS::AtMostOnce {
            return what.queued > 0 && what.queued + length > limits.bytes;
        }
        let (waiting, bytes) = self.waiting();
        waiting >= limits.messages || bytes + length > limits.bytes
    }

    /// Whether the oldest may go for the newest: nobody is there, or the connection is to be closed, or it has found
    /// more than it can have read by now.
    fn may_drop(&self) -> bool {
        !self.connected || self.overflowed || self.behind
    }

    /// The newest that have room are kept, and anything older may go. What is held has room of its own.
    fn only_newest_are_sure(&mut self) {
        let limits = self.limits();
        let (mut many, mut bytes, mut held) = (0, 0, 0);
        let mut newest: Vec<_> = self.awaited.iter_mut().collect();
        newest.sort_by_key(|a| std::cmp::Reverse(a.number));
        for awaited in newest {
            if awaited.held {
                held += awaited.weight();
                awaited.may_be_lost |= held > limits.bytes;
            } else if awaited.message.qos != QoS::AtMostOnce {
                many += 1;
                bytes += awaited.size.kept;
                awaited.may_be_lost |= many > limits.messages || bytes > limits.bytes;
            }
        }
    }

    /// The answer to this request is sent, and what was held back for it goes on its way; not if its lane has answered
    /// other requests: it waits for those then, though it would not have to.
    pub(super) fn answered(&mut self, request_id: u32, before: impl Fn(u16) -> Vec<u32>) {
        let mut released = Vec::new();
        let mut moved = VecDeque::new();
        let mut rest = VecDeque::new();
        for mut awaited in std::mem::take(&mut self.awaited) {
            let here = awaited.message.after.first() == Some(&request_id);
            awaited.message.after.retain(|t| *t != request_id);
            // There may be no room for it now, and for the others the oldest may go.
            let never =
                awaited.message.qos == QoS::AtMostOnce || awaited.size.kept > self.limits().bytes;
            awaited.may_be_lost |= awaited.held && never;
            if here && awaited.held {
                awaited.message.after = before(awaited.message.lane);
                awaited.held = !awaited.message.after.is_empty();
                if awaited.held {
                    moved.push_back(awaited);
                } else {
                    released.push(awaited);
                }
            } else {
                rest.push_back(awaited);
            }
        }
        // What others delivered meanwhile is ahead of it, and so is what the next request held back already.
        self.awaited = rest;
        self.awaited.append(&mut moved);
        released.sort_by_key(|a| a.number);
        for mut awaited in released {
            self.last_number += 1;
            awaited.number = self.last_number;
            self.awaited.push_back(awaited);
        }
        if !self.connected {
            self.drop_qos_0();
        }
        self.only_newest_are_sure();
    }

    fn drop_qos_0(&mut self) {
        self.awaited
            .retain(|a| a.held || a.message.qos != QoS::AtMostOnce);
    }

    /// The connection is over, and the session is not. What is held goes on to wait where it came.
    pub(super) fn disconnect(&mut self) {
        self.connected = false;
        self.overflowed = false;
        self.in_flight.lose();
        let sent_off = |a: &&Awaited| !a.held && a.message.qos == QoS::AtMostOnce;
        self.lost += self.awaited.iter().filter(sent_off).count() as u64;
        self.drop_qos_0();
        let all = self.awaited.len();
        self.awaited.retain(|a| a.message.qos != QoS::AtMostOnce);
        self.perhaps += (all - self.awaited.len()) as u64;
        let awaited = self.awaited.make_contiguous();
        awaited.sort_by_key(|a| a.number);
        for awaited in awaited {
            (awaited.held, awaited.message.after) = (false, Vec::new());
        }
        self.only_newest_are_sure();
    }

    /// There is a connection again, on these terms.
    pub(super) fn reconnect(&mut self, limits: OutboundLimits) {
        self.connected = true;
        self.behind = true;
        self.in_flight.limits = limits;
        for at in 0..self.awaited.len() {
            let too_large = self.in_flight.is_too_large(self.awaited[at].size);
            self.awaited[at].may_be_lost |= too_large;
        }
    }

    /// Time has passed: what waits too long, or is over, need not come.
    pub(super) fn pass(&mut self, now: u64) {
        let age = self.limits().age;
        for awaited in &mut self.awaited {
            let waited = now.saturating_sub(awaited.message.at);
            awaited.may_be_lost |= waited > age || awaited.message.expires <= now;
        }
    }

    /// A PUBLISH came out.
    pub(super) fn receive(&mut self, published: &Published, version: Version, now: u64) {
        let serial = published.payload.get(..4).and_then(|b| b.try_into().ok());
        let serial = u32::from_be_bytes(serial.unwrap_or_default());
        assert!(
            published.length
                <= self
                    .limits()
                    .maximum_packet_size
                    .map_or(usize::MAX, |m| m as usize),
            "{published:?} [MQTT-3.1.2-24]"
        );
        let encoded = self.versions.get(serial as usize - 1).copied();
        let expires = self
            .expiries
            .get(serial as usize - 1)
            .copied()
            .unwrap_or(FOR_EVER);
        let told = version == Version::V5 && encoded == Some(Version::V5) && expires != FOR_EVER;
        let left = told.then(|| expires.saturating_sub(now).div_ceil(1000));
        assert_eq!(
            published.expiry.map(u64::from),
            left,
            "{published:?} [MQTT-3.3.2-6]"
        );
        assert!(!published.retain);
        if published.dup {
            self.lost += self.in_flight.give_up();
            return self.in_flight.again(published, serial);
        }

        let at = self.awaited.iter().position(|a| a.message.serial == serial);
        let Some(awaited) = at.and_then(|at| self.awaited.remove(at)) else {
            panic!("{published:?}: message {serial} was not to come (again)");
        };
        let message = &awaited.message;
        assert!(message.after.is_empty(), "{message:?} before an answer");
        assert!(message.expires > now, "{message:?} is over [MQTT-3.3.2-5]");
        assert!(published.topic == message.topic() && published.payload == message.payload());
        assert_eq!(published.qos, message.qos as u8);
        self.in_order(message);
        self.lost += self.in_flight.give_up();
        self.in_flight
            .begin(published, message.qos, serial, awaited.size);
    }

    /// Nothing of the same lane and QoS that went before is still to come [MQTT-4.6.0-5, MQTT-4.6.0-6].
    fn in_order(&mut self, message: &Message) {
        let same = |a: &Awaited| a.message.lane == message.lane && a.message.qos == message.qos;
        let earlier = |a: &Awaited| same(a) && a.message.serial < message.serial;
        let before = self.awaited.len();
        let sure = self.awaited.iter().find(|a| earlier(a) && !a.may_be_lost);
        assert!(sure.is_none(), "{message:?} has overtaken {sure:?}");
        self.awaited.retain(|a| !earlier(a));
        self.lost += (before - self.awaited.len()) as u64;
    }

    /// What must hold between any two actions.
    pub(super) fn holds(&mut self) {
        if !self.connected {
            return;
        }
        self.lost += self.in_flight.give_up();
        self.in_flight.holds();
        let (waiting, bytes) = self.waiting();
        self.behind &= waiting * 2 > self.limits().messages || bytes * 2 > self.limits().bytes;
        if self.awaited.iter().any(|a| a.may_be_lost) {
            return;
        }
        assert!(waiting <= self.limits().messages && bytes <= self.limits().bytes);
        let mut awaited = self.awaited.iter();
        assert!(
            awaited.all(|a| a.held || a.message.qos != QoS::AtMostOnce),
            "QoS 0 does not wait"
        );
        if let Some(next) = self.awaited.iter().find(|a| !a.held) {
            assert!(
                !self.in_flight.is_open(next.size.kept),
                "{next:?} waits, and the window is open"
            );
        }
    }

    /// Nothing more is to come: `dropped` is what the session counted.
    pub(super) fn finish(self, dropped: u64) {
        assert!(self.in_flight.is_empty());
        for awaited in &self.awaited {
            assert!(awaited.may_be_lost, "{awaited:?} never came");
        }
        let lost = self.lost + self.awaited.len() as u64;
        let counted = lost..=lost + self.perhaps;
        assert!(
            counted.contains(&dropped),
            "{counted:?} went missing, {dropped} are counted"
        );
    }
}
