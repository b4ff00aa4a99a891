//! The receiving side: one task a connection.

use super::board::{Board, Flow, add};
use super::stream::{Reader, Scratch, Writer};
use super::wire::{Malformed, Packet, Stamp, Version, next_packet, put_puback};
use std::rc::Rc;

/// Messages of one publisher in one room, as this member sees them.
pub struct Stream {
    last: u32,
    flow: Option<Rc<Flow>>,
}

impl Stream {
    /// `flow` is told of each delivery.
    pub fn new(flow: Option<Rc<Flow>>) -> Stream {
        Stream { last: 0, flow }
    }
}

/// One subscribed connection.
pub struct Member {
    board: Rc<Board>,
    version: Version,
    streams: Vec<Stream>,
    partial: Vec<u8>,
    acks: Vec<u8>,
}

impl Member {
    /// `streams` are indexed by the stream number in the stamps.
    pub fn new(board: Rc<Board>, version: Version, streams: Vec<Stream>) -> Member {
        Member {
            board,
            version,
            streams,
            partial: Vec::new(),
            acks: Vec::new(),
        }
    }

    /// Reads until the connection ends, which counts as a loss of the connection.
    /// `unread` is what the handshake left; `writer` takes the PUBACKs.
    pub async fn run(
        mut self,
        unread: Vec<u8>,
        mut reader: Reader,
        writer: Rc<Writer>,
        scratch: Scratch,
    ) {
        let why = match self.take(&unread) {
            Ok(()) => self.read_on(&mut reader, &writer, &scratch).await,
            Err(malformed) => malformed.to_string(),
        };
        self.board.connection_lost("member", &why);
    }

    async fn read_on(&mut self, reader: &mut Reader, writer: &Writer, scratch: &Scratch) -> String {
        loop {
            if !self.acks.is_empty() {
                if let Err(error) = writer.write_all(&self.acks).await {
                    return error.to_string();
                }
                self.acks.clear();
            }
            if let Err(why) = reader.read(scratch, |bytes| self.take(bytes)).await {
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

    /// Counts every whole packet; how many bytes they were.
    fn parse(&mut self, bytes: &[u8]) -> Result<usize, Malformed> {
        let now = self.board.clock.nanos();
        let measuring = self.board.measuring.get();
        let mut latency = self.board.latency.borrow_mut();
        let (mut used, mut delivered) = (0, 0);
        while let Some((packet, length)) = next_packet(self.version, &bytes[used..])? {
            used += length;
            let Packet::Publish { id, payload } = packet else {
                continue;
            };
            if let Some(id) = id {
                put_puback(&mut self.acks, id);
            }
            let known = Stamp::read(payload).and_then(|stamp| {
                Some((
                    stamp,
                    self.streams.get_mut(usize::try_from(stamp.stream).ok()?)?,
                ))
            });
            let Some((stamp, stream)) = known else {
                add(&self.board.corrupt, 1);
                continue;
            };
            delivered += 1;
            if measuring {
                latency.record(now.saturating_sub(stamp.at));
            }
            if stamp.seq > stream.last {
                stream.last = stamp.seq;
            } else {
                add(&self.board.out_of_order, 1);
            }
            if let Some(flow) = &stream.flow {
                flow.count_delivery();
            }
        }
        add(&self.board.delivered, delivered);
        Ok(used)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;
    use crate::bench::wire::Template;

    fn frames(seqs: &[u32]) -> Vec<u8> {
        let template = Template::new(Version::V3, "rooms/1/chat", 1, 20);
        let mut out = Vec::new();
        for seq in seqs {
            template.append(
                &mut out,
                7,
                Stamp {
                    at: 1,
                    stream: 0,
                    seq: *seq,
                },
            );
        }
        out
    }

    fn member(board: &Rc<Board>) -> Member {
        Member::new(Rc::clone(board), Version::V3, vec![Stream::new(None)])
    }

    #[test]
    fn bytes_in_any_pieces_count_the_same() {
        let bytes = frames(&[1, 2, 3, 4]);
        for size in 1..bytes.len() {
            let board = Rc::new(Board::new());
            let mut member = member(&board);
            bytes
                .chunks(size)
                .for_each(|piece| member.take(piece).unwrap());
            assert_eq!((board.delivered.get(), board.out_of_order.get()), (4, 0));
            assert_eq!(member.acks, [0x40, 2, 0, 7].repeat(4));
        }
    }

    #[test]
    fn a_repeat_and_a_late_one_are_out_of_order_and_a_gap_is_not() {
        let board = Rc::new(Board::new());
        member(&board).take(&frames(&[1, 1, 5, 4, 6])).unwrap();
        assert_eq!((board.delivered.get(), board.out_of_order.get()), (5, 2));
    }

    #[test]
    fn a_strangers_payload_is_corrupt_and_not_delivered() {
        let board = Rc::new(Board::new());
        let mut member = Member::new(Rc::clone(&board), Version::V3, Vec::new());
        member.take(&frames(&[1])).unwrap();
        member.take(&[0x30, 4, 0, 1, b't', b'x']).unwrap();
        assert_eq!((board.delivered.get(), board.corrupt.get()), (0, 2));
    }

    #[test]
    fn latency_counts_only_while_measuring() {
        let board = Rc::new(Board::new());
        let mut member = member(&board);
        member.take(&frames(&[1])).unwrap();
        board.measuring.set(true);
        member.take(&frames(&[2, 3])).unwrap();
        assert_eq!(board.latency.borrow().percentiles().count, 2);
    }
}
