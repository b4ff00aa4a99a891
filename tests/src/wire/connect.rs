//! CONNECT, and the way to a connected client.

use super::bytes::{frame, put_string};
use super::client::Client;
use super::stream::Stream;
use super::{Message, Packet, Properties, Value, Version, property};
use std::net::SocketAddr;

/// CONNECT
#[derive(Debug, Clone)]
pub struct Connect {
    /// The version.
    pub version: Version,
    /// Client id; may be empty.
    pub client_id: String,
    /// Clean Session or Clean Start.
    pub clean: bool,
    /// Seconds; 0: never.
    pub keep_alive: u16,
    /// Will message. A delay is one of its properties.
    pub will: Option<Message>,
    /// User name.
    pub user_name: Option<String>,
    /// Password.
    pub password: Option<String>,
    /// Properties (5.0).
    pub properties: Properties,
}

impl Connect {
    /// A clean session without credentials and without a keep-alive.
    pub fn new(version: Version, client_id: &str) -> Connect {
        Connect {
            version,
            client_id: client_id.to_owned(),
            clean: true,
            keep_alive: 0,
            will: None,
            user_name: None,
            password: None,
            properties: Properties::default(),
        }
    }

    /// The same, for 3.1.1.
    pub fn v311(client_id: &str) -> Connect {
        Connect::new(Version::V311, client_id)
    }

    /// The same, for 5.0.
    pub fn v5(client_id: &str) -> Connect {
        Connect::new(Version::V5, client_id)
    }

    /// With or without Clean Session.
    #[must_use]
    pub fn clean(self, clean: bool) -> Connect {
        Connect { clean, ..self }
    }

    /// With a keep-alive in seconds.
    #[must_use]
    pub fn keep_alive(self, keep_alive: u16) -> Connect {
        Connect { keep_alive, ..self }
    }

    /// With credentials.
    #[must_use]
    pub fn user(self, name: &str, password: &str) -> Connect {
        Connect {
            user_name: Some(name.to_owned()),
            password: Some(password.to_owned()),
            ..self
        }
    }

    /// With a last will.
    #[must_use]
    pub fn will(self, will: Message) -> Connect {
        Connect {
            will: Some(will),
            ..self
        }
    }

    /// With a property (5.0).
    #[must_use]
    pub fn property(mut self, id: u8, value: Value) -> Connect {
        self.properties.0.push((id, value));
        self
    }

    /// With a receive maximum (5.0).
    #[must_use]
    pub fn receive_maximum(self, messages: u16) -> Connect {
        self.property(property::RECEIVE_MAXIMUM, Value::Two(messages))
    }

    /// As bytes.
    pub fn bytes(&self) -> Vec<u8> {
        let mut body = Vec::new();
        let (name, level) = match self.version {
            Version::V31 => ("MQIsdp", 3),
            Version::V311 => ("MQTT", 4),
            Version::V5 => ("MQTT", 5),
        };
        put_string(&mut body, name);
        body.push(level);
        let mut flags = u8::from(self.clean) << 1;
        if let Some(message) = &self.will {
            flags |= 0x04 | message.qos << 3 | u8::from(message.retain) << 5;
        }
        flags |= u8::from(self.password.is_some()) << 6;
        flags |= u8::from(self.user_name.is_some()) << 7;
        body.push(flags);
        body.extend(self.keep_alive.to_be_bytes());
        if self.version == Version::V5 {
            self.properties.put(&mut body);
        }
        put_string(&mut body, &self.client_id);
        if let Some(message) = &self.will {
            if self.version == Version::V5 {
                message.properties.put(&mut body);
            }
            put_string(&mut body, &message.topic);
            put_string(&mut body, &message.payload);
        }
        for field in [&self.user_name, &self.password].into_iter().flatten() {
            put_string(&mut body, field);
        }
        frame(0x10, &body)
    }

    /// Connects; the server must accept.
    pub fn to(&self, server: SocketAddr) -> Client {
        let (client, connack) = self.attempt(server);
        match connack {
            Packet::ConnAck { code: 0, .. } => client,
            other => panic!("{} was refused: {other:?}", self.client_id),
        }
    }

    /// Connects. Returns the client and the server's answer.
    pub fn attempt(&self, server: SocketAddr) -> (Client, Packet) {
        let mut client = Client::open(server, self.version);
        client.send(&self.bytes());
        let connack = client.packet();
        (client, connack)
    }

    /// Connects over an open stream; the server must accept.
    pub fn over(&self, stream: Box<dyn Stream>) -> Client {
        let (client, connack) = self.attempt_over(stream);
        match connack {
            Packet::ConnAck { code: 0, .. } => client,
            other => panic!("{} was refused: {other:?}", self.client_id),
        }
    }

    /// Connects over an open stream. Returns the client and the server's answer.
    pub fn attempt_over(&self, stream: Box<dyn Stream>) -> (Client, Packet) {
        let mut client = Client::on(stream, self.version);
        client.send(&self.bytes());
        let connack = client.packet();
        (client, connack)
    }

    /// Connects; the server must refuse by a CONNACK with this code, and then close.
    pub fn refused(&self, server: SocketAddr, expected: u8) -> Properties {
        let (mut client, connack) = self.attempt(server);
        let Packet::ConnAck {
            session_present,
            code,
            properties,
        } = connack
        else {
            panic!("not a CONNACK: {connack:?}");
        };
        assert_eq!(code, expected, "refused {self:?} with {properties:?}");
        // [MQTT-3.2.2-4], [MQTT-3.2.2-6]
        assert!(!session_present, "a refusal has no session present");
        assert_eq!(client.closed(), None, "nothing after a refusal");
        properties
    }
}
