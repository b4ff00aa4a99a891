//! Cutting a stream of bytes into packets: the front of a packet is collected until the packet is whole.

use crate::packet::{DecodeError, Decoder, Packet};
use bytes::{Bytes, BytesMut};

/// Bytes that were read from one connection and are not yet packets.
///
/// After each read, call [`add`](Framer::add) once, then [`next`](Framer::next) until it returns none. An idle connection
/// holds no memory here. Of a packet that is not whole no more is held than was read, at most as much as the
/// decoder's packet limit and one read.
///
/// ```
/// use roommq_mqtt::framing::{Framer, Partial};
/// use roommq_mqtt::packet::{Decoder, Packet};
///
/// let (mut framer, mut decoder) = (Framer::default(), Decoder::new(65_536));
/// framer.add(b"\x10\x0d\x00\x04MQTT\x04\x02\x00\x3c\x00\x01c\xc0");
/// assert!(matches!(framer.next(&mut decoder)?, Some(Packet::Connect(_))));
/// assert_eq!(framer.next(&mut decoder)?, None);
/// assert_eq!(framer.partial(), Partial::New);
/// framer.add(b"\x00");
/// assert_eq!(framer.next(&mut decoder)?, Some(Packet::PingReq));
/// # Ok::<(), roommq_mqtt::packet::DecodeError>(())
/// ```
#[derive(Debug, Default)]
pub struct Framer {
    /// Bytes for the decoder.
    bytes: Bytes,
    /// A packet that is not whole: it is collected here, so that a large one is copied once.
    begun: BytesMut,
    /// Bytes that `begun` needs before the decoder is asked again.
    needed: usize,
    /// Whether a packet has become whole since the last read.
    whole: bool,
}

/// Where the bytes read so far end: after a packet, or within one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Partial {
    /// After a whole packet.
    None,
    /// Within a packet that began with the last read.
    New,
    /// Within a packet that began earlier.
    Continued,
}

impl Framer {
    /// Takes the bytes of one read.
    pub fn add(&mut self, read: &[u8]) {
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

    /// The next whole packet; none until more has been read. Topic and payload of a PUBLISH share the memory of the read.
    ///
    /// # Errors
    /// The bytes are no packet that this client may send: the connection has to end.
    pub fn next(&mut self, decoder: &mut Decoder) -> Result<Option<Packet>, DecodeError> {
        let packet = decoder.decode(&mut self.bytes)?;
        self.whole |= packet.is_some();
        if packet.is_none() && self.begun.is_empty() {
            if self.bytes.is_empty() {
                self.bytes = Bytes::new();
            }
            self.needed = announced(&self.bytes).unwrap_or(self.bytes.len() + 1);
        }
        Ok(packet)
    }

    /// Whether a packet has begun that is not whole.
    pub fn partial(&self) -> Partial {
        match self.buffered() {
            0 => Partial::None,
            _ if self.whole => Partial::New,
            _ => Partial::Continued,
        }
    }

    /// The first bytes that were read and are not yet packets.
    pub fn unread(&self) -> &[u8] {
        if self.bytes.is_empty() {
            &self.begun
        } else {
            &self.bytes
        }
    }

    /// The number of bytes that were read and are not yet packets.
    pub fn buffered(&self) -> usize {
        self.bytes.len() + self.begun.len()
    }
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
            let (mut framer, mut decoder) = (Framer::default(), Decoder::new(10_000));
            let mut packets = Vec::new();
            for read in stream.chunks(piece) {
                framer.add(read);
                while let Some(packet) = framer.next(&mut decoder).unwrap() {
                    packets.push(packet);
                }
            }
            assert_eq!(framer.partial(), Partial::None);
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
        let mut framer = Framer::default();
        let mut decoder = Decoder::new(10_000);
        let connect = b"\x10\x0d\x00\x04MQTT\x04\x02\x00\x00\x00\x01a";
        let mut read = |bytes: &[u8]| {
            framer.add(bytes);
            while framer.next(&mut decoder).unwrap().is_some() {}
            framer.partial()
        };
        assert_eq!(read(&connect[..9]), Partial::Continued);
        assert_eq!(read(&connect[9..]), Partial::None);
        assert_eq!(read(b"\xC0\x00\x30\x05\x00"), Partial::New);
        assert_eq!(read(b"\x01"), Partial::Continued);
        assert_eq!(read(b"txx\x30"), Partial::New);
        assert_eq!(read(b"\x05\x00\x01txx"), Partial::None);
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
