//! From the socket to packets: a large buffer that all connections of a thread read into, and what is
//! left of a packet in a small one of the connection's own.

use crate::metrics::Received;
use crate::outbox::Outbox;
use crate::packet::{DecodeError, Decoder, Packet};
use crate::transport::Link;
use bytes::{Bytes, BytesMut};
use std::cell::RefCell;
use std::io;
use std::task::{Context, Poll};
use tokio::io::ReadBuf;

/// Bytes taken from a socket at once.
pub(super) const READ: usize = 64 << 10;

thread_local! {
    /// An idle connection has no buffer.
    static SCRATCH: RefCell<Vec<u8>> = RefCell::new(vec![0; READ]);
}

/// Bytes that were read and are not yet packets.
#[derive(Debug, Default)]
pub(super) struct Intake {
    /// For the decoder.
    bytes: Bytes,
    /// A packet that is not whole: it is collected here, so that a large one is copied once.
    begun: BytesMut,
    /// Bytes that `begun` needs before the decoder is asked again.
    needed: usize,
    /// Whether the link was seen to hold the front of something when nothing could be read.
    held_back: bool,
    /// Whether a packet has become whole since the last read.
    whole: bool,
    /// Not reported yet.
    received: Received,
}

/// What the bytes read so far end with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rest {
    /// A whole packet.
    Nothing,
    /// The front of a packet, which came with the last read.
    Begun,
    /// More of the packet that had begun before.
    More,
}

/// What has been done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Woken {
    /// So many bytes have been read; 0 at the end of the stream.
    Read(usize),
    /// Some of what was blocked has been written, or the socket is broken and will say so.
    Wrote,
    /// Nothing can be written any more; there may be something to read.
    Broken(io::ErrorKind),
    /// There is nothing to read; but the peer has begun something that is not whole, or it came to nothing.
    Begun(bool),
}

impl Intake {
    /// Waits for the link: reads once, where `reads`, and writes what waits in `blocked` when it takes bytes
    /// again. One of both should hold.
    pub(super) async fn wait(
        &mut self,
        link: &mut Link,
        blocked: Option<&Outbox>,
        reads: bool,
    ) -> io::Result<Woken> {
        std::future::poll_fn(|cx| {
            if let Some(outbox) = blocked
                && let Poll::Ready(result) = link.poll_unblock(cx, outbox)
            {
                let broken = |error: io::Error| Woken::Broken(error.kind());
                return Poll::Ready(Ok(result.map_or_else(broken, |()| Woken::Wrote)));
            }
            if !reads {
                return Poll::Pending;
            }
            let read = self.poll_read(link, cx);
            if read.is_pending() && link.has_begun() != self.held_back {
                self.held_back = !self.held_back;
                return Poll::Ready(Ok(Woken::Begun(self.held_back)));
            }
            if read.is_ready() {
                self.held_back = false;
            }
            read.map_ok(Woken::Read)
        })
        .await
    }

    /// Reads what is there without waiting: how many bytes, and 0 where there are none or no more will come.
    pub(super) async fn glance(&mut self, link: &mut Link) -> usize {
        std::future::poll_fn(|cx| {
            Poll::Ready(match self.poll_read(link, cx) {
                Poll::Ready(Ok(n)) => n,
                Poll::Ready(Err(_)) | Poll::Pending => 0,
            })
        })
        .await
    }

    fn poll_read(&mut self, link: &mut Link, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        SCRATCH.with_borrow_mut(|scratch| {
            let mut buffer = ReadBuf::new(scratch);
            link.poll_read(cx, &mut buffer).map_ok(|()| {
                self.add(buffer.filled());
                self.received.bytes += buffer.filled().len() as u64;
                buffer.filled().len()
            })
        })
    }

    fn add(&mut self, read: &[u8]) {
        self.whole = false;
        if self.begun.is_empty() && self.bytes.is_empty() {
            self.bytes = Bytes::copy_from_slice(read);
            return;
        }
        if self.begun.is_empty() {
            self.begun
                .extend_from_slice(&std::mem::take(&mut self.bytes));
        }
        self.begun.extend_from_slice(read);
        if self.begun.len() >= self.needed {
            self.bytes = std::mem::take(&mut self.begun).freeze();
        }
    }

    /// The next whole packet.
    pub(super) fn next(&mut self, decoder: &mut Decoder) -> Result<Option<Packet>, DecodeError> {
        let packet = decoder.decode(&mut self.bytes)?;
        self.whole |= packet.is_some();
        if let Some(packet) = &packet {
            self.received.add(packet);
        }
        if packet.is_none() && self.begun.is_empty() {
            if self.bytes.is_empty() {
                self.bytes = Bytes::new();
            }
            self.needed = announced(&self.bytes).unwrap_or(self.bytes.len() + 1);
        }
        Ok(packet)
    }

    /// What has been read, for the counters to take.
    pub(super) fn received(&mut self) -> &mut Received {
        &mut self.received
    }

    /// Whether a packet has begun and is not whole.
    pub(super) fn rest(&self) -> Rest {
        match self.bytes.is_empty() && self.begun.is_empty() {
            true => Rest::Nothing,
            false if self.whole => Rest::Begun,
            false => Rest::More,
        }
    }
}

/// What a connection makes of bytes that come in these pieces, for the fuzz targets. `seen` is told after each piece the packets
/// that it made whole, what the bytes so far end with, and how many of them are held.
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) fn in_pieces(
    pieces: &[&[u8]],
    decoder: &mut Decoder,
    mut seen: impl FnMut(Vec<Packet>, Rest, usize),
) -> Result<(), DecodeError> {
    let mut intake = Intake::default();
    for piece in pieces {
        intake.add(piece);
        let mut packets = Vec::new();
        while let Some(packet) = intake.next(decoder)? {
            packets.push(packet);
        }
        let held = intake.bytes.len() + intake.begun.len();
        seen(packets, intake.rest(), held);
    }
    Ok(())
}

/// The length that a fixed header announces, itself included (2.1.4); none where it is not whole.
fn announced(bytes: &[u8]) -> Option<usize> {
    let mut length = 0;
    for (n, byte) in bytes.iter().skip(1).take(4).enumerate() {
        length |= usize::from(byte & 0x7F) << (7 * n);
        if byte & 0x80 == 0 {
            return Some(2 + n + length);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_packet_in_any_pieces_is_the_same_packet() {
        let connect = b"\x10\x0d\x00\x04MQTT\x04\x02\x00\x00\x00\x01a";
        let mut publish = vec![0x30, 0xE5, 0x07, 0x00, 0x01, b't'];
        publish.resize(1000, b'x');
        let stream = [&connect[..], &publish, &[0xC0, 0x00], &publish].concat();
        for piece in [1, 2, 3, 7, 100, 999, 5_000] {
            let (mut intake, mut decoder) = (Intake::default(), Decoder::new(10_000));
            let mut packets = Vec::new();
            for read in stream.chunks(piece) {
                intake.add(read);
                while let Some(packet) = intake.next(&mut decoder).unwrap() {
                    packets.push(packet);
                }
            }
            assert_eq!(intake.rest(), Rest::Nothing);
            assert!(
                matches!(packets[0], Packet::Connect(_)),
                "pieces of {piece}"
            );
            let sizes = packets.iter().filter_map(|p| match p {
                Packet::Publish(p) => Some(p.payload.len()),
                _ => None,
            });
            assert_eq!(sizes.collect::<Vec<_>>(), [994, 994]);
            assert_eq!(packets[2], Packet::PingReq);
        }
    }

    #[test]
    fn a_new_packet_is_told_from_more_of_an_old_one() {
        let mut intake = Intake::default();
        let mut decoder = Decoder::new(10_000);
        let connect = b"\x10\x0d\x00\x04MQTT\x04\x02\x00\x00\x00\x01a";
        let mut read = |bytes: &[u8]| {
            intake.add(bytes);
            while intake.next(&mut decoder).unwrap().is_some() {}
            intake.rest()
        };
        assert_eq!(read(&connect[..9]), Rest::More);
        assert_eq!(read(&connect[9..]), Rest::Nothing);
        assert_eq!(read(b"\xC0\x00\x30\x05\x00"), Rest::Begun);
        assert_eq!(read(b"\x01"), Rest::More);
        assert_eq!(read(b"txx\x30"), Rest::Begun);
        assert_eq!(read(b"\x05\x00\x01txx"), Rest::Nothing);
    }

    #[test]
    fn a_length_is_known_from_the_header() {
        assert_eq!(announced(&[0x30]), None);
        assert_eq!(announced(&[0x30, 0xFF]), None);
        assert_eq!(announced(&[0x30, 0x05]), Some(7));
        assert_eq!(announced(&[0x30, 0x80, 0x01]), Some(131));
        assert_eq!(
            announced(&[0x30, 0xFF, 0xFF, 0xFF, 0x7F]),
            Some(5 + 268_435_455)
        );
    }
}
