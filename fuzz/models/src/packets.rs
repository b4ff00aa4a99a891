//! The packet reader: any bytes, in any pieces.

use super::client::announced;
use super::decoder::decoder;
use super::input::Input;
use super::{publishes, replies};
use bytes::Bytes;
use roommq_mqtt::framing::{Framer, Partial};
use roommq_mqtt::packet::{DecodeError, Decoder, Packet, Version};

/// From hardly more than the CONNECT of [`decoder`] to no limit.
const LIMITS: [u32; 8] = [16, 17, 64, 130, 300, 16_500, 1 << 20, u32::MAX];

pub(super) fn run(bytes: &[u8]) {
    let mut input = Input::new(bytes);
    let head = input.byte();
    let version = match head & 3 {
        0 => Some(Version::V3),
        1 => Some(Version::V5),
        2 => None,
        _ => return replies::run(input),
    };
    let limit = LIMITS[usize::from(head >> 2) % LIMITS.len()];
    let many = usize::from(input.byte() & 7);
    let sizes = input.take(many);
    read(version, limit, sizes, input.rest());
}

fn read(version: Option<Version>, limit: u32, sizes: &[u8], wire: &[u8]) {
    let mut whole = decoder(version, limit);
    let (packets, end) = in_one_piece(&mut whole, limit, wire);
    for (packet, raw) in &packets {
        publishes::holds(whole.version(), packet, raw);
    }

    let pieces = pieces(sizes, wire);
    let longest = pieces.iter().map(|piece| piece.len()).max().unwrap_or(0);
    let (mut read, mut sent, mut taken) = (Vec::new(), 0, 0);
    let mut second = decoder(version, limit);
    let ended = in_pieces(&pieces, &mut second, |new, rest, held| {
        sent += pieces[taken].len();
        taken += 1;
        let any = !new.is_empty();
        read.extend(new);
        let through: usize = packets[..read.len()].iter().map(|(_, raw)| raw.len()).sum();
        assert_eq!(
            held,
            sent - through,
            "every byte is a packet's or held, none twice"
        );
        // A packet is refused when its header shows that it is too large.
        assert!(
            held <= limit as usize + longest,
            "{held} bytes held at a limit of {limit}"
        );
        let expected = match (held, any) {
            (0, _) => Partial::None,
            (_, true) => Partial::New,
            (_, false) => Partial::Continued,
        };
        assert_eq!(rest, expected, "after {sent} bytes");
    });
    let packets: Vec<Packet> = packets.into_iter().map(|(packet, _)| packet).collect();
    assert_eq!(ended.err(), end, "the end differs in pieces");
    // What came in the piece with the error is handed out before it, and not counted here.
    assert!(
        packets.starts_with(&read),
        "{read:?} in pieces, else {packets:?}"
    );
    if end.is_none() {
        assert_eq!(read.len(), packets.len(), "packets lost between pieces");
    }
    assert_eq!(whole.version(), second.version());
}

/// What a connection makes of bytes that come in these pieces. `seen` is told after each piece the packets that it made
/// whole, what the bytes so far end with, and how many of them are held.
fn in_pieces(
    pieces: &[&[u8]],
    decoder: &mut Decoder,
    mut seen: impl FnMut(Vec<Packet>, Partial, usize),
) -> Result<(), DecodeError> {
    let mut framer = Framer::default();
    for piece in pieces {
        framer.add(piece);
        let mut packets = Vec::new();
        while let Some(packet) = framer.next(decoder)? {
            packets.push(packet);
        }
        seen(packets, framer.partial(), framer.buffered());
    }
    Ok(())
}

/// All packets with their bytes, and the error that ended it.
fn in_one_piece(
    decoder: &mut Decoder,
    limit: u32,
    wire: &[u8],
) -> (Vec<(Packet, Bytes)>, Option<DecodeError>) {
    let mut rest = Bytes::copy_from_slice(wire);
    let mut packets = Vec::new();
    loop {
        let before = rest.clone();
        let length = announced(&before);
        match decoder.decode(&mut rest) {
            Ok(Some(packet)) => {
                let taken = before.len() - rest.len();
                assert_eq!(Some(taken), length, "a packet has the length it says");
                assert!(
                    taken <= limit as usize,
                    "{taken} bytes at a limit of {limit}"
                );
                packets.push((packet, before.slice(..taken)));
            }
            Ok(None) => {
                assert_eq!(before.len(), rest.len(), "bytes taken without a packet");
                let waits = length.is_none_or(|l| l > before.len() && l <= limit as usize);
                assert!(waits, "it waits for more than the {length:?} bytes");
                return (packets, None);
            }
            Err(error) => {
                assert!(
                    error.reason() as u8 >= 0x80,
                    "{error}: an error with the code of success"
                );
                return (packets, Some(error));
            }
        }
    }
}

/// `wire` cut by `sizes`, again and again; all of it where there are none. A size of 0 is 256.
fn pieces<'a>(sizes: &[u8], wire: &'a [u8]) -> Vec<&'a [u8]> {
    let mut sizes = sizes.iter().cycle().map(|size| match size {
        0 => 256,
        size => usize::from(*size),
    });
    let mut rest = wire;
    let mut pieces = Vec::new();
    while !rest.is_empty() {
        let size = sizes.next().unwrap_or(rest.len()).min(rest.len());
        let (piece, after) = rest.split_at(size);
        pieces.push(piece);
        rest = after;
    }
    pieces
}
