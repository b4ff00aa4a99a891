//! Entries and acknowledgements that one read has brought and that are not appended and sent yet.

use crate::fairness::FILTERS;
use crate::lane::{Entrance, LogError};
use crate::outbox::Outbox;
use crate::packet::{PacketId, ReasonCode, Reply};
use roommq_lane::{BATCH_BYTES, BATCH_ENTRIES, Batch, Entry};

/// Batches that are collected, at most. Most clients need one for each lane, but QoS 2 may need one
/// for each message, and each message searches among them.
const BATCHES: usize = 64;

/// Acknowledgements that are collected, at most: one read may bring thousands of short packets.
const ACKS: usize = 256;

/// Acknowledgements for which memory stays allocated after a read: a burst must not cost memory for
/// the rest of the connection.
const ACKS_CAPACITY: usize = 8;

/// Entries by lane, and acknowledgements in the order of the packets that they answer
/// [3.1.1 MQTT-4.6.0-2, MQTT-4.6.0-3].
///
/// The server acknowledges a message only after its entry is in the lane's order. So push entries
/// and acknowledgements in the order of the packets, then call [`Pending::append_all`]. Example,
/// with two QoS 1 messages for lane 3, a PINGREQ and a QoS 1 message for lane 5:
///
/// ```text
/// batches  3: [m1, m2]   5: [m3]
/// acks     PUBACK m1, PUBACK m2, PINGRESP, PUBACK m3      sent after both batches are appended
/// ```
///
/// A QoS 2 message of a subscribed client is different, see [`push_qos2`](Pending::push_qos2).
///
/// One read of 64 KiB may bring 8,000 messages, each with an alias for a topic of 64 KiB: 500 MiB of
/// entries. So look at [`is_full`](Pending::is_full) after each packet. It limits the entries of all
/// batches together to what one batch may hold.
#[derive(Default)]
pub(super) struct Pending {
    batches: Vec<(u16, Batch)>,
    /// Filters pushed since the last [`append_all`](Pending::append_all).
    filters: usize,
    acks: Vec<PendingAck>,
}

/// An acknowledgement that is sent after all batches are appended.
struct PendingAck {
    reply: Reply,
    /// If it must be sent earlier: the index of a batch. It is sent when that batch has its place
    /// in its lane, before the messages that the batch delivers.
    batch: Option<usize>,
}

impl Pending {
    /// Adds an entry to a lane's batch.
    pub(super) fn push(&mut self, lane: u16, entry: &Entry<'_>) {
        if self.batch(lane).push(entry).is_err() {
            self.batches.push((lane, Batch::of(entry)));
        }
    }

    /// Adds an acknowledgement behind the others.
    pub(super) fn acknowledge(&mut self, reply: Reply) {
        self.acks.push(PendingAck { reply, batch: None });
    }

    /// Adds a PUBREC for a QoS 2 message that the server has accepted before.
    pub(super) fn acknowledge_again(&mut self, id: PacketId) {
        self.acknowledge(Reply::PubRec(id, ReasonCode::Success, None));
    }

    /// Adds a QoS 2 message of a client that may receive a copy of it.
    ///
    /// Clients expect PUBREC before the copy, so PUBREC is sent as soon as the message has its
    /// place in the lane, after all earlier acknowledgements. The message joins the last batch only
    /// if that is of the same lane and the last acknowledgement is sent with it. In a batch with a
    /// QoS 1 message, for example, the PUBACK of that would be sent before its copy.
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
        // The last of several, so that entries of one lane stay in order.
        let known = self.batches.iter().rposition(|(l, _)| *l == lane);
        let at = known.unwrap_or_else(|| {
            self.batches.push((lane, Batch::default()));
            self.batches.len() - 1
        });
        &mut self.batches[at].1
    }

    /// Whether so much is collected that the caller should append it now, and yield to the other
    /// tasks.
    pub(super) fn is_full(&self) -> bool {
        let batches = || self.batches.iter().map(|(_, batch)| batch);
        self.batches.len() >= BATCHES
            || self.acks.len() >= ACKS
            || batches().map(Batch::entries).sum::<usize>() >= BATCH_ENTRIES
            || batches().map(Batch::encoded_len).sum::<usize>() >= BATCH_BYTES
    }

    /// Adds an entry of so many filters. True once [`FILTERS`] are collected: the caller appends
    /// then, and yields to the other tasks.
    pub(super) fn push_filters(&mut self, lane: u16, entry: &Entry<'_>, filters: usize) -> bool {
        self.push(lane, entry);
        self.filters += filters;
        self.filters >= FILTERS
    }

    /// Appends the batches, then sends the acknowledgements. Waits while a lane is full, which
    /// slows down this client only.
    ///
    /// # Errors
    /// The log does not take a batch. The connection must end: its acknowledgements are not sent.
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
        for (index, (lane, batch)) in self.batches.drain(..).enumerate() {
            let mut due = &[][..];
            if any_batch {
                (due, rest) = rest.split_at(due_with(rest, index));
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

/// How many of `acks` are sent with the batch at this `index`: up to the last one that must be.
fn due_with(acks: &[PendingAck], index: usize) -> usize {
    let mut due = 0;
    for (at, ack) in acks.iter().enumerate() {
        match ack.batch {
            Some(batch) if batch > index => break,
            Some(_) => due = at + 1,
            None => {}
        }
    }
    due
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::{Actor, SessionId};
    use roommq_lane::PublishEntry;

    fn acks(batches: &[Option<usize>]) -> Vec<PendingAck> {
        let ack = |batch: &Option<usize>| PendingAck {
            reply: Reply::PingResp,
            batch: *batch,
        };
        batches.iter().map(ack).collect()
    }

    #[test]
    fn an_acknowledgement_is_sent_after_those_before_it() {
        let all = acks(&[None, Some(0), None, Some(1), None]);
        assert_eq!(due_with(&all, 0), 2);
        assert_eq!(due_with(&all[2..], 1), 2);
        assert_eq!(
            due_with(&all[4..], 2),
            0,
            "the last is sent when all batches are appended"
        );
    }

    #[test]
    fn a_qos_2_message_joins_no_batch_with_later_acknowledgements() {
        let who = Actor {
            session: SessionId { term: 1, n: 1 },
            connection: 1,
            user: "u",
        };
        let unsubscribe = roommq_lane::UnsubscribeEntry {
            who,
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
        assert_eq!(pending.batches.len(), 2, "PINGRESP is sent first");
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

    fn message(topic: &str) -> Entry<'_> {
        Entry::Publish(PublishEntry::of_server(topic, b""))
    }

    #[test]
    fn entries_and_bytes_of_all_lanes_are_limited_together() {
        let mut pending = Pending::default();
        for n in 1..BATCH_ENTRIES {
            pending.push(u16::from(n % 2 == 0), &message("t"));
            assert!(!pending.is_full(), "after {n} entries");
        }
        pending.push(2, &message("t"));
        assert!(pending.is_full());

        let topic = "x".repeat(BATCH_BYTES / 4);
        let mut pending = Pending::default();
        for lane in 0..3 {
            pending.push(lane, &message(&topic));
            assert!(!pending.is_full(), "after lane {lane}");
        }
        pending.push(3, &message(&topic));
        assert!(pending.is_full());
    }

    #[test]
    fn an_entry_that_fits_in_no_batch_gets_one_behind_it() {
        let topic = "x".repeat(60_000);
        let mut pending = Pending::default();
        let id = PacketId::new(1);
        for _ in 0..5 {
            pending.push_qos2(0, &message(&topic), id);
        }
        pending.push_qos2(0, &message("t"), id);
        assert_eq!(pending.batches.len(), 2);
        assert!(
            pending
                .batches
                .iter()
                .all(|(_, b)| b.encoded_len() <= BATCH_BYTES)
        );
        let batches: Vec<_> = pending.acks.iter().map(|ack| ack.batch).collect();
        let expected = [Some(0), Some(0), Some(0), Some(0), Some(1), Some(1)];
        assert_eq!(batches, expected, "each PUBREC with its message");
    }
}
