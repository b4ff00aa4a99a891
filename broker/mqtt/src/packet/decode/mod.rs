//! Decodes and checks a client's packets.
//!
//! Each check names its clause. If the two standards number the same statement differently, the check names both
//! ids, as in [3.1.1 MQTT-1.5.3-2, 5.0 MQTT-1.5.4-2]. A bare number such as 3.8.3.1 is a section
//! that demands something without a numbered statement.
//!
//! The decoder reads each packet once, front to back, and reports its first fault.

mod ack;
mod connect;
mod error;
mod level;
mod properties;
mod publish;
mod reader;
mod reason;
mod subscribe;

pub use error::DecodeError;

use super::kind::{
    AUTH, CONNECT, DISCONNECT, DUP, PINGREQ, PUBACK, PUBCOMP, PUBLISH, PUBREL, RESERVED, SUBSCRIBE,
    UNSUBSCRIBE,
};
use super::wire::variable_len;
use super::{Packet, Version};
use bytes::{Buf, Bytes};
use error::Fault;
use level::Level;
use reader::Reader;

/// Splits a client's bytes into packets and checks them. Each connection has a decoder of its own.
///
/// After an error the caller closes the connection: the decoder cannot find the next packet
/// [3.1.1 MQTT-4.8.0-1, 5.0 MQTT-4.13.1-1].
#[derive(Debug, Clone)]
pub struct Decoder {
    max_packet_bytes: u32,
    max_user_properties: u16,
    level: Option<Level>,
}

/// A fixed header whose first byte a client may send.
struct Header {
    first: u8,
    /// Bytes of the fixed header.
    len: usize,
    /// Bytes that follow the fixed header.
    remaining: usize,
}

impl Header {
    /// Refuses a remaining length that is encoded in more bytes than it needs (5.0).
    fn check_shortest(&self) -> Result<(), Fault> {
        if self.len == 1 + variable_len(self.remaining) {
            return Ok(());
        }
        Err(Fault::malformed(
            "the remaining length is in more bytes than it needs",
            "5.0 MQTT-1.5.5-1",
        ))
    }
}

impl Decoder {
    /// A decoder for a new connection. It refuses packets of more than `max_packet_bytes`, fixed header included, and
    /// a first packet other than CONNECT.
    #[must_use]
    pub fn new(max_packet_bytes: u32) -> Decoder {
        Decoder {
            max_packet_bytes,
            max_user_properties: u16::MAX,
            level: None,
        }
    }

    /// Refuses, by 0x97, packets and wills with more than `most` user properties (5.0); 65,535 without this call. The
    /// decoder counts them as it reads: it stores no more than `most`.
    #[must_use]
    pub fn with_user_properties(self, most: u16) -> Decoder {
        Decoder {
            max_user_properties: most,
            ..self
        }
    }

    /// The version of the connection; none before CONNECT.
    pub fn version(&self) -> Option<Version> {
        self.level.map(Level::version)
    }

    /// Takes the next packet off the front of `bytes`; none if `bytes` does not have all of it yet. The topic and the
    /// payload of a PUBLISH are slices of `bytes`, not copies.
    ///
    /// The header suffices to refuse a packet that is too large, or of a type that a client must not send.
    pub fn decode(&mut self, bytes: &mut Bytes) -> Result<Option<Packet>, DecodeError> {
        let Some(header) = self.header(bytes).map_err(DecodeError::from)? else {
            return Ok(None);
        };
        let whole = header.len + header.remaining;
        if bytes.len() < whole {
            return Ok(None);
        }
        let mut body = bytes.split_to(whole);
        body.advance(header.len);
        match self.version() {
            None => {
                let reader = copied(&body, self.max_user_properties);
                let (level, connect) = connect::connect(header.first, reader)?;
                if level == Level::V5 {
                    header.check_shortest().map_err(DecodeError::from)?;
                }
                self.level = Some(level);
                Ok(Some(Packet::Connect(Box::new(connect))))
            }
            Some(version) => {
                let most = self.max_user_properties;
                Ok(Some(packet(version, header.first, body, most)?))
            }
        }
    }

    #[inline]
    fn header(&self, bytes: &[u8]) -> Result<Option<Header>, Fault> {
        let Some(&first) = bytes.first() else {
            return Ok(None);
        };
        self.check_first(first)?;
        let mut remaining = 0;
        for (at, byte) in bytes[1..].iter().take(4).enumerate() {
            remaining |= usize::from(byte & 0x7F) << (7 * at);
            if byte & 0x80 != 0 {
                continue;
            }
            let len = 1 + at + 1;
            if len + remaining > self.max_packet_bytes as usize {
                return Err(Fault::TooLarge {
                    bytes: len + remaining,
                    most: self.max_packet_bytes,
                });
            }
            let header = Header {
                first,
                len,
                remaining,
            };
            if self.level == Some(Level::V5) {
                header.check_shortest()?;
            }
            return Ok(Some(header));
        }
        if bytes.len() > 4 {
            return Err(Fault::malformed(
                "the remaining length has more than four bytes",
                "3.1.1 2.2.3, 5.0 1.5.5",
            ));
        }
        Ok(None)
    }

    /// Refuses a first byte that the client must not send at this point.
    fn check_first(&self, first: u8) -> Result<(), Fault> {
        let (kind, flags) = (first >> 4, first & 0x0F);
        if kind == 0 || (kind == AUTH && self.version() == Some(Version::V3)) {
            return Err(Fault::malformed(
                "there is no such packet",
                "3.1.1 2.2.1, 5.0 2.1.2",
            ));
        }
        if self.level.is_none() && kind != CONNECT {
            return Err(Fault::protocol(
                "the first packet is not CONNECT",
                "MQTT-3.1.0-1",
            ));
        }
        let (expected, clause) = match kind {
            PUBLISH => return Ok(()),
            CONNECT if self.level.is_none() => return Ok(()), // `connect` checks the flags
            PUBREL => (RESERVED, "MQTT-3.6.1-1"),
            SUBSCRIBE => (RESERVED, "MQTT-3.8.1-1"),
            UNSUBSCRIBE => (RESERVED, "MQTT-3.10.1-1"),
            DISCONNECT => (0, "MQTT-3.14.1-1"),
            AUTH => (0, "5.0 MQTT-3.15.1-1"),
            // [3.1.1 MQTT-2.2.2-1]
            _ => (0, "3.1.1 MQTT-2.2.2-2, 5.0 MQTT-2.1.3-1"),
        };
        // 3.1 allows DUP in packets that need an answer (3.1 2.1); later versions reserve it.
        let again = self.level == Some(Level::V31) && expected != 0;
        if flags != expected && !(again && flags == expected | DUP) {
            return Err(Fault::malformed(
                "the header's reserved flags are wrong",
                clause,
            ));
        }
        match kind {
            CONNECT if self.level.is_some() => {
                Err(Fault::protocol("a second CONNECT", "MQTT-3.1.0-2"))
            }
            CONNECT | PUBACK..=SUBSCRIBE | UNSUBSCRIBE | PINGREQ | DISCONNECT | AUTH => Ok(()),
            _ => Err(Fault::protocol(
                "a packet that only a server sends",
                "3.1.1 2.2.1, 5.0 2.1.2",
            )),
        }
    }
}

/// Reads a packet other than CONNECT.
#[inline]
fn packet(version: Version, first: u8, body: Bytes, most: u16) -> Result<Packet, Fault> {
    match first >> 4 {
        PUBLISH => publish::publish(version, first, Reader::new(body, most)).map(Packet::Publish),
        kind @ PUBACK..=PUBCOMP if body.len() == 2 => ack::success(kind, &body),
        PINGREQ if body.is_empty() => Ok(Packet::PingReq),
        kind => rare_packet(version, kind, copied(&body, most)),
    }
}

/// A reader of a copy. The session may store the filters, wills and names of these rare packets for long; slices of
/// `body` would hold the connection's whole read buffer in memory.
fn copied(body: &Bytes, user_properties: u16) -> Reader {
    Reader::new(Bytes::copy_from_slice(body), user_properties)
}

fn rare_packet(version: Version, kind: u8, mut reader: Reader) -> Result<Packet, Fault> {
    let packet = match kind {
        PUBACK..=PUBCOMP => ack::with_reason(version, kind, &mut reader)?,
        SUBSCRIBE => Packet::Subscribe(subscribe::subscribe(version, &mut reader)?),
        UNSUBSCRIBE => Packet::Unsubscribe(subscribe::unsubscribe(version, &mut reader)?),
        DISCONNECT => Packet::Disconnect(reason::disconnect(version, &mut reader)?),
        AUTH => Packet::Auth(reason::auth(&mut reader)?),
        PINGREQ => return Err(Fault::malformed("PINGREQ has a body", "3.12")),
        _ => return Err(Fault::protocol("a packet out of place", "2.2.1, 2.1.2")),
    };
    if !reader.is_empty() {
        return Err(Fault::malformed(
            "there are bytes after the packet's last field",
            "3.1.1 4.8, 5.0 4.13.1",
        ));
    }
    Ok(packet)
}
