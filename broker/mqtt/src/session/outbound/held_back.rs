//! Messages held back until an answer is sent, by lane.

use super::{Frame, Tag};
use crate::cost::LEAST_HELD_COST;
use std::collections::VecDeque;

/// A message that waits until an answer is sent.
#[derive(Debug)]
pub(super) struct HeldBack {
    /// Grows within a lane.
    pub number: u64,
    pub frame: Frame,
    /// Its reference in the queue of a lane.
    pub tag: Option<Tag>,
}

impl HeldBack {
    /// Bytes that it counts for.
    pub(super) fn cost(&self) -> usize {
        held_cost(&self.frame)
    }
}

/// Bytes that a message counts for while it is held back.
pub(super) fn held_cost(frame: &Frame) -> usize {
    frame.len().max(LEAST_HELD_COST)
}

/// All messages held back for one answer. Those of a lane move to another answer as a whole, since a client may have
/// hundreds of requests pending.
#[derive(Debug, Default)]
pub(super) struct HeldByLane {
    /// None of them empty.
    lanes: Vec<OfLane>,
}

#[derive(Debug)]
struct OfLane {
    lane: u16,
    messages: VecDeque<HeldBack>,
    bytes: usize,
}

impl HeldByLane {
    pub(super) fn len(&self) -> usize {
        self.lanes.iter().map(|l| l.messages.len()).sum()
    }

    pub(super) fn bytes(&self) -> usize {
        self.lanes.iter().map(|l| l.bytes).sum()
    }

    /// Whether messages of this lane are held back.
    pub(super) fn has(&self, lane: u16) -> bool {
        self.lanes.iter().any(|l| l.lane == lane)
    }

    fn of_lane(&mut self, lane: u16) -> &mut OfLane {
        let at = self.lanes.iter().position(|l| l.lane == lane);
        let at = at.unwrap_or_else(|| {
            self.lanes.push(OfLane {
                lane,
                messages: VecDeque::new(),
                bytes: 0,
            });
            self.lanes.len() - 1
        });
        &mut self.lanes[at]
    }

    /// Inserts a message in the order of its lane.
    pub(super) fn insert(&mut self, lane: u16, held: HeldBack) {
        let of_lane = self.of_lane(lane);
        of_lane.bytes += held.cost();
        let last = of_lane.messages.back();
        if last.is_none_or(|last| last.number < held.number) {
            of_lane.messages.push_back(held);
            return;
        }
        let at = of_lane.messages.partition_point(|h| h.number < held.number);
        of_lane.messages.insert(at, held);
    }

    /// Takes the oldest message out.
    pub(super) fn pop(&mut self) -> Option<HeldBack> {
        let oldest = |l: &(usize, &OfLane)| l.1.messages.front().map(|h| h.number);
        let (at, _) = self.lanes.iter().enumerate().min_by_key(oldest)?;
        let of_lane = &mut self.lanes[at];
        let held = of_lane.messages.pop_front()?;
        of_lane.bytes -= held.cost();
        if of_lane.messages.is_empty() {
            self.lanes.swap_remove(at);
        }
        Some(held)
    }

    /// Keeps the messages for which `stay` is true.
    pub(super) fn retain(&mut self, mut stay: impl FnMut(&HeldBack) -> bool) {
        self.lanes.retain_mut(|l| {
            let before = l.messages.len();
            l.messages.retain(&mut stay);
            if l.messages.len() < before {
                l.bytes = l.messages.iter().map(HeldBack::cost).sum();
            }
            !l.messages.is_empty()
        });
    }

    /// The lanes that have messages here.
    pub(super) fn lanes(&self) -> Vec<u16> {
        self.lanes.iter().map(|l| l.lane).collect()
    }

    /// Moves all messages of a lane to `other`, which has none that is newer.
    pub(super) fn move_lane(&mut self, lane: u16, other: &mut HeldByLane) {
        let Some(at) = self.lanes.iter().position(|l| l.lane == lane) else {
            return;
        };
        let mut moved = self.lanes.swap_remove(at);
        if other.has(lane) {
            let of_lane = other.of_lane(lane);
            of_lane.messages.append(&mut moved.messages);
            of_lane.bytes += moved.bytes;
        } else {
            other.lanes.push(moved);
        }
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &HeldBack> {
        self.lanes.iter().flat_map(|l| &l.messages)
    }
}
