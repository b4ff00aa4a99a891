//! What came by shared groups: taken out for other members, and put back where none took it.

use super::{DropReason, Frame, InFlight, Outbound, Share, Waiting};
use crate::packet::{PacketId, QoS};
use std::sync::Arc;

/// A message that was taken out.
#[derive(Debug)]
pub(crate) struct Taken {
    pub share: Arc<Share>,
    frame: Frame,
    place: Place,
}

/// Where it was.
#[derive(Debug)]
enum Place {
    InFlight(PacketId),
    /// Since when, in milliseconds since the Unix epoch.
    Waiting(u64),
    Held,
}

impl Taken {
    fn of(frame: &Frame, place: Place) -> Option<Self> {
        Some(Taken {
            share: frame.share.clone()?,
            frame: frame.clone(),
            place,
        })
    }
}

impl Outbound {
    /// Takes out what came by shared groups of `lane` and others `may` have: what waits, and while asleep QoS 1, too, for
    /// on a connection what was begun is completed [5.0 MQTT-3.10.4-3]. A QoS 2 message that has been sent is for nobody
    /// else [MQTT-4.8.2-4, MQTT-4.8.2-5].
    pub(crate) fn take_shared(&mut self, lane: u16, may: &dyn Fn(&Share) -> bool) -> Vec<Taken> {
        let mut taken = Vec::new();
        let goes = |frame: &Frame| {
            let share = frame.share.as_ref();
            share.is_some_and(|share| share.lane == lane && may(share))
        };
        if self.asleep {
            self.in_flight.retain(|m| {
                let goes = m.frame.qos != QoS::ExactlyOnce && goes(&m.frame);
                taken.extend(
                    goes.then(|| Taken::of(&m.frame, Place::InFlight(m.id)))
                        .flatten(),
                );
                !goes
            });
        }
        self.waiting.retain(|w| {
            let goes = goes(&w.frame);
            taken.extend(
                goes.then(|| Taken::of(&w.frame, Place::Waiting(w.since)))
                    .flatten(),
            );
            !goes
        });
        self.take_held(|frame| {
            let goes = goes(frame);
            taken.extend(goes.then(|| Taken::of(frame, Place::Held)).flatten());
            !goes
        });
        self.count_anew();
        taken
    }

    /// Puts back what nobody took: ahead of all that waits, and what had been sent in the order in which it was
    /// [MQTT-4.6.0-1].
    pub(crate) fn put_back(&mut self, left: Vec<Taken>, now: u64) {
        let mut sent = false;
        for Taken { frame, place, .. } in left.into_iter().rev() {
            let since = match place {
                Place::InFlight(id) => {
                    self.in_flight.push_front(InFlight { id, frame });
                    sent = true;
                    continue;
                }
                Place::Waiting(since) => since,
                Place::Held => now,
            };
            self.waiting.push_front(Waiting { frame, since });
        }
        if sent {
            // Other lanes may have put back theirs.
            let age = |m: &InFlight| self.ids.age(m.id);
            let in_flight = self.in_flight.make_contiguous();
            in_flight.sort_by_key(|m| std::cmp::Reverse(age(m)));
        }
        self.count_anew();
        if !self.asleep {
            self.refill(now);
        }
    }

    /// Counts what nobody took when the session is over.
    pub(crate) fn lose_taken(&mut self, left: &[Taken]) {
        for taken in left {
            self.drop_for(DropReason::QueueFull, taken.frame.packet.payload_len());
        }
    }

    /// Whether anything came by shared groups of `lane` that another may take over in the end.
    pub(crate) fn holds_shared(&self, lane: u16) -> bool {
        let sent = self.in_flight.iter().map(|m| &m.frame);
        let sent = sent.filter(|frame| frame.qos != QoS::ExactlyOnce);
        let waiting = self.waiting.iter().map(|w| &w.frame);
        let mut frames = sent.chain(waiting).chain(self.held_frames());
        frames.any(|frame| frame.share.as_ref().is_some_and(|s| s.lane == lane))
    }
}
