//! Packets from the server, parsed by hand. An invalid packet is an error and no panic.

use crate::clause::Version;
use crate::field::{Field, PROPERTIES, Type};

/// A packet: its kind, and its fields in the order of the wire.
#[derive(Debug, Clone)]
pub struct Packet {
    pub kind: &'static str,
    pub fields: Vec<(&'static str, Field)>,
    pub bytes: Vec<u8>,
}

impl Packet {
    pub fn number(&self, name: &str) -> Option<u64> {
        self.fields.iter().find_map(|(n, field)| match field {
            Field::Number(value) if *n == name => Some(*value),
            _ => None,
        })
    }

    /// Decoded, then in hexadecimal.
    pub fn shown(&self) -> String {
        let fields: Vec<String> = self
            .fields
            .iter()
            .map(|(name, field)| format!(" {name}={}", field.shown()))
            .collect();
        format!("{}{}   | {}", self.kind, fields.concat(), hex(&self.bytes))
    }
}

/// At most 60 bytes.
pub fn hex(bytes: &[u8]) -> String {
    let mut shown: Vec<String> = bytes.iter().take(60).map(|b| format!("{b:02x}")).collect();
    if bytes.len() > 60 {
        shown.push(format!("… ({} bytes)", bytes.len()));
    }
    shown.join(" ")
}

/// The first packet in a buffer; none if it is incomplete.
pub fn first(buffer: &[u8], version: Version) -> Result<Option<Packet>, String> {
    let mut length = 0;
    let mut head = 1;
    loop {
        let Some(&byte) = buffer.get(head) else {
            return Ok(None);
        };
        length |= usize::from(byte & 0x7F) << (7 * (head - 1));
        head += 1;
        if byte & 0x80 == 0 {
            break;
        }
        if head > 4 {
            return Err("a remaining length of five bytes".to_owned());
        }
    }
    if head > 2 && length < 1 << (7 * (head - 2)) {
        return Err("a remaining length of more bytes than it needs".to_owned());
    }
    let Some(body) = buffer.get(head..head + length) else {
        return Ok(None);
    };
    let mut body = Reader {
        kind: "",
        left: body,
        v5: version == Version::V5,
        fields: Vec::new(),
    };
    let kind = body.packet(buffer[0])?;
    if !body.left.is_empty() {
        return Err(format!("{} bytes too many in {kind}", body.left.len()));
    }
    Ok(Some(Packet {
        kind,
        fields: body.fields,
        bytes: buffer[..head + length].to_vec(),
    }))
}

/// The codes that a server may send: the packet, whether the version is 5.0, and the codes.
const CODES: [(&str, bool, &[u8]); 11] = [
    ("connack", false, &[0, 1, 2, 3, 4, 5]),
    ("suback", false, &[0, 1, 2, 0x80]),
    (
        "connack",
        true,
        &[
            0, 0x80, 0x81, 0x82, 0x83, 0x84, 0x85, 0x86, 0x87, 0x88, 0x89, 0x8A, 0x8C, 0x90, 0x95,
            0x97, 0x99, 0x9A, 0x9B, 0x9C, 0x9D, 0x9F,
        ],
    ),
    ("puback", true, PUBLISHED),
    ("pubrec", true, PUBLISHED),
    ("pubrel", true, &[0, 0x92]),
    ("pubcomp", true, &[0, 0x92]),
    (
        "suback",
        true,
        &[
            0, 1, 2, 0x80, 0x83, 0x87, 0x8F, 0x91, 0x97, 0x9E, 0xA1, 0xA2,
        ],
    ),
    ("unsuback", true, &[0, 0x11, 0x80, 0x83, 0x87, 0x8F, 0x91]),
    (
        "disconnect",
        true,
        &[
            0, 0x80, 0x81, 0x82, 0x83, 0x87, 0x89, 0x8B, 0x8D, 0x8E, 0x8F, 0x90, 0x93, 0x94, 0x95,
            0x96, 0x97, 0x98, 0x99, 0x9A, 0x9B, 0x9C, 0x9D, 0x9E, 0x9F, 0xA0, 0xA1, 0xA2,
        ],
    ),
    ("auth", true, &[0, 0x18]),
];

const PUBLISHED: &[u8] = &[0, 0x10, 0x80, 0x83, 0x87, 0x90, 0x91, 0x97, 0x99];

struct Reader<'a> {
    kind: &'static str,
    left: &'a [u8],
    v5: bool,
    fields: Vec<(&'static str, Field)>,
}

impl<'a> Reader<'a> {
    fn packet(&mut self, first: u8) -> Result<&'static str, String> {
        let flags = first & 0x0F;
        let right = match first >> 4 {
            3 => flags,
            6 => 2,
            _ => 0,
        };
        if flags != right {
            return Err(format!("reserved flags in {first:#04x}"));
        }
        let kind = match first >> 4 {
            2 => "connack",
            3 => "publish",
            4 => "puback",
            5 => "pubrec",
            6 => "pubrel",
            7 => "pubcomp",
            9 => "suback",
            11 => "unsuback",
            13 => "pingresp",
            14 if self.v5 => "disconnect",
            15 if self.v5 => "auth",
            other => return Err(format!("a packet of type {other}")),
        };
        self.kind = kind;
        match kind {
            "connack" => {
                let acknowledge = self.number(1)?;
                if acknowledge > 1 {
                    return Err("reserved acknowledge flags [MQTT-3.2.2-1]".to_owned());
                }
                self.put("present", acknowledge);
                self.code()?;
                self.properties("C")?;
            }
            "publish" => self.publish(flags)?,
            "puback" | "pubrec" | "pubrel" | "pubcomp" => {
                self.id()?;
                self.short_code("A")?;
            }
            "suback" | "unsuback" => {
                self.id()?;
                self.properties("A")?;
                while !self.left.is_empty() {
                    self.code()?;
                }
            }
            "pingresp" => {}
            "disconnect" => self.short_code("D")?,
            _ => self.short_code("U")?,
        }
        Ok(kind)
    }

    fn publish(&mut self, flags: u8) -> Result<(), String> {
        let qos = flags >> 1 & 3;
        self.put("dup", u64::from(flags >> 3));
        self.put("qos", u64::from(qos));
        self.put("retain", u64::from(flags & 1));
        if qos == 3 {
            return Err("a PUBLISH of QoS 3".to_owned());
        }
        let topic = self.text()?;
        self.fields.push(("topic", Field::Bytes(topic)));
        if qos > 0 {
            self.id()?;
        }
        self.properties("P")?;
        let payload = std::mem::take(&mut self.left).to_vec();
        self.fields.push(("payload", Field::Bytes(payload)));
        Ok(())
    }

    fn put(&mut self, name: &'static str, n: u64) {
        self.fields.push((name, Field::Number(n)));
    }

    fn id(&mut self) -> Result<(), String> {
        let id = self.number(2)?;
        self.put("id", id);
        if id == 0 {
            return Err("a packet id of 0".to_owned());
        }
        Ok(())
    }

    fn code(&mut self) -> Result<(), String> {
        let code = self.number(1)?;
        self.put("code", code);
        let legal = CODES
            .iter()
            .filter(|(kind, v5, _)| *kind == self.kind && *v5 == self.v5)
            .any(|(_, _, codes)| codes.iter().any(|c| u64::from(*c) == code));
        if legal {
            Ok(())
        } else {
            Err(format!("{} has no code {code:#04x}", self.kind))
        }
    }

    /// A reason code and properties. Either may be absent if nothing follows.
    fn short_code(&mut self, place: &str) -> Result<(), String> {
        if self.left.is_empty() {
            self.put("code", 0);
            return Ok(());
        }
        if !self.v5 {
            return Ok(()); // Remaining bytes are reported.
        }
        self.code()?;
        if self.left.is_empty() {
            return Ok(());
        }
        self.properties(place)
    }

    fn properties(&mut self, place: &str) -> Result<(), String> {
        if !self.v5 {
            return Ok(());
        }
        let length = usize::try_from(self.varint()?).unwrap();
        let bytes = self.take(length)?;
        let after = std::mem::replace(&mut self.left, bytes);
        while !self.left.is_empty() {
            let id = self.number(1)?;
            let Some(property) = PROPERTIES.iter().find(|p| u64::from(p.id) == id) else {
                return Err(format!("the unknown property {id:#04x}"));
            };
            let name = property.name;
            if !property.places.contains(place) {
                return Err(format!("{name} in a packet where it may not be"));
            }
            let again = self.fields.iter().any(|(n, _)| *n == name);
            if again && name != "user" && name != "subscription-id" {
                return Err(format!("{name} twice"));
            }
            let value = match property.is {
                Type::Byte => Field::Number(self.number(1)?),
                Type::Two => Field::Number(self.number(2)?),
                Type::Four => Field::Number(self.number(4)?),
                Type::Varint => Field::Number(self.varint()?),
                Type::Text => Field::Bytes(self.text()?),
                Type::Binary => Field::Bytes(self.binary()?),
                Type::Pair => Field::Bytes([self.text()?, self.text()?].join(&b'=')),
            };
            self.fields.push((name, value));
        }
        self.left = after;
        Ok(())
    }

    fn take(&mut self, count: usize) -> Result<&'a [u8], String> {
        let Some((front, rest)) = self.left.split_at_checked(count) else {
            return Err(format!("{} bytes too few", count - self.left.len()));
        };
        self.left = rest;
        Ok(front)
    }

    fn number(&mut self, width: usize) -> Result<u64, String> {
        let bytes = self.take(width)?;
        Ok(bytes.iter().fold(0, |n, byte| n << 8 | u64::from(*byte)))
    }

    fn varint(&mut self) -> Result<u64, String> {
        let mut value = 0;
        for place in 0..4 {
            let byte = self.number(1)?;
            value |= (byte & 0x7F) << (7 * place);
            if byte & 0x80 == 0 {
                if place > 0 && byte == 0 {
                    return Err("an integer of more bytes than it needs [MQTT-1.5.5-1]".to_owned());
                }
                return Ok(value);
            }
        }
        Err("an integer of five bytes".to_owned())
    }

    fn binary(&mut self) -> Result<Vec<u8>, String> {
        let length = usize::try_from(self.number(2)?).unwrap();
        Ok(self.take(length)?.to_vec())
    }

    fn text(&mut self) -> Result<Vec<u8>, String> {
        let bytes = self.binary()?;
        match std::str::from_utf8(&bytes) {
            Ok(text) if !text.contains('\0') => Ok(bytes),
            _ => Err(format!("no text: {}", hex(&bytes))),
        }
    }
}
