//! The fields of packets: their values, and the properties of 5.0 by their names in rows.

use crate::word::Variable;

/// The type of a property (5.0 2.2.2.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Type {
    Byte,
    Two,
    Four,
    Varint,
    Text,
    Binary,
    Pair,
}

/// A property.
#[derive(Debug)]
pub struct Property {
    pub name: &'static str,
    pub id: u8,
    pub is: Type,
    /// The server's packets that may have it: C CONNACK, P PUBLISH, A acknowledgements, D DISCONNECT, U AUTH.
    pub places: &'static str,
}

const fn property(name: &'static str, id: u8, is: Type, places: &'static str) -> Property {
    Property {
        name,
        id,
        is,
        places,
    }
}

/// All properties, from the standard's table.
pub const PROPERTIES: [Property; 27] = [
    property("format", 0x01, Type::Byte, "P"),
    property("message-expiry", 0x02, Type::Four, "P"),
    property("content-type", 0x03, Type::Text, "P"),
    property("response-topic", 0x08, Type::Text, "P"),
    property("correlation", 0x09, Type::Binary, "P"),
    property("subscription-id", 0x0B, Type::Varint, "P"),
    property("session-expiry", 0x11, Type::Four, "C"),
    property("assigned-id", 0x12, Type::Text, "C"),
    property("server-keepalive", 0x13, Type::Two, "C"),
    property("auth-method", 0x15, Type::Text, "CU"),
    property("auth-data", 0x16, Type::Binary, "CU"),
    property("request-problem", 0x17, Type::Byte, ""),
    property("will-delay", 0x18, Type::Four, ""),
    property("request-response", 0x19, Type::Byte, ""),
    property("response-information", 0x1A, Type::Text, "C"),
    property("server-reference", 0x1C, Type::Text, "CD"),
    property("reason", 0x1F, Type::Text, "CADU"),
    property("receive-max", 0x21, Type::Two, "C"),
    property("alias-max", 0x22, Type::Two, "C"),
    property("alias", 0x23, Type::Two, "P"),
    property("max-qos", 0x24, Type::Byte, "C"),
    property("retain-available", 0x25, Type::Byte, "C"),
    property("user", 0x26, Type::Pair, "CPADU"),
    property("max-packet", 0x27, Type::Four, "C"),
    property("wildcard-available", 0x28, Type::Byte, "C"),
    property("subscription-id-available", 0x29, Type::Byte, "C"),
    property("shared-available", 0x2A, Type::Byte, "C"),
];

pub fn property_named(name: &str) -> Option<&'static Property> {
    PROPERTIES.iter().find(|property| property.name == name)
}

/// The value of a field. A user property is `name=value`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Field {
    Number(u64),
    Bytes(Vec<u8>),
}

impl Field {
    pub fn shown(&self) -> String {
        match self {
            Field::Number(n) => n.to_string(),
            Field::Bytes(bytes) if bytes.len() > 100 => {
                let front = bytes[..40].escape_ascii();
                format!("\"{front}…\" ({} bytes)", bytes.len())
            }
            Field::Bytes(bytes) => match std::str::from_utf8(bytes) {
                Ok(text) => format!("{text:?}"),
                Err(_) => format!("\"{}\"", bytes.escape_ascii()),
            },
        }
    }

    pub fn variable(&self) -> Variable {
        match self {
            Field::Number(n) => Variable::Number(*n),
            Field::Bytes(bytes) => Variable::Bytes(bytes.clone()),
        }
    }
}
