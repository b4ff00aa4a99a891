//! Messages that a session has finished with, and whose lanes have not been told yet.
//!
//! A lane keeps a reference to each QoS 1 or 2 message of a session that outlives its connection, until it hears that the
//! session is done with it. The node does not tell the lane of every PUBACK: it collects them here, and tells the lane of all
//! of them once in a while.

use crate::session::RangeSet;
use serde::{Deserialize, Serialize};
use std::num::NonZeroU32;

/// The number of a message in its lane, from 1. The lane numbers only messages to sessions that may outlive their connection,
/// and uses no number again. [`MessageNo::NONE`] is before the first.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub struct MessageNo(pub u64);

impl MessageNo {
    /// Before the first message.
    pub const NONE: MessageNo = MessageNo(0);
}

/// A shared group of a lane. The lane uses no id again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct GroupId(pub NonZeroU32);

/// The reference of a lane that a message for a client belongs to. A session tells the lane when it is done with the message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Tag {
    /// The lane.
    pub lane: u16,
    /// The group whose queue has the reference. None: the session's own queue.
    pub group: Option<GroupId>,
    /// The message.
    pub number: MessageNo,
}

impl Tag {
    /// A message in the session's own queue.
    #[must_use]
    pub fn own(lane: u16, number: MessageNo) -> Self {
        Tag {
            lane,
            group: None,
            number,
        }
    }
}

/// A report to a lane of messages that one holder has finished with: the lane drops its references to them. It may hear the same
/// twice, and late.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Done {
    /// All messages up to this one are done.
    pub up_to: MessageNo,
    /// So are these, which are above it.
    pub also: RangeSet,
}

impl Done {
    /// Whether this message is done.
    #[must_use]
    pub fn contains(&self, number: MessageNo) -> bool {
        number <= self.up_to || self.also.contains(number.0)
    }
}

/// The reports that a session has to make to its lanes.
///
/// ```text
///  handed ────► in flight, waiting or held back ────► finished ────► told
///  handed()                                           finished()     take()
/// ```
///
/// Example: lane 3 has handed the messages 4 to 9, and 4, 5 and 8 are acknowledged. The lowest that is not finished is 6, so
/// [`take`](Untold::take) yields `up_to: 5, also: 8`.
///
/// A message is finished when its PUBACK or PUBREC has come, and when it is given up: it has expired, is too old or too large,
/// was dropped for capacity, or may not be seen any more.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Untold {
    /// By lane, ascending.
    lanes: Vec<LaneUntold>,
    /// Finished messages of groups. Their node keeps account of them.
    of_groups: Vec<Tag>,
    /// Messages finished since the last time that the lanes were told.
    messages: usize,
    /// Their bytes.
    bytes: usize,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct LaneUntold {
    lane: u16,
    /// The last message that the lane has handed to the session. Later ones may wait in the lane.
    handed: MessageNo,
    /// Not told yet.
    finished: RangeSet,
}

impl Untold {
    /// A lane has handed a message to the session, or the session has given it up before that. The numbers of a lane ascend;
    /// those of groups do not matter.
    pub fn handed(&mut self, tag: Tag) {
        if tag.group.is_none() {
            let of_lane = self.of_lane(tag.lane);
            of_lane.handed = of_lane.handed.max(tag.number);
        }
    }

    /// The session has finished with a message of so many bytes, which was handed to it.
    pub fn finished(&mut self, tag: Tag, bytes: usize) {
        if tag.group.is_some() {
            self.of_groups.push(tag);
            return;
        }
        self.of_lane(tag.lane).finished.insert(tag.number.0);
        self.messages += 1;
        self.bytes += bytes;
    }

    /// Whether lanes have to be told of something.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.messages == 0
    }

    /// Whether the lanes keep so much for nothing that they should be told now: an eighth of one of these limits.
    #[must_use]
    pub fn is_much(&self, messages: usize, bytes: usize) -> bool {
        self.messages > messages / 8 || self.bytes > bytes / 8
    }

    /// Takes what each lane is to be told. `lowest` is the lowest message of a lane's own that the session has and has not
    /// finished with: in flight, waiting or held back.
    pub fn take(&mut self, lowest: impl Fn(u16) -> Option<MessageNo>) -> Vec<(u16, Done)> {
        (self.messages, self.bytes) = (0, 0);
        let untold = self.lanes.iter_mut().filter(|l| !l.finished.is_empty());
        let done = untold.map(|of_lane| {
            let up_to = below(lowest(of_lane.lane), of_lane.handed);
            let mut also = std::mem::take(&mut of_lane.finished);
            also.remove_up_to(up_to.0);
            (of_lane.lane, Done { up_to, also })
        });
        done.collect()
    }

    /// Takes the finished messages of groups.
    pub fn take_groups(&mut self) -> Vec<Tag> {
        std::mem::take(&mut self.of_groups)
    }

    /// The connection has ended, and the messages that waited for the window or were held back are given back to their lanes:
    /// they were not handed. `waiting` is the lowest of a lane's own among them.
    pub fn disconnect(&mut self, waiting: impl Fn(u16) -> Option<MessageNo>) {
        for of_lane in &mut self.lanes {
            of_lane.handed = below(waiting(of_lane.lane), of_lane.handed);
        }
    }

    /// The last message that a lane has handed over. After [`disconnect`](Self::disconnect), all up to this one were sent or are
    /// finished.
    #[must_use]
    pub fn last_handed(&self, lane: u16) -> MessageNo {
        let known = self.lanes.binary_search_by_key(&lane, |l| l.lane);
        let of_lane = known.ok().and_then(|at| self.lanes.get(at));
        of_lane.map_or(MessageNo::NONE, |l| l.handed)
    }

    fn of_lane(&mut self, lane: u16) -> &mut LaneUntold {
        let known = self.lanes.binary_search_by_key(&lane, |l| l.lane);
        let at = known.unwrap_or_else(|at| {
            let new = LaneUntold {
                lane,
                handed: MessageNo::NONE,
                finished: RangeSet::default(),
            };
            self.lanes.insert(at, new);
            at
        });
        &mut self.lanes[at]
    }
}

/// The last message before `lowest`, and none behind `handed`.
fn below(lowest: Option<MessageNo>, handed: MessageNo) -> MessageNo {
    lowest.map_or(handed, |lowest| {
        handed.min(MessageNo(lowest.0.saturating_sub(1)))
    })
}

#[cfg(test)]
#[path = "untold_tests.rs"]
mod tests;
