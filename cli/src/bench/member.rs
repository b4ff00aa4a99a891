//! The receiving side: one task for each connection.

use super::counters::{RunCounters, add};
use super::flow::FlowControl;
use super::stream::{ReadBuffer, StreamReader, StreamWriter};
use super::wire::{Malformed, MqttVersion, PayloadStamp, ServerPacket, next_packet, put_puback};
use std::rc::Rc;

/// Messages of one publisher in one room, as this member sees them.
pub struct PublisherStream {
    last: u32,
    flow: Option<Rc<FlowControl>>,
}

impl PublisherStream {
    /// Each delivery is counted in `flow`.
    pub fn new(flow: Option<Rc<FlowControl>>) -> PublisherStream {
        PublisherStream { last: 0, flow }
    }
}

/// The task of one subscribed connection.
pub struct MemberTask {
    counters: Rc<RunCounters>,
    version: MqttVersion,
    streams: Vec<PublisherStream>,
    partial: Vec<u8>,
    acks: Vec<u8>,
}

impl MemberTask {
    /// The index of `streams` is the stream number in the stamps.
    pub fn new(
        counters: Rc<RunCounters>,
        version: MqttVersion,
        streams: Vec<PublisherStream>,
    ) -> MemberTask {
        MemberTask {
            counters,
            version,
            streams,
            partial: Vec::new(),
            acks: Vec::new(),
        }
    }

    /// Reads until the connection ends, and counts it as lost. `unread` has the bytes received
    /// after the last answer; `writer` sends the PUBACKs.
    pub async fn run(
        mut self,
        unread: Vec<u8>,
        mut reader: StreamReader,
        writer: Rc<StreamWriter>,
        read_buffer: ReadBuffer,
    ) {
        let why = match self.take(&unread) {
            Ok(()) => self.read_on(&mut reader, &writer, &read_buffer).await,
            Err(malformed) => malformed.to_string(),
        };
        self.counters.connection_lost("member", &why);
    }

    async fn read_on(
        &mut self,
        reader: &mut StreamReader,
        writer: &StreamWriter,
        read_buffer: &ReadBuffer,
    ) -> String {
        loop {
            if !self.acks.is_empty() {
                if let Err(error) = writer.write_all(&self.acks).await {
                    return error.to_string();
                }
                self.acks.clear();
            }
            if let Err(why) = reader.read(read_buffer, |bytes| self.take(bytes)).await {
                return why;
            }
        }
    }

    fn take(&mut self, bytes: &[u8]) -> Result<(), Malformed> {
        if self.partial.is_empty() {
            let used = self.parse(bytes)?;
            self.partial.extend_from_slice(&bytes[used..]);
        } else {
            let mut whole = std::mem::take(&mut self.partial);
            whole.extend_from_slice(bytes);
            let used = self.parse(&whole)?;
            whole.drain(..used);
            self.partial = whole;
        }
        Ok(())
    }

    /// Counts all whole packets, and returns their bytes.
    fn parse(&mut self, bytes: &[u8]) -> Result<usize, Malformed> {
        let now = self.counters.clock.nanos();
        let measuring = self.counters.measuring.get();
        let mut latency = self.counters.latency.borrow_mut();
        let (mut used, mut delivered) = (0, 0);
        while let Some((packet, length)) = next_packet(self.version, &bytes[used..])? {
            used += length;
            let ServerPacket::Publish { id, payload } = packet else {
                continue;
            };
            if let Some(id) = id {
                put_puback(&mut self.acks, id);
            }
            let known = PayloadStamp::read(payload).and_then(|stamp| {
                Some((
                    stamp,
                    self.streams.get_mut(usize::try_from(stamp.stream).ok()?)?,
                ))
            });
            let Some((stamp, stream)) = known else {
                add(&self.counters.corrupt, 1);
                continue;
            };
            delivered += 1;
            if measuring {
                latency.record(now.saturating_sub(stamp.at));
            }
            if stamp.seq > stream.last {
                stream.last = stamp.seq;
            } else {
                add(&self.counters.out_of_order, 1);
            }
            if let Some(flow) = &stream.flow {
                flow.count_delivery();
            }
        }
        add(&self.counters.delivered, delivered);
        Ok(used)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;
    use crate::bench::wire::PublishTemplate;

    fn frames(seqs: &[u32]) -> Vec<u8> {
        let template = PublishTemplate::new(MqttVersion::V3, "rooms/1/chat", 1, 20);
        let mut out = Vec::new();
        for seq in seqs {
            template.append(
                &mut out,
                7,
                PayloadStamp {
                    at: 1,
                    stream: 0,
                    seq: *seq,
                },
            );
        }
        out
    }

    fn member(counters: &Rc<RunCounters>) -> MemberTask {
        MemberTask::new(
            Rc::clone(counters),
            MqttVersion::V3,
            vec![PublisherStream::new(None)],
        )
    }

    #[test]
    fn bytes_in_any_pieces_count_the_same() {
        let bytes = frames(&[1, 2, 3, 4]);
        for size in 1..bytes.len() {
            let counters = Rc::new(RunCounters::default());
            let mut member = member(&counters);
            bytes
                .chunks(size)
                .for_each(|piece| member.take(piece).unwrap());
            assert_eq!(
                (counters.delivered.get(), counters.out_of_order.get()),
                (4, 0)
            );
            assert_eq!(member.acks, [0x40, 2, 0, 7].repeat(4));
        }
    }

    #[test]
    fn repeated_and_late_messages_are_out_of_order_and_gaps_are_not() {
        let counters = Rc::new(RunCounters::default());
        member(&counters).take(&frames(&[1, 1, 5, 4, 6])).unwrap();
        assert_eq!(
            (counters.delivered.get(), counters.out_of_order.get()),
            (5, 2)
        );
    }

    #[test]
    fn a_payload_of_another_program_is_corrupt_and_not_delivered() {
        let counters = Rc::new(RunCounters::default());
        let mut member = MemberTask::new(Rc::clone(&counters), MqttVersion::V3, Vec::new());
        member.take(&frames(&[1])).unwrap();
        member.take(&[0x30, 4, 0, 1, b't', b'x']).unwrap();
        assert_eq!((counters.delivered.get(), counters.corrupt.get()), (0, 2));
    }

    #[test]
    fn latency_counts_only_while_measuring() {
        let counters = Rc::new(RunCounters::default());
        let mut member = member(&counters);
        member.take(&frames(&[1])).unwrap();
        counters.measuring.set(true);
        member.take(&frames(&[2, 3])).unwrap();
        assert_eq!(counters.latency.borrow().percentiles().count, 2);
    }
}
