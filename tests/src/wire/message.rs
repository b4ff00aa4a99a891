//! PUBLISH and SUBSCRIBE.

use super::bytes::{frame, put_string};
use super::{Properties, Value, Version, property};
use serde_json::Value as Json;

/// An application message, to be sent or as received.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Message {
    /// The DUP flag.
    pub dup: bool,
    /// 0, 1 or 2.
    pub qos: u8,
    /// The RETAIN flag.
    pub retain: bool,
    /// The topic.
    pub topic: String,
    /// Packet id; 0 with QoS 0.
    pub id: u16,
    /// Properties (5.0).
    pub properties: Properties,
    /// The payload.
    pub payload: Vec<u8>,
}

impl Message {
    /// A message of QoS 0.
    pub fn new(topic: &str, payload: impl AsRef<[u8]>) -> Message {
        Message {
            topic: topic.to_owned(),
            payload: payload.as_ref().to_vec(),
            ..Message::default()
        }
    }

    /// With this QoS.
    #[must_use]
    pub fn qos(self, qos: u8) -> Message {
        Message { qos, ..self }
    }

    /// With the RETAIN flag.
    #[must_use]
    pub fn retained(self) -> Message {
        Message {
            retain: true,
            ..self
        }
    }

    /// With a property.
    #[must_use]
    pub fn property(mut self, id: u8, value: Value) -> Message {
        self.properties.0.push((id, value));
        self
    }

    /// With a user property.
    #[must_use]
    pub fn user(self, name: &str, value: &str) -> Message {
        self.property(
            property::USER,
            Value::Pair(name.to_owned(), value.to_owned()),
        )
    }

    /// The payload as text.
    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.payload).expect("the payload is UTF-8")
    }

    /// The payload as JSON.
    pub fn json(&self) -> Json {
        serde_json::from_slice(&self.payload)
            .unwrap_or_else(|e| panic!("{}: {:?} is no JSON: {e}", self.topic, self.payload))
    }

    /// A field of the JSON payload as text; empty where it is absent or no text.
    pub fn field(&self, name: &str) -> String {
        self.json()[name].as_str().unwrap_or_default().to_owned()
    }

    /// As PUBLISH.
    pub fn bytes(&self, version: Version) -> Vec<u8> {
        let mut body = Vec::new();
        put_string(&mut body, &self.topic);
        if self.qos > 0 {
            body.extend(self.id.to_be_bytes());
        }
        if version == Version::V5 {
            self.properties.put(&mut body);
        }
        body.extend(&self.payload);
        let flags = u8::from(self.dup) << 3 | self.qos << 1 | u8::from(self.retain);
        frame(0x30 | flags, &body)
    }
}

/// SUBSCRIBE
#[derive(Debug, Clone, Default)]
pub struct Subscribe {
    filters: Vec<(String, u8)>,
    properties: Properties,
}

impl Subscribe {
    /// One filter with its options byte (3.8.3.1): the QoS, 4 no-local, 8 retain-as-published, 16 and 32
    /// retain handling.
    pub fn to(filter: &str, options: u8) -> Subscribe {
        Subscribe::default().and(filter, options)
    }

    /// One filter more.
    #[must_use]
    pub fn and(mut self, filter: &str, options: u8) -> Subscribe {
        self.filters.push((filter.to_owned(), options));
        self
    }

    /// With a subscription identifier (5.0).
    #[must_use]
    pub fn identifier(self, identifier: usize) -> Subscribe {
        self.property(property::SUBSCRIPTION_IDENTIFIER, Value::Varint(identifier))
    }

    /// With a property (5.0).
    #[must_use]
    pub fn property(mut self, id: u8, value: Value) -> Subscribe {
        self.properties.0.push((id, value));
        self
    }

    /// As SUBSCRIBE.
    pub fn bytes(&self, id: u16, version: Version) -> Vec<u8> {
        let mut body = id.to_be_bytes().to_vec();
        if version == Version::V5 {
            self.properties.put(&mut body);
        }
        for (filter, options) in &self.filters {
            put_string(&mut body, filter);
            body.push(*options);
        }
        frame(0x82, &body)
    }
}
