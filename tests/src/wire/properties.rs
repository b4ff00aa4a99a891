//! Properties of 5.0 (2.2.2).

use super::bytes::{Reader, put_string, put_varint};

/// Identifiers of properties, by the standard's names (2.2.2.2).
#[allow(missing_docs)] // the names are the standard's own
pub mod property {
    pub const MESSAGE_EXPIRY: u8 = 0x02;
    pub const CONTENT_TYPE: u8 = 0x03;
    pub const RESPONSE_TOPIC: u8 = 0x08;
    pub const CORRELATION_DATA: u8 = 0x09;
    pub const SUBSCRIPTION_IDENTIFIER: u8 = 0x0B;
    pub const SESSION_EXPIRY: u8 = 0x11;
    pub const ASSIGNED_CLIENT_ID: u8 = 0x12;
    pub const SERVER_KEEP_ALIVE: u8 = 0x13;
    pub const AUTHENTICATION_METHOD: u8 = 0x15;
    pub const AUTHENTICATION_DATA: u8 = 0x16;
    pub const REQUEST_PROBLEM_INFORMATION: u8 = 0x17;
    pub const WILL_DELAY: u8 = 0x18;
    pub const REQUEST_RESPONSE_INFORMATION: u8 = 0x19;
    pub const RESPONSE_INFORMATION: u8 = 0x1A;
    pub const REASON_STRING: u8 = 0x1F;
    pub const RECEIVE_MAXIMUM: u8 = 0x21;
    pub const TOPIC_ALIAS_MAXIMUM: u8 = 0x22;
    pub const TOPIC_ALIAS: u8 = 0x23;
    pub const MAXIMUM_QOS: u8 = 0x24;
    pub const USER: u8 = 0x26;
    pub const MAXIMUM_PACKET_SIZE: u8 = 0x27;
    pub const PAYLOAD_FORMAT: u8 = 0x01;
}

/// The value of one property.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    /// One byte.
    Byte(u8),
    /// Two bytes.
    Two(u16),
    /// Four bytes.
    Four(u32),
    /// A variable byte integer.
    Varint(usize),
    /// A string.
    Text(String),
    /// Binary data.
    Binary(Vec<u8>),
    /// A pair of strings.
    Pair(String, String),
}

/// Properties in the order of the wire.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Properties(pub Vec<(u8, Value)>);

impl Properties {
    /// The value of the user property `name`, which must not occur twice.
    pub fn user(&self, name: &str) -> Option<&str> {
        let mut found = self.0.iter().filter_map(|(_, value)| match value {
            Value::Pair(n, v) if n == name => Some(v.as_str()),
            _ => None,
        });
        let first = found.next();
        assert_eq!(
            found.next(),
            None,
            "user property {name} stands there twice"
        );
        first
    }

    /// A property that is a string.
    pub fn text(&self, id: u8) -> Option<&str> {
        self.0.iter().find_map(|(i, value)| match value {
            Value::Text(text) if *i == id => Some(text.as_str()),
            _ => None,
        })
    }

    /// A property that is binary data.
    pub fn binary(&self, id: u8) -> Option<&[u8]> {
        self.0.iter().find_map(|(i, value)| match value {
            Value::Binary(bytes) if *i == id => Some(bytes.as_slice()),
            _ => None,
        })
    }

    /// A property that is a number, of any width.
    pub fn number(&self, id: u8) -> Option<usize> {
        self.numbers(id).first().copied()
    }

    /// All properties of this id that are numbers.
    pub fn numbers(&self, id: u8) -> Vec<usize> {
        let number = |value: &Value| match value {
            Value::Byte(n) => Some(usize::from(*n)),
            Value::Two(n) => Some(usize::from(*n)),
            Value::Four(n) => usize::try_from(*n).ok(),
            Value::Varint(n) => Some(*n),
            _ => None,
        };
        self.0
            .iter()
            .filter(|(i, _)| *i == id)
            .filter_map(|(_, value)| number(value))
            .collect()
    }

    /// The reason string.
    pub fn reason(&self) -> &str {
        self.text(property::REASON_STRING).unwrap_or_default()
    }

    pub(super) fn put(&self, out: &mut Vec<u8>) {
        let mut body = Vec::new();
        for (id, value) in &self.0 {
            body.push(*id);
            match value {
                Value::Byte(n) => body.push(*n),
                Value::Two(n) => body.extend(n.to_be_bytes()),
                Value::Four(n) => body.extend(n.to_be_bytes()),
                Value::Varint(n) => put_varint(&mut body, *n),
                Value::Text(text) => put_string(&mut body, text),
                Value::Binary(bytes) => put_string(&mut body, bytes),
                Value::Pair(name, value) => {
                    put_string(&mut body, name);
                    put_string(&mut body, value);
                }
            }
        }
        put_varint(out, body.len());
        out.extend(body);
    }

    /// Parses the length and the properties. Panics if the server's bytes are invalid.
    pub(super) fn take(from: &mut Reader<'_>) -> Properties {
        let length = from.varint();
        let mut body = Reader(from.take(length));
        let mut all = Vec::new();
        while !body.0.is_empty() {
            let id = body.u8();
            let value = match id {
                0x01 | 0x17 | 0x19 | 0x24 | 0x25 | 0x28 | 0x29 | 0x2A => Value::Byte(body.u8()),
                0x13 | 0x21 | 0x22 | 0x23 => Value::Two(body.u16()),
                0x02 | 0x11 | 0x18 | 0x27 => Value::Four(body.u32()),
                0x0B => Value::Varint(body.varint()),
                0x03 | 0x08 | 0x12 | 0x15 | 0x1A | 0x1C | 0x1F => Value::Text(body.string()),
                0x09 | 0x16 => Value::Binary(body.binary()),
                0x26 => Value::Pair(body.string(), body.string()),
                _ => panic!("the server sent the unknown property {id:#04x}"),
            };
            all.push((id, value));
        }
        Properties(all)
    }
}
