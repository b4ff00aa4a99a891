//! Encodes and decodes the few MQTT 3.1.1 and 5.0 packets that a load generator needs, at low cost.
//!
//! It is not a complete codec: it encodes only what the benchmark sends, and skips what it does not
//! use.

/// The protocol version of the benchmark's clients.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MqttVersion {
    /// MQTT 3.1.1.
    V3,
    /// MQTT 5.0.
    V5,
}

/// The server sent bytes that are not MQTT.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("the server sent bytes that are not an MQTT packet")]
pub struct Malformed;

/// DISCONNECT with reason 0, the same bytes in both versions.
pub const DISCONNECT: [u8; 2] = [0xE0, 0];

/// Bytes of the stamp at the start of each payload: send time, stream and number.
pub const STAMP_BYTES: usize = 16;

/// Keep alive in seconds. The benchmark sends no PINGREQ, so it is the longest.
const KEEP_ALIVE: u16 = u16::MAX;

/// The stamp of a payload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PayloadStamp {
    /// The send time, in nanoseconds on the generator's clock.
    pub at: u64,
    /// The stream number: which of the receiver's streams the message belongs to.
    pub stream: u32,
    /// The number of the message in its stream, from 1.
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

    /// Reads a stamp. None: the payload is too short.
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

/// A PUBLISH that is encoded once. Each message is a copy with its own packet id and stamp.
pub struct PublishTemplate {
    bytes: Vec<u8>,
    id_at: Option<usize>,
    stamp_at: usize,
}

impl PublishTemplate {
    /// `payload` is in bytes, at least [`STAMP_BYTES`]. `qos` is 0 or 1.
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

    /// Appends one message. `id` is used only at QoS 1, and must not be 0 then [MQTT-2.2.1-3].
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

/// CONNECT with Clean Start and without a will. `login`: the user name and the password.
pub fn connect(version: MqttVersion, client_id: &str, login: Option<&(String, String)>) -> Vec<u8> {
    let mut body = Vec::with_capacity(64);
    put_text(&mut body, b"MQTT");
    body.push(if version == MqttVersion::V5 { 5 } else { 4 });
    body.push(if login.is_some() { 0xC2 } else { 0x02 });
    body.extend_from_slice(&KEEP_ALIVE.to_be_bytes());
    if version == MqttVersion::V5 {
        body.push(0);
    }
    put_text(&mut body, client_id.as_bytes());
    if let Some((user, password)) = login {
        put_text(&mut body, user.as_bytes());
        put_text(&mut body, password.as_bytes());
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

/// Appends a PUBACK in the short form of both versions.
pub fn put_puback(out: &mut Vec<u8>, id: u16) {
    let [high, low] = id.to_be_bytes();
    out.extend_from_slice(&[0x40, 2, high, low]);
}

/// A packet from the server, as far as the benchmark needs it.
#[derive(Debug, PartialEq, Eq)]
pub enum ServerPacket<'a> {
    /// A delivery.
    Publish {
        /// The packet id, at QoS 1 and 2.
        id: Option<u16>,
        /// Application payload.
        payload: &'a [u8],
    },
    /// The answer to a PUBLISH.
    PubAck {
        /// Whether the reason code is 0x80 or higher (5.0).
        refused: bool,
    },
    /// The answer to CONNECT.
    ConnAck {
        /// Return code or reason code. 0: accepted.
        code: u8,
        /// The most unacknowledged QoS 1 messages that the server accepts [MQTT-3.3.4-7].
        receive_maximum: u16,
    },
    /// The answer to SUBSCRIBE.
    SubAck {
        /// One code for each filter. 0x80 and higher are refusals.
        codes: &'a [u8],
    },
    /// The server ends the connection (5.0).
    Disconnect {
        /// Reason code.
        code: u8,
    },
    /// Any other packet.
    Other,
}

/// The first packet of `bytes`, and its length in bytes. `Ok(None)`: more bytes are needed.
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

/// A variable byte integer, and its length in bytes. `Ok(None)`: more bytes are needed.
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

/// The Receive Maximum of a CONNACK. The default is 65,535 (3.2.2.3.3).
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

/// Appends a length-prefixed field. It is cut at 65,535 bytes, the most that MQTT can encode.
fn put_text(out: &mut Vec<u8>, text: &[u8]) {
    let length = u16::try_from(text.len()).unwrap_or(u16::MAX);
    out.extend_from_slice(&length.to_be_bytes());
    out.extend_from_slice(&text[..usize::from(length)]);
}

#[cfg(test)]
#[path = "wire_tests.rs"]
mod tests;
