//! The few MQTT 3.1.1 and 5.0 packets that a load generator needs, written and read as cheaply as can be.
//!
//! This is no codec for a server: it writes only what the bench sends and skips what the bench does not use.

/// The protocol version that the bench's clients speak.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MqttVersion {
    /// MQTT 3.1.1.
    V3,
    /// MQTT 5.0.
    V5,
}

/// Name and password for CONNECT.
#[derive(Clone)]
pub struct Credentials {
    /// User name.
    pub user: String,
    /// Password; none sends the user name alone.
    pub password: Option<String>,
}

/// What the server sent does not hold together as MQTT.
#[derive(Debug, PartialEq, Eq)]
pub struct Malformed;

impl std::fmt::Display for Malformed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("the server sent bytes that are no MQTT packet")
    }
}

impl std::error::Error for Malformed {}

/// DISCONNECT with reason 0, the same bytes in both versions.
pub const DISCONNECT: [u8; 2] = [0xE0, 0];

/// Bytes at the start of each payload: when, by whom, which.
pub const STAMP_BYTES: usize = 16;

/// Asked of the server in CONNECT, in seconds; the bench sends no PINGREQ.
const KEEP_ALIVE: u16 = u16::MAX;

/// What a payload says about itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PayloadStamp {
    /// When it was sent, nanoseconds on the generator's clock.
    pub at: u64,
    /// The number of the stream, which the receiver keeps apart from the other streams it gets.
    pub stream: u32,
    /// Its place in the stream, from 1.
    pub seq: u32,
}

impl PayloadStamp {
    fn bytes(self) -> [u8; STAMP_BYTES] {
        let mut out = [0; STAMP_BYTES];
        out[..8].copy_from_slice(&self.at.to_le_bytes());
        out[8..12].copy_from_slice(&self.stream.to_le_bytes());
        out[12..].copy_from_slice(&self.seq.to_le_bytes());
        out
    }

    /// Reads a stamp back; none where the payload is too short for one.
    pub fn read(payload: &[u8]) -> Option<PayloadStamp> {
        let (at, rest) = payload.split_first_chunk::<8>()?;
        let (stream, rest) = rest.split_first_chunk::<4>()?;
        let seq = rest.first_chunk::<4>()?;
        Some(PayloadStamp {
            at: u64::from_le_bytes(*at),
            stream: u32::from_le_bytes(*stream),
            seq: u32::from_le_bytes(*seq),
        })
    }
}

/// A PUBLISH encoded once; each message patches packet id and stamp into a copy.
pub struct PublishTemplate {
    bytes: Vec<u8>,
    id_at: Option<usize>,
    stamp_at: usize,
}

impl PublishTemplate {
    /// `payload` in bytes, at least [`STAMP_BYTES`]; `qos` 0 or 1.
    pub fn new(version: MqttVersion, topic: &str, qos: u8, payload: usize) -> PublishTemplate {
        let mut body = Vec::with_capacity(topic.len() + payload + 5);
        put_text(&mut body, topic.as_bytes());
        let id_in_body = (qos > 0).then_some(body.len());
        if qos > 0 {
            body.extend_from_slice(&[0, 0]);
        }
        if version == MqttVersion::V5 {
            body.push(0);
        }
        let stamp_in_body = body.len();
        body.resize(body.len() + payload.max(STAMP_BYTES), b'.');
        let bytes = packet(0x30 | (qos << 1), &body);
        let head = bytes.len() - body.len();
        PublishTemplate {
            id_at: id_in_body.map(|at| at + head),
            stamp_at: stamp_in_body + head,
            bytes,
        }
    }

    /// Appends one message; `id` is used at QoS 1 only and must not be 0 then [MQTT-2.2.1-3].
    pub fn append(&self, out: &mut Vec<u8>, id: u16, stamp: PayloadStamp) {
        let start = out.len();
        out.extend_from_slice(&self.bytes);
        let message = &mut out[start..];
        if let Some(at) = self.id_at {
            message[at..at + 2].copy_from_slice(&id.to_be_bytes());
        }
        message[self.stamp_at..self.stamp_at + STAMP_BYTES].copy_from_slice(&stamp.bytes());
    }
}

/// CONNECT with a clean start and no will.
pub fn connect(version: MqttVersion, client_id: &str, login: Option<&Credentials>) -> Vec<u8> {
    let mut body = Vec::with_capacity(64);
    put_text(&mut body, b"MQTT");
    body.push(if version == MqttVersion::V5 { 5 } else { 4 });
    let flags = match login {
        None => 0x02,
        Some(Credentials { password: None, .. }) => 0x82,
        Some(Credentials { .. }) => 0xC2,
    };
    body.push(flags);
    body.extend_from_slice(&KEEP_ALIVE.to_be_bytes());
    if version == MqttVersion::V5 {
        body.push(0);
    }
    put_text(&mut body, client_id.as_bytes());
    if let Some(login) = login {
        put_text(&mut body, login.user.as_bytes());
        if let Some(password) = &login.password {
            put_text(&mut body, password.as_bytes());
        }
    }
    packet(0x10, &body)
}

/// SUBSCRIBE to `filters`, all at `qos`.
pub fn subscribe(version: MqttVersion, id: u16, filters: &[String], qos: u8) -> Vec<u8> {
    let mut body = id.to_be_bytes().to_vec();
    if version == MqttVersion::V5 {
        body.push(0);
    }
    for filter in filters {
        put_text(&mut body, filter.as_bytes());
        body.push(qos);
    }
    packet(0x82, &body)
}

/// Appends a PUBACK, the short form that both versions share.
pub fn put_puback(out: &mut Vec<u8>, id: u16) {
    let [high, low] = id.to_be_bytes();
    out.extend_from_slice(&[0x40, 2, high, low]);
}

/// What the server sent, as far as the bench cares.
#[derive(Debug, PartialEq, Eq)]
pub enum ServerPacket<'a> {
    /// A delivery; `id` is there at QoS 1 and 2.
    Publish {
        /// Packet identifier.
        id: Option<u16>,
        /// Application payload.
        payload: &'a [u8],
    },
    /// An accepted PUBLISH of ours, or a refused one (v5 reason 0x80 and up).
    PubAck {
        /// Whether the reason says no.
        refused: bool,
    },
    /// The answer to CONNECT.
    ConnAck {
        /// Return or reason code; 0 is welcome.
        code: u8,
        /// How many unacknowledged QoS 1 messages the server takes [MQTT-3.3.4-7].
        receive_maximum: u16,
    },
    /// The answer to SUBSCRIBE: one code a filter.
    SubAck {
        /// 0x80 and up are refusals.
        codes: &'a [u8],
    },
    /// The server ends the connection (v5).
    Disconnect {
        /// Reason code.
        code: u8,
    },
    /// Anything else.
    Other,
}

/// The first whole packet of `bytes` and its length in bytes; `Ok(None)` where more bytes are needed.
#[inline]
pub fn next_packet(
    version: MqttVersion,
    bytes: &[u8],
) -> Result<Option<(ServerPacket<'_>, usize)>, Malformed> {
    let Some((&first, rest)) = bytes.split_first() else {
        return Ok(None);
    };
    let Some((length, width)) = read_length(rest)? else {
        return Ok(None);
    };
    let Some(body) = rest.get(width..width + length) else {
        return Ok(None);
    };
    Ok(Some((parse(version, first, body)?, 1 + width + length)))
}

#[inline]
fn parse(version: MqttVersion, first: u8, body: &[u8]) -> Result<ServerPacket<'_>, Malformed> {
    let v5 = version == MqttVersion::V5;
    match first >> 4 {
        3 => {
            let mut rest = skip_text(body)?;
            let mut id = None;
            if first & 0x06 != 0 {
                let (two, after) = rest.split_first_chunk::<2>().ok_or(Malformed)?;
                id = Some(u16::from_be_bytes(*two));
                rest = after;
            }
            if v5 {
                rest = split_properties(rest)?.1;
            }
            Ok(ServerPacket::Publish { id, payload: rest })
        }
        4 => Ok(ServerPacket::PubAck {
            refused: body.get(2).is_some_and(|code| *code >= 0x80),
        }),
        2 => {
            let code = *body.get(1).ok_or(Malformed)?;
            let receive_maximum = match body.get(2..) {
                Some(rest) if v5 && !rest.is_empty() => receive_maximum(split_properties(rest)?.0)?,
                _ => u16::MAX,
            };
            Ok(ServerPacket::ConnAck {
                code,
                receive_maximum,
            })
        }
        9 => {
            let rest = body.get(2..).ok_or(Malformed)?;
            let codes = if v5 { split_properties(rest)?.1 } else { rest };
            Ok(ServerPacket::SubAck { codes })
        }
        14 => Ok(ServerPacket::Disconnect {
            code: body.first().copied().unwrap_or(0),
        }),
        _ => Ok(ServerPacket::Other),
    }
}

/// A variable byte integer and how many bytes it took; `Ok(None)` where it is not whole yet.
#[inline]
fn read_length(bytes: &[u8]) -> Result<Option<(usize, usize)>, Malformed> {
    let mut value = 0;
    for (i, byte) in bytes.iter().take(4).enumerate() {
        value |= usize::from(byte & 0x7F) << (7 * i);
        if byte & 0x80 == 0 {
            return Ok(Some((value, i + 1)));
        }
    }
    if bytes.len() < 4 {
        Ok(None)
    } else {
        Err(Malformed)
    }
}

fn split_properties(bytes: &[u8]) -> Result<(&[u8], &[u8]), Malformed> {
    let (length, width) = read_length(bytes)?.ok_or(Malformed)?;
    bytes[width..].split_at_checked(length).ok_or(Malformed)
}

fn skip_text(bytes: &[u8]) -> Result<&[u8], Malformed> {
    let (length, rest) = bytes.split_first_chunk::<2>().ok_or(Malformed)?;
    rest.get(usize::from(u16::from_be_bytes(*length))..)
        .ok_or(Malformed)
}

/// Receive Maximum among the properties of a CONNACK; the default is 65,535 (3.2.2.3.3).
fn receive_maximum(mut properties: &[u8]) -> Result<u16, Malformed> {
    while let Some((&name, rest)) = properties.split_first() {
        properties = match name {
            0x21 => {
                let value = rest.first_chunk::<2>().ok_or(Malformed)?;
                return Ok(u16::from_be_bytes(*value));
            }
            // One byte: maximum QoS, retain, wildcard, subscription ids, shared subscriptions.
            0x24 | 0x25 | 0x28 | 0x29 | 0x2A => rest.get(1..).ok_or(Malformed)?,
            // Two bytes: topic alias maximum, server keep alive.
            0x13 | 0x22 => rest.get(2..).ok_or(Malformed)?,
            // Four bytes: session expiry, maximum packet size.
            0x11 | 0x27 => rest.get(4..).ok_or(Malformed)?,
            0x26 => skip_text(skip_text(rest)?)?,
            _ => skip_text(rest)?,
        };
    }
    Ok(u16::MAX)
}

fn packet(first: u8, body: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(body.len() + 5);
    out.push(first);
    let mut left = body.len();
    loop {
        let [low, ..] = left.to_le_bytes();
        left >>= 7;
        out.push(if left == 0 { low } else { low | 0x80 });
        if left == 0 {
            break;
        }
    }
    out.extend_from_slice(body);
    out
}

/// A length-prefixed field; what passes 65,535 bytes, the most that MQTT can carry, is cut.
fn put_text(out: &mut Vec<u8>, text: &[u8]) {
    let length = u16::try_from(text.len()).unwrap_or(u16::MAX);
    out.extend_from_slice(&length.to_be_bytes());
    out.extend_from_slice(&text[..usize::from(length)]);
}

#[cfg(test)]
#[path = "wire_tests.rs"]
mod tests;
