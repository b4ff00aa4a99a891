//! What one read has brought: entries on their way into the lanes, and the acknowledgements that follow them.

use crate::fairness::{self, others_first};
use crate::lane::{Batch, Entrance, Entry, LogError};
use crate::outbox::Outbox;
use crate::packet::{PacketId, ReasonCode, Reply};

/// Batches that wait together. Most clients need one for each lane, but QoS 2 may ask for one a message, and
/// each message looks for its own among them.
const BATCHES: usize = 64;

/// Acknowledgements that wait together: one read may bring thousands of the shortest packets.
const ACKS: usize = 256;

/// A connection has room for so many acknowledgements after a read: a burst must not cost memory for its whole life.
const ACKS_CAPACITY: usize = 8;

/// Entries by lane, and acknowledgements in the order of what they answer [3.1.1 MQTT-4.6.0-2, MQTT-4.6.0-3].
///
/// Nothing is acknowledged before it has its place in its lane. So the order of calls is: entries and acknowledgements in the
/// order of the packets, then [`Pending::append_all`].
#[derive(Default)]
pub(super) struct Pending {
    batches: Vec<(u16, Batch)>,
    /// Filters in them.
    filters: usize,
    acks: Vec<PendingAck>,
}

/// An acknowledgement that goes out once all batches are appended.
struct PendingAck {
    reply: Reply,
    /// If it goes out earlier: the place of the batch that it goes out with, ahead of what that delivers.
    batch: Option<usize>,
}

impl Pending {
    /// Adds an entry to a lane's batch.
    pub(super) fn push(&mut self, lane: u16, entry: &Entry<'_>) {
        self.batch(lane).push(entry);
    }

    /// Adds an acknowledgement behind those so far.
    pub(super) fn acknowledge(&mut self, reply: Reply) {
        self.acks.push(PendingAck { reply, batch: None });
    }

    /// Adds a PUBREC for a message that the server has taken before.
    pub(super) fn acknowledge_again(&mut self, id: PacketId) {
        self.acknowledge(Reply::PubRec(id, ReasonCode::Success, None));
    }

    /// Adds a QoS 2 message of a client that may get a copy of it. Clients expect the PUBREC first, so it goes out as soon as
    /// the message has its place in the lane. Such a message joins no batch that is appended before something that
    /// is acknowledged ahead of it, nor one with a QoS 1 message, whose PUBACK would then go ahead of its copy.
    pub(super) fn push_qos2(&mut self, lane: u16, entry: &Entry<'_>, id: Option<PacketId>) {
        let last = self.batches.len().wrapping_sub(1);
        let same = self.batches.last().is_some_and(|(l, _)| *l == lane);
        let joins = |ack: &PendingAck| ack.batch == Some(last);
        if !same || !self.acks.last().is_none_or(joins) {
            self.batches.push((lane, Batch::default()));
        }
        self.push(lane, entry);
        self.acks.extend(id.map(|id| PendingAck {
            reply: Reply::PubRec(id, ReasonCode::Success, None),
            batch: Some(self.batches.len() - 1),
        }));
    }

    fn batch(&mut self, lane: u16) -> &mut Batch {
        // The last of several: all of this lane that comes later has to be behind it.
        let known = self.batches.iter().rposition(|(l, _)| *l == lane);
        let at = known.unwrap_or_else(|| {
            self.batches.push((lane, Batch::default()));
            self.batches.len() - 1
        });
        &mut self.batches[at].1
    }

    /// Whether there are so many batches to look through, or acknowledgements to hold, that they should be appended now.
    pub(super) fn is_full(&self) -> bool {
        self.batches.len() >= BATCHES || self.acks.len() >= ACKS
    }

    /// Counts `filters` that were just pushed. If they are a whole turn, appends and lets the other tasks go first: each filter
    /// may bring retained messages, and one packet may name thousands.
    pub(super) async fn count_filters(
        &mut self,
        filters: usize,
        entrance: &Entrance,
        outbox: &Outbox,
    ) -> Result<(), LogError> {
        self.filters += filters;
        if self.filters >= fairness::FILTERS {
            self.append_all(entrance, outbox).await?;
            others_first().await;
        }
        Ok(())
    }

    /// Appends what has been collected, and acknowledges it. Waits where a lane is full, which slows this client down
    /// and nobody else.
    pub(super) async fn append_all(
        &mut self,
        entrance: &Entrance,
        outbox: &Outbox,
    ) -> Result<(), LogError> {
        self.filters = 0;
        let mut acks = std::mem::take(&mut self.acks);
        let mut rest = &acks[..];
        let any_batch = acks.iter().any(|ack| ack.batch.is_some());
        let send = |acks: &[PendingAck]| {
            if !acks.is_empty() {
                outbox.queue(|out| acks.iter().for_each(|ack| out.reply(&ack.reply)));
            }
        };
        for (place, (lane, batch)) in self.batches.drain(..).enumerate() {
            let mut due = &[][..];
            if any_batch {
                (due, rest) = rest.split_at(due_with(rest, place));
            }
            entrance.append_and(lane, batch, || send(due)).await?;
        }
        send(rest);
        acks.clear();
        acks.shrink_to(ACKS_CAPACITY);
        self.acks = acks;
        Ok(())
    }
}

/// How many of `acks` go out with the batch at this `place`: the last that has to, and all before it.
fn due_with(acks: &[PendingAck], place: usize) -> usize {
    let mut due = 0;
    for (at, ack) in acks.iter().enumerate() {
        match ack.batch {
            Some(batch) if batch > place => break,
            Some(_) => due = at + 1,
            None => {}
        }
    }
    due
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lane::Origin;
    use crate::policy::SessionId;

    fn acks(batches: &[Option<usize>]) -> Vec<PendingAck> {
        let ack = |batch: &Option<usize>| PendingAck {
            reply: Reply::PingResp,
            batch: *batch,
        };
        batches.iter().map(ack).collect()
    }

    #[test]
    fn an_acknowledgement_takes_those_before_it_along() {
        let all = acks(&[None, Some(0), None, Some(1), None]);
        assert_eq!(due_with(&all, 0), 2);
        assert_eq!(due_with(&all[2..], 1), 2);
        assert_eq!(
            due_with(&all[4..], 2),
            0,
            "the last goes out when all is appended"
        );
    }

    #[test]
    fn a_qos_2_message_joins_no_batch_whose_acknowledgements_come_later() {
        let session = SessionId {
            client: 1,
            incarnation: 1,
        };
        let unsubscribe = crate::lane::UnsubscribeEntry {
            at: 0,
            who: Origin { session, user: "u" },
            request_id: 1,
            filters: Vec::new(),
        };
        let entry = Entry::Unsubscribe(unsubscribe);
        let mut pending = Pending::default();
        let id = PacketId::new(1);
        pending.push_qos2(0, &entry, id);
        pending.push_qos2(0, &entry, id);
        assert_eq!(pending.batches.len(), 1, "QoS 2 after QoS 2, in one lane");
        pending.push(0, &entry);
        pending.acknowledge(Reply::PingResp);
        pending.push_qos2(0, &entry, id);
        assert_eq!(pending.batches.len(), 2, "the PINGRESP goes out first");
        pending.push_qos2(1, &entry, id);
        pending.push_qos2(0, &entry, id);
        let batches: Vec<_> = pending.acks.iter().map(|ack| ack.batch).collect();
        assert_eq!(
            batches,
            [Some(0), Some(0), None, Some(1), Some(2), Some(3)],
            "another lane, another batch"
        );
        assert!(!pending.is_full());
    }
}
