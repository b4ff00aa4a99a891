//! The messages that a session shares with the queues that lanes have for it.
//!
//! A lane keeps a reference to each QoS 1 or 2 message of a session that may outlive its connection,
//! until the session has finished with it. So a message that waits here waits there, too: at the end
//! of a connection the waiting messages are given back, and the next connection reads them from the
//! lanes again.

use super::{DropReason, Frame, Outbound};
use crate::session::{Done, MessageNo, Tag};
use std::collections::BTreeMap;

impl Outbound {
    /// Delivers a message that is in the lane's queue for this session. If the client is offline, or
    /// has not been sent what came before, the message waits there. Returns false then.
    pub fn deliver_kept(&mut self, tag: Tag, frame: &Frame, now: u64) -> bool {
        let lanes = self.lanes.get_or_insert_default();
        // The session may have read it from the queue before its delivery was performed.
        if tag.number <= lanes.untold.last_handed(tag.lane) {
            return true;
        }
        if self.offline || lanes.behind.contains_key(&tag.lane) {
            lanes.add(tag.lane, frame.packet.payload_len());
            return false;
        }
        lanes.untold.handed(tag);
        self.deliver_tagged(tag.lane, frame, Some(tag), now);
        true
    }

    /// Delivers a message from the queue of a lane that the session is [behind](Self::lanes_behind),
    /// where it has waited `since` then. Messages come in the order of their lane; one that has been
    /// handed over or dropped is ignored.
    pub fn deliver_waiting(&mut self, tag: Tag, frame: &Frame, since: u64, now: u64) {
        let Some(lanes) = self.lanes.as_mut().filter(|_| !self.offline) else {
            return;
        };
        if tag.number > lanes.untold.last_handed(tag.lane) {
            lanes.untold.handed(tag);
            lanes.subtract(tag.lane, 1, frame.packet.payload_len() as u64);
            self.send(frame, Some(tag), since, now);
        }
    }

    /// Whether messages wait in queues of lanes and the client can be sent one of them. Call
    /// [`deliver_waiting`](Self::deliver_waiting) then.
    #[must_use]
    pub fn wants_waiting(&self) -> bool {
        let resent = usize::from(self.sent) == self.in_flight.len() && self.waiting.is_empty();
        let takes = || resent && self.window_is_open() && !self.is_full();
        !self.offline && self.is_behind() && self.replaying().is_none() && takes()
    }

    /// How many more messages may be in flight.
    #[must_use]
    pub fn window_left(&self) -> usize {
        let taken = self.in_flight.len() + self.released.len();
        usize::from(self.limits.receive_maximum).saturating_sub(taken)
    }

    /// Whether messages wait in queues of lanes that the client has not been sent.
    #[must_use]
    pub fn is_behind(&self) -> bool {
        self.lanes.as_ref().is_some_and(|l| !l.behind.is_empty())
    }

    /// The lanes of these messages.
    #[must_use]
    pub fn lanes_behind(&self) -> Vec<u16> {
        let lanes = self.lanes.iter();
        lanes.flat_map(|l| l.behind.keys().copied()).collect()
    }

    /// The last message that a lane has handed over. At a disconnect: all up to this one were sent,
    /// or the session has finished with them.
    #[must_use]
    pub fn last_handed(&self, lane: u16) -> MessageNo {
        let lanes = self.lanes.as_ref();
        lanes.map_or(MessageNo::NONE, |l| l.untold.last_handed(lane))
    }

    /// The session has been handed all messages in the queue of this lane: from now on it receives
    /// live ones. Call it before the lane delivers another.
    pub fn caught_up(&mut self, lane: u16) {
        if let Some(lanes) = &mut self.lanes {
            lanes.behind.remove(&lane);
        }
    }

    /// Whether so much waits for a connected client, here and in the queue of a lane, that the oldest
    /// there must be [passed over](Self::pass_over). The client is not closed for what it had no time to read.
    /// Messages that the client can be sent at once do not wait: as many as the window takes, and as many
    /// bytes again as the limit.
    #[must_use]
    pub fn is_too_far_behind(&self, lane: u16) -> bool {
        let lanes = self.lanes.as_ref().filter(|_| !self.offline);
        let Some((messages, bytes)) = lanes.and_then(|l| l.behind.get(&lane)) else {
            return false;
        };
        let messages = self.waiting.len() as u64 + messages;
        let bytes = self.waiting_bytes as u64 + bytes;
        let (mut most, mut most_bytes) = (self.limits.messages as u64, self.limits.bytes as u64);
        if self.wants_waiting() {
            most += self.window_left() as u64;
            most_bytes = most_bytes.saturating_mul(2);
        }
        messages > most || bytes > most_bytes
    }

    /// Drops the next message in the queue of a lane.
    pub fn pass_over(&mut self, tag: Tag, payload: usize) {
        if let Some(lanes) = &mut self.lanes {
            lanes.untold.handed(tag);
            lanes.subtract(tag.lane, 1, payload as u64);
        }
        self.drop_for(DropReason::QueueFull, payload, Some(tag));
    }

    /// A lane has dropped messages that waited in its queue.
    pub fn dropped_in_lane(&mut self, lane: u16, reason: DropReason, messages: u64, payload: u64) {
        if let Some(lanes) = &mut self.lanes {
            lanes.subtract(lane, messages, payload);
        }
        let more = u32::try_from(messages).unwrap_or(u32::MAX);
        self.dropped = self.dropped.saturating_add(more);
        self.tally.dropped(reason, messages, payload);
    }

    /// Notes that the session has finished with a message.
    pub(super) fn finished(&mut self, tag: Option<Tag>, payload: usize) {
        if let (Some(tag), Some(lanes)) = (tag, &mut self.lanes) {
            lanes.untold.finished(tag, payload);
        }
    }

    /// Whether lanes have to be told of messages that the session has finished with.
    #[must_use]
    pub fn has_untold(&self) -> bool {
        self.lanes.as_ref().is_some_and(|l| !l.untold.is_empty())
    }

    /// Whether these are so many that the lanes should be told at once.
    #[must_use]
    pub fn has_much_untold(&self) -> bool {
        let (messages, bytes) = (self.limits.messages, self.limits.bytes);
        let lanes = self.lanes.as_ref();
        lanes.is_some_and(|l| l.untold.is_much(messages, bytes))
    }

    /// Whether waiting messages can be sent now, or lanes have to be told of messages.
    #[must_use]
    pub fn has_lane_work(&self) -> bool {
        self.lanes.is_some() && (self.has_untold() || self.wants_waiting())
    }

    /// Whether this cannot wait.
    #[must_use]
    pub fn needs_lane_work(&self) -> bool {
        self.has_much_untold() || self.wants_waiting()
    }

    /// Takes what each lane is to be told.
    pub fn take_untold(&mut self) -> Vec<(u16, Done)> {
        if !self.has_untold() {
            return Vec::new();
        }
        let sent = self.in_flight.iter().filter_map(|m| m.kept.as_ref()?.tag);
        let waiting = self.waiting.iter().filter_map(|w| w.tag);
        let lowest = lowest(sent.chain(waiting).chain(self.held_tags()));
        let lanes = self.lanes.as_mut();
        lanes.map_or_else(Vec::new, |l| {
            l.untold.take(|lane| lowest.get(&lane).copied())
        })
    }

    /// The connection has ended: gives the waiting messages back to their lanes.
    pub(super) fn give_back_waiting(&mut self) {
        let Some(lanes) = &mut self.lanes else {
            return;
        };
        let lowest = lowest(self.waiting.iter().filter_map(|w| w.tag));
        lanes.untold.disconnect(|lane| lowest.get(&lane).copied());
        self.waiting.retain(|w| {
            if let Some(tag) = w.tag {
                lanes.add(tag.lane, w.frame.packet.payload_len());
            }
            w.tag.is_none()
        });
        self.recount();
    }
}

/// The lowest message of each lane.
fn lowest(tags: impl Iterator<Item = Tag>) -> BTreeMap<u16, MessageNo> {
    let mut lowest = BTreeMap::new();
    for tag in tags.filter(|tag| tag.group.is_none()) {
        let of_lane = lowest.entry(tag.lane).or_insert(tag.number);
        *of_lane = tag.number.min(*of_lane);
    }
    lowest
}

#[cfg(test)]
#[path = "waiting_in_lanes_tests.rs"]
mod tests;
