//! A PUBLISH as the client reads it. By hand: the library refuses a message that has no time left (see decision 1), and knows
//! nothing of what an alias stands for.

use roommq_mqtt::packet::{PacketId, Version};
use std::collections::BTreeMap;

/// What came.
#[derive(Debug)]
pub(super) struct Published {
    pub dup: bool,
    pub retain: bool,
    pub qos: u8,
    pub topic: String,
    pub id: Option<PacketId>,
    pub expiry: Option<u32>,
    pub payload: Vec<u8>,
    /// Where it ends in the stream of its connection.
    pub end: usize,
    /// Bytes on the wire.
    pub length: usize,
}

/// Topics by their numbers, of one connection.
pub(super) struct Aliases {
    pub most: u16,
    topics: BTreeMap<u16, String>,
}

impl Aliases {
    pub(super) fn new(most: u16) -> Self {
        Aliases {
            most,
            topics: BTreeMap::new(),
        }
    }

    /// What number and topic mean together (3.3.2.3.4).
    fn topic(&mut self, topic: String, alias: Option<u16>) -> String {
        let Some(alias) = alias else {
            assert!(!topic.is_empty(), "neither a topic nor an alias");
            return topic;
        };
        assert!(
            (1..=self.most).contains(&alias),
            "alias {alias} of {} [MQTT-3.1.2-26]",
            self.most
        );
        if topic.is_empty() {
            let known = self.topics.get(&alias);
            return known
                .unwrap_or_else(|| panic!("alias {alias} stands for nothing"))
                .clone();
        }
        self.topics.insert(alias, topic.clone());
        topic
    }
}

/// What is left of a packet.
struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    fn take(&mut self, bytes: usize) -> &'a [u8] {
        let (taken, rest) = self
            .0
            .split_at_checked(bytes)
            .unwrap_or_else(|| panic!("cut off"));
        self.0 = rest;
        taken
    }

    fn number(&mut self, bytes: usize) -> u32 {
        self.take(bytes)
            .iter()
            .fold(0, |n, byte| n << 8 | u32::from(*byte))
    }

    fn short(&mut self) -> u16 {
        u16::try_from(self.number(2)).unwrap_or_default()
    }

    fn variable(&mut self) -> usize {
        let (mut value, mut scale) = (0, 1);
        loop {
            let byte = self.take(1)[0];
            value += usize::from(byte % 128) * scale;
            scale *= 128;
            if byte < 128 {
                return value;
            }
        }
    }
}

/// Reads one whole PUBLISH, which `end`s there in the stream.
pub(super) fn read(version: Version, bytes: &[u8], end: usize, aliases: &mut Aliases) -> Published {
    let flags = bytes[0] & 0x0F;
    let mut fields = Fields(&bytes[1..]);
    let remaining = fields.variable();
    assert_eq!(remaining, fields.0.len(), "the length that it says");
    let length = fields.number(2);
    let topic = String::from_utf8_lossy(fields.take(length as usize)).into_owned();
    let qos = flags >> 1 & 3;
    let id = (qos > 0).then(|| PacketId::new(fields.short()));
    assert_ne!(id, Some(None), "packet id 0");
    let (mut alias, mut expiry) = (None, None);
    if version == Version::V5 {
        let length = fields.variable();
        let mut properties = Fields(fields.take(length));
        while !properties.0.is_empty() {
            match properties.take(1)[0] {
                0x02 => expiry = Some(properties.number(4)),
                0x23 => alias = Some(properties.short()),
                other => panic!("property {other:#x}, which no lane set"),
            }
        }
    }
    Published {
        dup: flags & 8 > 0,
        retain: flags & 1 > 0,
        qos,
        topic: aliases.topic(topic, alias),
        id: id.flatten(),
        expiry,
        payload: fields.0.to_vec(),
        end,
        length: bytes.len(),
    }
}
