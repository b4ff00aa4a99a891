//! Packets that a server sends.

use super::bytes::Reader;
use super::{Message, Properties, Version};

/// A packet from the server.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs)] // the fields are the standard's own
pub enum Packet {
    ConnAck {
        session_present: bool,
        code: u8,
        properties: Properties,
    },
    Publish(Message),
    PubAck {
        id: u16,
        code: u8,
        properties: Properties,
    },
    PubRec {
        id: u16,
        code: u8,
        properties: Properties,
    },
    PubRel {
        id: u16,
        code: u8,
        properties: Properties,
    },
    PubComp {
        id: u16,
        code: u8,
        properties: Properties,
    },
    SubAck {
        id: u16,
        codes: Vec<u8>,
        properties: Properties,
    },
    UnsubAck {
        id: u16,
        codes: Vec<u8>,
        properties: Properties,
    },
    PingResp,
    Disconnect {
        code: u8,
        properties: Properties,
    },
    Auth {
        code: u8,
        properties: Properties,
    },
}

impl Packet {
    /// The first packet in `buffer` and its length in bytes; none if it is incomplete.
    pub(super) fn parse(buffer: &[u8], version: Version) -> Option<(Packet, usize)> {
        let first = *buffer.first()?;
        let mut length = 0;
        let mut head = 1;
        loop {
            let byte = *buffer.get(head)?;
            length |= usize::from(byte & 0x7F) << (7 * (head - 1));
            head += 1;
            if byte & 0x80 == 0 {
                break;
            }
            assert!(
                head <= 4,
                "the server sent a remaining length of five bytes"
            );
        }
        let body = buffer.get(head..head + length)?;
        let mut body = Reader(body);
        let packet = Packet::take(first, &mut body, version);
        assert!(body.0.is_empty(), "bytes are left after {packet:?}");
        Some((packet, head + length))
    }

    fn take(first: u8, body: &mut Reader<'_>, version: Version) -> Packet {
        let v5 = version == Version::V5;
        let flags = first & 0x0F;
        if first >> 4 != 3 {
            let expected = if first >> 4 == 6 { 2 } else { 0 };
            assert_eq!(flags, expected, "reserved flags of {first:#04x}");
        }
        match first >> 4 {
            2 => {
                let acknowledge = body.u8();
                assert_eq!(acknowledge & 0xFE, 0, "reserved bits of CONNACK");
                Packet::ConnAck {
                    session_present: acknowledge == 1,
                    code: body.u8(),
                    properties: properties(body, v5),
                }
            }
            3 => Packet::Publish(publish(flags, body, v5)),
            kind @ 4..=7 => {
                let id = body.u16();
                let (code, properties) = code_and_properties(body, v5);
                match kind {
                    4 => Packet::PubAck {
                        id,
                        code,
                        properties,
                    },
                    5 => Packet::PubRec {
                        id,
                        code,
                        properties,
                    },
                    6 => Packet::PubRel {
                        id,
                        code,
                        properties,
                    },
                    _ => Packet::PubComp {
                        id,
                        code,
                        properties,
                    },
                }
            }
            9 => Packet::SubAck {
                id: body.u16(),
                properties: properties(body, v5),
                codes: body.rest().to_vec(),
            },
            11 => Packet::UnsubAck {
                id: body.u16(),
                properties: properties(body, v5),
                codes: body.rest().to_vec(),
            },
            13 => Packet::PingResp,
            14 => {
                assert!(v5, "a server sends no DISCONNECT in 3.1.1");
                let (code, properties) = code_and_properties(body, v5);
                Packet::Disconnect { code, properties }
            }
            15 => {
                assert!(v5, "3.1.1 has no AUTH");
                let (code, properties) = code_and_properties(body, v5);
                Packet::Auth { code, properties }
            }
            kind => panic!("the server sent a packet of type {kind}"),
        }
    }
}

fn properties(body: &mut Reader<'_>, v5: bool) -> Properties {
    if v5 {
        Properties::take(body)
    } else {
        Properties::default()
    }
}

/// Reason code and properties. In 5.0 a packet may omit the second or both.
fn code_and_properties(body: &mut Reader<'_>, v5: bool) -> (u8, Properties) {
    if body.0.is_empty() {
        return (0, Properties::default());
    }
    let code = body.u8();
    if body.0.is_empty() {
        return (code, Properties::default());
    }
    (code, properties(body, v5))
}

fn publish(flags: u8, body: &mut Reader<'_>, v5: bool) -> Message {
    let qos = flags >> 1 & 3;
    let topic = body.string();
    let id = if qos == 0 { 0 } else { body.u16() };
    Message {
        dup: flags & 8 != 0,
        qos,
        retain: flags & 1 != 0,
        topic,
        id,
        properties: properties(body, v5),
        payload: body.rest().to_vec(),
    }
}
