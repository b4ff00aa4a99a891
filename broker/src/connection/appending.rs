//! What one read brought, on its way into the lanes, and the acknowledgements for it.

use super::Connection;
use crate::lane::{Batch, Entry, LogError};
use crate::packet::{PacketId, ReasonCode, Reply};

/// Batches that wait together. One for each lane is all that most clients need, but QoS 2 may ask for one a message, and
/// each message looks for its own among them.
const BATCHES: usize = 64;

/// Answers that wait together: one read may bring thousands of the shortest packets.
const ANSWERS: usize = 256;

/// A connection keeps the room of so many: a burst must not cost memory for its whole life.
pub(super) const ANSWERS_KEPT: usize = 8;

/// An acknowledgement, to go out once all is appended.
pub(super) struct Ack {
    reply: Reply,
    /// Where not as late as that: the place of the batch that it goes out with, ahead of what that delivers.
    with: Option<usize>,
}

impl From<Reply> for Ack {
    fn from(reply: Reply) -> Self {
        Ack { reply, with: None }
    }
}

impl Connection {
    /// A QoS 2 message of a client that may get a copy of it: clients expect the PUBREC first. It goes out as soon as
    /// the message has its place in the lane, so that message joins no batch that is appended before something that
    /// is acknowledged ahead of it, nor one with a QoS 1 message, whose PUBACK would then go ahead of its copy.
    pub(super) fn publish_and_receive(
        &mut self,
        lane: u16,
        entry: &Entry<'_>,
        id: Option<PacketId>,
    ) {
        let last = self.batches.len().wrapping_sub(1);
        let same = self.batches.last().is_some_and(|(l, _)| *l == lane);
        let in_turn = |ack: &Ack| ack.with == Some(last);
        if !same || !self.acks.last().is_none_or(in_turn) {
            self.batches.push((lane, Batch::default()));
        }
        self.batch(lane).push(entry);
        self.acks.extend(id.map(|id| Ack {
            reply: Reply::PubRec(id, ReasonCode::Success, None),
            with: Some(self.batches.len() - 1),
        }));
    }

    /// The batch of a lane.
    pub(super) fn batch(&mut self, lane: u16) -> &mut Batch {
        // The last of several: all of this lane that comes later has to stand behind it.
        let known = self.batches.iter().rposition(|(l, _)| *l == lane);
        let at = known.unwrap_or_else(|| {
            self.batches.push((lane, Batch::default()));
            self.batches.len() - 1
        });
        &mut self.batches[at].1
    }

    /// Appends where there are too many batches to look through, or answers to hold.
    pub(super) async fn append_many(&mut self) -> Result<(), LogError> {
        if self.batches.len() < BATCHES && self.acks.len() < ANSWERS {
            return Ok(());
        }
        self.append_all().await
    }

    /// Appends what has been collected, and acknowledges. Waits where a lane is full: so this client is slowed down,
    /// and nobody else.
    pub(super) async fn append_all(&mut self) -> Result<(), LogError> {
        self.asked = 0;
        let mut acks = std::mem::take(&mut self.acks);
        let mut rest = &acks[..];
        let any_with_one = acks.iter().any(|ack| ack.with.is_some());
        let outbox = &self.outbox;
        let answer = |acks: &[Ack]| {
            if !acks.is_empty() {
                outbox.queue(|out| acks.iter().for_each(|ack| out.reply(&ack.reply)));
            }
        };
        for (place, (lane, batch)) in self.batches.drain(..).enumerate() {
            let mut due = &[][..];
            if any_with_one {
                (due, rest) = rest.split_at(ready(rest, place));
            }
            let taken = || answer(due);
            self.shared.entrance.append_and(lane, batch, taken).await?;
        }
        answer(rest);
        acks.clear();
        acks.shrink_to(ANSWERS_KEPT);
        self.acks = acks;
        Ok(())
    }
}

/// How many of `acks` go out with the batch at this `place`: the last that has to, and all before it.
fn ready(acks: &[Ack], place: usize) -> usize {
    let mut ready = 0;
    for (at, ack) in acks.iter().enumerate() {
        match ack.with {
            Some(with) if with > place => break,
            Some(_) => ready = at + 1,
            None => {}
        }
    }
    ready
}
