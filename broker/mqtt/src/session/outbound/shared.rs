//! What came by shared groups: taken out for other members, and put back where none took it.

use super::message::{InFlight, Offer, Waiting};
use super::{DropReason, Frame, Outbound, Share};
use crate::packet::{PacketId, QoS};
use std::collections::HashSet;
use std::sync::Arc;

/// A message that was taken out.
#[derive(Debug)]
pub struct Taken {
    /// What another group member needs to take it over.
    pub share: Arc<Share>,
    frame: Frame,
    number: u64,
    place: Place,
}

/// Where it was.
#[derive(Debug)]
enum Place {
    InFlight(PacketId),
    /// Since when, in milliseconds since the Unix epoch.
    Waiting(u64),
    /// For the answer of this ticket.
    Held(u32),
}

impl Taken {
    fn waited(&self) -> bool {
        !matches!(self.place, Place::InFlight(_))
    }
}

impl Outbound {
    /// Takes out what came by shared groups of `lane` and others `may` have: what waits, and while asleep QoS 1, too, for
    /// on a connection what was begun is completed [5.0 MQTT-3.10.4-3]. A QoS 2 message that has been sent is for nobody
    /// else [MQTT-4.8.2-4, MQTT-4.8.2-5]. If that is anything, nothing that waits is sent before what nobody took has been
    /// [put back](Self::put_back) or [lost](Self::lose_taken), and its room is not given away.
    pub fn take_shared(&mut self, lane: u16, may: &dyn Fn(&Share) -> bool) -> Vec<Taken> {
        let mut taken = Vec::new();
        let mut stays = |frame: &Frame, number: u64, place: Place| {
            let share = frame.share.as_ref();
            let Some(share) = share.filter(|share| share.lane == lane && may(share)) else {
                return true;
            };
            taken.push(Taken {
                share: share.clone(),
                frame: frame.clone(),
                number,
                place,
            });
            false
        };
        if self.asleep {
            self.in_flight.retain(|m| {
                let begun = m.frame.qos == QoS::ExactlyOnce;
                begun || stays(&m.frame, m.number, Place::InFlight(m.id))
            });
        }
        self.waiting
            .retain(|w| stays(&w.frame, w.number, Place::Waiting(w.since)));
        self.take_held(|frame, ticket, number| stays(frame, number, Place::Held(ticket)));
        if !taken.is_empty() {
            let waited = taken.iter().filter(|t| t.waited());
            self.offers.push(Offer {
                lane,
                messages: waited.clone().count(),
                bytes: waited.map(|t| t.frame.len()).sum(),
            });
            self.count_anew();
        }
        taken
    }

    /// Puts what nobody took back to its place, so that all of one topic is sent in the order in which it came, and sent
    /// again in the order in which it was [MQTT-4.6.0-1, MQTT-4.6.0-6].
    pub fn put_back(&mut self, lane: u16, left: Vec<Taken>, now: u64) {
        for Taken {
            share,
            frame,
            number,
            place,
        } in left
        {
            let since = match place {
                Place::InFlight(id) => {
                    self.in_flight.push_back(InFlight { id, frame, number });
                    continue;
                }
                Place::Held(ticket) if self.hold_again((ticket, number), share.lane, &frame) => {
                    continue;
                }
                Place::Held(_) => now,
                Place::Waiting(since) => since,
            };
            self.waiting.push_back(Waiting {
                frame,
                since,
                number,
            });
        }
        let in_flight = self.in_flight.make_contiguous();
        in_flight.sort_by_key(|m| m.number);
        self.sort_waiting();
        self.count_anew();
        self.end_offer(lane, now);
    }

    /// Counts what nobody took, at the end of the session.
    pub fn lose_taken(&mut self, lane: u16, left: &[Taken], now: u64) {
        for taken in left {
            self.drop_for(DropReason::QueueFull, taken.frame.packet.payload_len());
        }
        self.end_offer(lane, now);
    }

    fn end_offer(&mut self, lane: u16, now: u64) {
        self.offers.retain(|offer| offer.lane != lane);
        self.settle(now);
        if !self.asleep {
            self.refill(now);
        }
        // What came meanwhile was let in.
        if self.make_room(0, 0, now) && !self.asleep {
            self.overflow();
        }
    }

    /// Messages that lanes have taken out and may put back, and their bytes.
    pub(super) fn offered(&self) -> (usize, usize) {
        let sum = |(n, b), offer: &Offer| (n + offer.messages, b + offer.bytes);
        self.offers.iter().fold((0, 0), sum)
    }

    /// Whether anything came by shared groups of `lane` that another may take over in the end.
    #[must_use]
    pub fn holds_shared(&self, lane: u16) -> bool {
        self.shares(lane).next().is_some()
    }

    /// Of those, the groups.
    #[must_use]
    pub fn shared_groups(&self, lane: u16) -> HashSet<Arc<str>> {
        let mut groups = HashSet::new();
        for share in self.shares(lane) {
            // Most are of one group, and share its name.
            if !groups.contains(&share.group) {
                groups.insert(share.group.clone());
            }
        }
        groups
    }

    fn shares(&self, lane: u16) -> impl Iterator<Item = &Arc<Share>> {
        let sent = self.in_flight.iter().map(|m| &m.frame);
        let sent = sent.filter(|frame| frame.qos != QoS::ExactlyOnce);
        let waiting = self.waiting.iter().map(|w| &w.frame);
        let frames = sent.chain(waiting).chain(self.held_frames());
        let shares = frames.filter_map(|frame| frame.share.as_ref());
        shares.filter(move |share| share.lane == lane)
    }
}
