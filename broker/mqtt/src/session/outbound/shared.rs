//! Messages of shared groups: taken out for other members of the group, and put back if none takes them.

use super::message::{InFlight, Offer, Waiting};
use super::{DropReason, Frame, Outbound, Share};
use crate::packet::PacketId;
use std::borrow::Cow;
use std::collections::HashSet;
use std::sync::Arc;

/// A message that was taken out of a member's queues.
#[derive(Debug)]
pub struct Taken {
    /// What another group member needs to take it over.
    pub share: Arc<Share>,
    frame: Frame,
    number: u64,
    from: TakenFrom,
}

impl Taken {
    /// When it expires, as [`Frame::expires`].
    #[must_use]
    pub fn expires(&self) -> u64 {
        self.frame.expires
    }
}

/// The queue that it was in.
#[derive(Debug)]
enum TakenFrom {
    InFlight(PacketId),
    /// Since when, in milliseconds of lane time.
    Waiting(u64),
    HeldBack,
}

impl Taken {
    fn waited(&self) -> bool {
        !matches!(self.from, TakenFrom::InFlight(_))
    }
}

impl Outbound {
    /// Takes out the messages of `lane` that came by shared groups and that others `may` have. These are the waiting messages and,
    /// while the client is offline, QoS 1 messages in flight; on a connection a delivery that has begun is completed
    /// [5.0 MQTT-3.10.4-3]. A QoS 2 message that has been sent is for nobody else [MQTT-4.8.2-4, MQTT-4.8.2-5].
    ///
    /// If any is taken, the caller has to call [`put_back`](Self::put_back) or [`drop_taken`](Self::drop_taken) next for this lane.
    /// Until then no waiting message is sent, and the capacity of those taken stays reserved.
    pub fn take_shared(&mut self, lane: u16, may: &dyn Fn(&Share) -> bool) -> Vec<Taken> {
        let mut taken = Vec::new();
        let mut stays = |frame: &Frame, number: u64, from: TakenFrom| {
            let share = frame.share.as_ref();
            let Some(share) = share.filter(|share| share.lane == lane && may(share)) else {
                return true;
            };
            taken.push(Taken {
                share: share.clone(),
                frame: frame.clone(),
                number,
                from,
            });
            false
        };
        if self.offline {
            self.in_flight.retain(|m| {
                let shared = m.shared();
                shared.is_none_or(|frame| stays(frame, m.number, TakenFrom::InFlight(m.id)))
            });
        }
        self.waiting
            .retain(|w| stays(&w.frame, w.number, TakenFrom::Waiting(w.since)));
        self.take_held(|frame, number| stays(frame, number, TakenFrom::HeldBack));
        if !taken.is_empty() {
            let waited = taken.iter().filter(|t| t.waited());
            let offers = &mut self.requests.get_or_insert_default().offers;
            offers.push(Offer {
                lane,
                messages: waited.clone().count(),
                bytes: waited.map(|t| t.frame.len()).sum(),
            });
            self.recount();
        }
        taken
    }

    /// Puts the messages that nobody took back to their positions, so that messages of a topic are sent in the order in which they
    /// came, and sent again in the order in which they were sent [MQTT-4.6.0-1, MQTT-4.6.0-6].
    pub fn put_back(&mut self, lane: u16, left: Vec<Taken>, now: u64) {
        for Taken {
            share,
            frame,
            number,
            from,
        } in left
        {
            let since = match from {
                TakenFrom::InFlight(id) => {
                    let frame = Cow::Owned(frame);
                    let sent = InFlight::new(id, frame, None, number, self.resumable);
                    self.in_flight.push_back(sent);
                    continue;
                }
                TakenFrom::HeldBack if self.hold_back_again(number, share.lane, &frame) => {
                    continue;
                }
                TakenFrom::HeldBack => now,
                TakenFrom::Waiting(since) => since,
            };
            self.waiting.push_back(Waiting {
                frame,
                since,
                number,
                tag: None,
            });
        }
        let in_flight = self.in_flight.make_contiguous();
        in_flight.sort_by_key(|m| m.number);
        self.sort_waiting();
        self.recount();
        self.end_offer(lane, now);
    }

    /// Counts the messages that nobody took as dropped, at the end of the session.
    pub fn drop_taken(&mut self, lane: u16, left: &[Taken], now: u64) {
        for taken in left {
            self.drop_for(
                DropReason::QueueFull,
                taken.frame.packet.payload_len(),
                None,
            );
        }
        self.end_offer(lane, now);
    }

    fn end_offer(&mut self, lane: u16, now: u64) {
        if let Some(requests) = &mut self.requests {
            requests.offers.retain(|offer| offer.lane != lane);
        }
        self.free_requests();
        self.send_complete_answers(now);
        if !self.offline {
            self.refill(now);
        }
        // What came meanwhile was queued without a limit.
        if self.free_capacity(0, 0, now) && !self.offline {
            self.overflow();
        }
    }

    /// How many messages lanes have taken out and may put back, and their bytes.
    pub(super) fn offered(&self) -> (usize, usize) {
        let sum = |(n, b), offer: &Offer| (n + offer.messages, b + offer.bytes);
        let offers = self.requests.as_ref().map(|r| &r.offers);
        offers.into_iter().flatten().fold((0, 0), sum)
    }

    /// Whether lanes have taken messages out that they may put back.
    pub(super) fn has_offers(&self) -> bool {
        let requests = self.requests.as_ref();
        requests.is_some_and(|r| !r.offers.is_empty())
    }

    /// Whether there are messages of shared groups of `lane` that another member may take over at the end of the session.
    #[must_use]
    pub fn holds_shared(&self, lane: u16) -> bool {
        self.shares(lane).next().is_some()
    }

    /// The groups of those messages.
    #[must_use]
    pub fn shared_groups(&self, lane: u16) -> HashSet<Arc<str>> {
        let mut groups = HashSet::new();
        for share in self.shares(lane) {
            // Most are of one group and share its name.
            if !groups.contains(&share.group) {
                groups.insert(share.group.clone());
            }
        }
        groups
    }

    fn shares(&self, lane: u16) -> impl Iterator<Item = &Arc<Share>> {
        let sent = self.in_flight.iter().filter_map(InFlight::shared);
        let waiting = self.waiting.iter().map(|w| &w.frame);
        let frames = sent.chain(waiting).chain(self.held_frames());
        let shares = frames.filter_map(|frame| frame.share.as_ref());
        shares.filter(move |share| share.lane == lane)
    }
}
