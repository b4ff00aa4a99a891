//! Messages and acknowledgements that one read has brought and that are not appended and sent yet.

use crate::clock::times;
use crate::fairness::{ENTRIES_WORK, others_first_after_a_turn};
use crate::lane::{Entrance, LogError};
use crate::outbox::Outbox;
use crate::packet::{PacketId, ReasonCode, Reply};
use crate::policy::Actor;
use crate::session::{Inbound, Outbound};
use futures_util::future::{Either, ready};
use roommq_lane::{BATCH_BYTES, BATCH_ENTRIES, Batch, Entry, PropertiesEntry, PublishEntry};
use std::ops::Range;

/// Acknowledgements that are collected, at most: one read may bring thousands of short packets.
const ACKS: usize = 256;

/// Acknowledgements for which memory stays allocated after a read: a burst must not cost memory for
/// the rest of the connection.
const ACKS_CAPACITY: usize = 8;

/// The most messages of a batch. A read ends before.
const BATCH_CAPACITY: u16 = u16::MAX;

/// The most further messages of a batch after one whose PUBREC is sent with it: it is applied in one turn.
const QOS2_CAPACITY: u16 = 15;

/// Bytes of an encoded entry beside its texts and its payload, roughly.
const ENTRY_BYTES: usize = 40;

/// Messages by lane, and acknowledgements in the order of the packets that they answer
/// [3.1.1 MQTT-4.6.0-2, MQTT-4.6.0-3].
///
/// The server acknowledges a message only after its entry is in the lane's order. So push messages
/// and acknowledgements in the order of the packets, then call [`Pending::append_all`]. Example,
/// with two QoS 1 messages for lane 3, a PINGREQ and a QoS 1 message for lane 5:
///
/// ```text
/// batches  0, lane 3: [m1, m2]   1, lane 5: [m3]
/// acks     PUBACK m1, PUBACK m2, PINGRESP, PUBACK m3      sent after both batches are appended
/// ```
///
/// A batch has only messages that follow each other. So they are applied in the order of the packets
/// whatever their lanes, unless a lane is busy.
///
/// The acknowledgement of a message that was applied before it and that matched no subscription says so
/// by 0x10 (5.0, 3.4.2.1). That of a message which waits in the log says 0x00.
///
/// A QoS 2 message of a subscribed client is different, see [`push_qos2`](Pending::push_qos2).
///
/// A message stays as it was read: only one that goes by the log is encoded. One read of 64 KiB may
/// bring 8,000 messages, each with an alias for a topic of 64 KiB: 500 MiB once they are encoded. So
/// look at [`is_full`](Pending::is_full) after each packet. It limits the entries of all batches
/// together to what one batch may hold.
#[derive(Default)]
pub(super) struct Pending {
    /// In the order of the packets.
    messages: Vec<PendingMessage>,
    acks: Vec<PendingAck>,
    /// Bytes that the encoded messages would have, roughly.
    bytes: u32,
    /// Each has at least one message.
    batches: u16,
    /// How many more messages the last one may have.
    capacity: u16,
}

/// A message that the policy has permitted.
struct PendingMessage {
    lane: u16,
    /// The number of its batch, from 0.
    batch: u16,
    message: Inbound,
}

impl PendingMessage {
    fn entry<'a>(&'a self, who: Actor<'a>) -> Entry<'a> {
        let message = &self.message;
        Entry::Publish(PublishEntry {
            origin: Some(who),
            topic: message.topic.as_str(),
            payload: &message.payload,
            qos: message.qos,
            retain: message.retain,
            properties: message.properties.as_deref().and_then(PropertiesEntry::of),
        })
    }
}

/// An acknowledgement that is sent after all batches are appended.
struct PendingAck {
    reply: Reply,
    /// If it must be sent earlier: the number of a batch. It is sent when that batch has its place
    /// in its lane, before the messages that the batch delivers.
    batch: Option<u16>,
}

impl PendingAck {
    /// The reason code of a message's acknowledgement.
    fn code(&mut self) -> Option<(PacketId, &mut ReasonCode)> {
        match &mut self.reply {
            Reply::PubAck(id, code, _) | Reply::PubRec(id, code, _) => Some((*id, code)),
            _ => None,
        }
    }
}

impl Pending {
    /// Adds a message of `user` to the last batch if that is of the same lane, or begins another.
    pub(super) fn push(&mut self, lane: u16, message: Inbound, user: &str) {
        let batch = self.last_of(lane).unwrap_or(self.batches);
        self.push_to(batch, lane, message, user);
    }

    /// The last batch, if it is of this lane and not full.
    fn last_of(&self, lane: u16) -> Option<u16> {
        let last = self.messages.last();
        let last = last.filter(|m| m.lane == lane && self.capacity > 0);
        last.map(|m| m.batch)
    }

    fn push_to(&mut self, batch: u16, lane: u16, message: Inbound, user: &str) {
        let texts = message.topic.as_str().len() + user.len();
        let properties = message.properties.as_ref().map_or(0, |p| p.cost());
        let bytes = ENTRY_BYTES + texts + message.payload.len() + properties;
        let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
        self.bytes = self.bytes.saturating_add(bytes);
        if batch == self.batches {
            self.batches += 1;
            self.capacity = BATCH_CAPACITY;
        }
        self.capacity = self.capacity.saturating_sub(1);
        self.messages.push(PendingMessage {
            lane,
            batch,
            message,
        });
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
    pub(super) fn push_qos2(&mut self, lane: u16, message: Inbound, user: &str) {
        let last = self.last_of(lane);
        let last = last.filter(|last| self.acks.last().is_none_or(|ack| ack.batch == Some(*last)));
        let batch = last.unwrap_or(self.batches);
        self.acks.extend(message.packet_id.map(|id| PendingAck {
            reply: Reply::PubRec(id, ReasonCode::Success, None),
            batch: Some(batch),
        }));
        self.push_to(batch, lane, message, user);
        self.capacity = self.capacity.min(QOS2_CAPACITY);
    }

    /// Whether so much is collected that the caller should append it now, and yield to the other
    /// tasks.
    pub(super) fn is_full(&self) -> bool {
        self.acks.len() >= ACKS
            || self.messages.len() >= BATCH_ENTRIES
            || self.bytes as usize >= BATCH_BYTES
    }

    /// Appends the batches as messages of `who`, then sends the acknowledgements. Waits while a lane
    /// is full, which slows down this client only.
    ///
    /// The future is small unless it has to wait, since each connection holds one.
    ///
    /// # Errors
    /// The log does not take a batch. The connection must end: its acknowledgements are not sent.
    pub(super) fn append_all<'a>(
        &'a mut self,
        who: Actor<'a>,
        entrance: &'a Entrance,
        outbox: &'a Outbox,
    ) -> impl Future<Output = Result<(), LogError>> + 'a {
        let Pending { messages, acks, .. } = std::mem::take(self);
        let mut appending = Appending {
            any_batch: acks.iter().any(|ack| ack.batch.is_some()),
            messages,
            next: 0,
            acks,
            sent: 0,
            marked: 0,
            who,
            outbox,
        };
        match appending.in_place(entrance) {
            Ok(InPlace::All) => self.acks = appending.finish(),
            Ok(step) => {
                let rest = async move {
                    self.acks = appending.go_on(step, entrance).await?;
                    Ok(())
                };
                return Either::Right(Box::pin(rest));
            }
            Err(error) => return Either::Left(ready(Err(error))),
        }
        Either::Left(ready(Ok(())))
    }
}

/// How far messages could be appended in place.
enum InPlace {
    All,
    /// The work of a turn is done: others are served first.
    Turn,
    /// The next lane is busy.
    Busy(ForTheLog),
}

/// What goes to the log of a busy lane.
struct ForTheLog {
    lane: u16,
    batches: Vec<Batch>,
    /// The acknowledgements that are sent with it.
    due: Range<usize>,
}

/// The messages and acknowledgements of a read, while they are appended and sent.
struct Appending<'a> {
    messages: Vec<PendingMessage>,
    /// How many messages have been appended in place.
    next: usize,
    acks: Vec<PendingAck>,
    /// How many of them have been sent.
    sent: usize,
    /// How many of them come up to the last message that reached nobody.
    marked: usize,
    /// Whether any acknowledgement must be sent with a batch.
    any_batch: bool,
    who: Actor<'a>,
    outbox: &'a Outbox,
}

impl Appending<'_> {
    /// Appends what can be applied in place, up to a lane that is busy, and for one turn.
    fn in_place(&mut self, entrance: &Entrance) -> Result<InPlace, LogError> {
        let mut work = ENTRIES_WORK;
        // Read once: each message may be a batch of its own.
        let mut now = None;
        // Packet ids of messages that reached nobody.
        let mut unmatched = Vec::new();
        while let Some(&PendingMessage { lane, batch, .. }) = self.messages.get(self.next) {
            let first = self.sent;
            if self.any_batch {
                self.sent += due_with(&self.acks[first..], batch);
            }
            let due = first..self.sent;
            let left = &self.messages[self.next..];
            let of_batch = left.iter().take_while(|m| m.batch == batch);
            let end = self.next + of_batch.clone().count();
            let mut ids = of_batch.clone().map(|m| m.message.packet_id);
            let entries = of_batch.map(|m| m.entry(self.who));
            let mut taken = 0;
            let applied = |matched: bool| {
                taken += 1;
                let id = ids.next().flatten();
                unmatched.extend(id.filter(|_| !matched));
            };
            let at = *now.get_or_insert_with(times);
            let placed = || self.reply(due.clone());
            // What has been acknowledged must have its place.
            let mut unlimited = usize::MAX;
            let limit = if due.is_empty() {
                &mut work
            } else {
                &mut unlimited
            };
            let Some(done) = entrance.append_in_place(lane, at, (entries, limit), placed, applied)
            else {
                return Ok(InPlace::Busy(self.take_busy(lane, batch, due)));
            };
            self.next = if done? { end } else { self.next + taken };
            work = work.saturating_sub(usize::MAX - unlimited);
            for id in unmatched.drain(..) {
                self.marked += mark_unmatched(&mut self.acks[self.marked..], id);
            }
            if work == 0 && self.next < self.messages.len() {
                return Ok(InPlace::Turn);
            }
        }
        Ok(InPlace::All)
    }

    /// Takes the messages of a batch that cannot be applied in place. What follows them in the same lane
    /// would have to wait in the log as well, so it goes there at once, unless an acknowledgement comes
    /// between.
    fn take_busy(&mut self, lane: u16, batch: u16, due: Range<usize>) -> ForTheLog {
        let all = !self.any_batch;
        let goes = |m: &PendingMessage| m.batch == batch || (all && m.lane == lane);
        let left = self.messages[self.next..].iter().filter(|m| goes(m));
        let batches = Batch::all_of(left.map(|m| m.entry(self.who)));
        // What waits for the log must not be in memory twice.
        self.messages.drain(..self.next);
        self.messages.retain(|m| !goes(m));
        self.messages.shrink_to_fit();
        self.next = 0;
        ForTheLog { lane, batches, due }
    }

    /// Appends the rest: to the logs of busy lanes, and in place what comes between, turn by turn. Returns
    /// the list for further acknowledgements.
    async fn go_on(
        mut self,
        mut step: InPlace,
        entrance: &Entrance,
    ) -> Result<Vec<PendingAck>, LogError> {
        loop {
            match step {
                InPlace::All => return Ok(self.finish()),
                InPlace::Turn => others_first_after_a_turn().await,
                InPlace::Busy(ForTheLog { lane, batches, due }) => {
                    let placed = || self.reply(due);
                    entrance.append_to_log(lane, batches, placed).await?;
                }
            }
            step = self.in_place(entrance)?;
        }
    }

    fn reply(&self, due: Range<usize>) {
        if let Some(acks @ [_, ..]) = self.acks.get(due) {
            let reply = |out: &mut Outbound| acks.iter().for_each(|ack| out.reply(&ack.reply));
            self.outbox.queue(reply);
        }
    }

    /// Sends the last acknowledgements. Returns an empty list for further ones.
    fn finish(mut self) -> Vec<PendingAck> {
        self.reply(self.sent..self.acks.len());
        self.acks.clear();
        self.acks.shrink_to(ACKS_CAPACITY);
        self.acks
    }
}

/// How many of `acks` are sent with the batch of this number: up to the last one that must be.
fn due_with(acks: &[PendingAck], number: u16) -> usize {
    let mut due = 0;
    for (at, ack) in acks.iter().enumerate() {
        match ack.batch {
            Some(batch) if batch > number => break,
            Some(_) => due = at + 1,
            None => {}
        }
    }
    due
}

/// Sets the code of the acknowledgement with this id. Returns how many of `acks` come up to it.
fn mark_unmatched(acks: &mut [PendingAck], id: PacketId) -> usize {
    let codes = acks.iter_mut().map(PendingAck::code);
    for (at, code) in codes.enumerate() {
        if let Some((of, code @ ReasonCode::Success)) = code
            && of == id
        {
            *code = ReasonCode::NoMatchingSubscribers;
            return at + 1;
        }
    }
    0
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::packet::{PublishProperties, QoS, TopicName};
    use crate::policy::SessionId;

    const WHO: Actor<'_> = Actor {
        session: SessionId { term: 1, n: 1 },
        connection: 1,
        user: "u",
    };

    fn acks(batches: &[Option<u16>]) -> Vec<PendingAck> {
        let ack = |batch: &Option<u16>| PendingAck {
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

    fn message(topic: &str) -> Inbound {
        Inbound {
            topic: TopicName::new(topic.into()).unwrap(),
            payload: "hi".into(),
            qos: QoS::ExactlyOnce,
            retain: true,
            packet_id: PacketId::new(1),
            properties: Some(Box::new(PublishProperties {
                message_expiry: Some(5),
                user_properties: vec![("a".into(), "b".into())],
                ..PublishProperties::default()
            })),
        }
    }

    impl Pending {
        fn add(&mut self, lane: u16, topic: &str) {
            self.push(lane, message(topic), WHO.user);
        }

        fn add_qos2(&mut self, lane: u16) {
            self.push_qos2(lane, message("t"), WHO.user);
        }

        /// The numbers of the messages in each batch, with its lane.
        fn batches(&self) -> Vec<(u16, Vec<usize>)> {
            let messages = self.messages.iter().enumerate();
            let of = |batch| messages.clone().filter(move |(_, m)| m.batch == batch);
            let all = (0..self.batches).map(|batch| {
                let lane = of(batch).map(|(_, m)| m.lane).next().unwrap();
                assert!(of(batch).all(|(_, m)| m.lane == lane));
                (lane, of(batch).map(|(number, _)| number).collect())
            });
            all.collect()
        }
    }

    #[test]
    fn a_qos_2_message_joins_no_batch_with_later_acknowledgements() {
        let mut pending = Pending::default();
        pending.add_qos2(0);
        pending.add_qos2(0);
        assert_eq!(pending.batches, 1, "QoS 2 after QoS 2, in one lane");
        pending.add(0, "t");
        pending.acknowledge(Reply::PingResp);
        pending.add_qos2(0);
        assert_eq!(pending.batches, 2, "PINGRESP is sent first");
        pending.add_qos2(1);
        pending.add_qos2(0);
        let acks: Vec<_> = pending.acks.iter().map(|ack| ack.batch).collect();
        assert_eq!(
            acks,
            [Some(0), Some(0), None, Some(1), Some(2), Some(3)],
            "another lane, another batch"
        );
        assert!(!pending.is_full());
        pending.add(1, "t");
        pending.add(0, "t");
        pending.add(0, "t");
        let batches = [
            (0, vec![0, 1, 2]),
            (0, vec![3]),
            (1, vec![4]),
            (0, vec![5]),
            (1, vec![6]),
            (0, vec![7, 8]),
        ];
        assert_eq!(pending.batches(), batches, "in the order of the packets");
    }

    #[test]
    fn entries_and_bytes_of_all_lanes_are_limited_together() {
        let mut pending = Pending::default();
        for n in 1..BATCH_ENTRIES {
            pending.add(u16::from(n % 2 == 0), "t");
            assert!(!pending.is_full(), "after {n} entries");
        }
        pending.add(2, "t");
        assert!(pending.is_full());

        let topic = "x".repeat(BATCH_BYTES / 5 + 1);
        let mut pending = Pending::default();
        for lane in 0..4 {
            pending.add(lane, &topic);
            assert!(!pending.is_full(), "after lane {lane}");
        }
        pending.add(4, &topic);
        assert!(pending.is_full());
    }

    #[test]
    fn the_log_has_the_entry_that_would_be_applied_in_place() {
        let mut pending = Pending::default();
        pending.add(0, "a/b");
        let in_place = pending.messages[0].entry(WHO);
        let encoded = in_place.to_bytes();
        let (by_the_log, _) = Entry::decode(&encoded).unwrap();
        assert_eq!(by_the_log, in_place);
        assert!(encoded.len() <= pending.bytes as usize);
    }
}
