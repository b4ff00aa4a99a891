//! One connection.

use super::bytes::{frame, put_string};
use super::stream::Stream;
use super::{Message, Packet, Properties, Subscribe, Version};
use crate::PATIENCE;
use std::collections::VecDeque;
use std::io::ErrorKind;
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

/// The reason that no packet came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Missing {
    /// The server closed the connection.
    Closed,
    /// The deadline passed.
    Late,
}

/// A connection to a server.
#[derive(Debug)]
pub struct Client {
    stream: Box<dyn Stream>,
    version: Version,
    buffer: Vec<u8>,
    // Packets that were read while the test waited for another. They precede those on the wire.
    waiting: VecDeque<Packet>,
    last_id: u16,
}

impl Client {
    /// Opens a socket and sends nothing.
    pub fn open(server: SocketAddr, version: Version) -> Client {
        let socket = TcpStream::connect(server).expect("the server accepts");
        socket.set_nodelay(true).expect("an open socket");
        socket
            .set_write_timeout(Some(PATIENCE))
            .expect("an open socket");
        Client::on(Box::new(socket), version)
    }

    /// On an open stream, of whatever kind.
    pub fn on(stream: Box<dyn Stream>, version: Version) -> Client {
        Client {
            stream,
            version,
            buffer: Vec::new(),
            waiting: VecDeque::new(),
            last_id: 0,
        }
    }

    /// Sends these bytes.
    pub fn send(&mut self, bytes: &[u8]) {
        self.try_send(bytes).expect("the server reads");
    }

    /// Sends these bytes. The server may have closed.
    pub fn try_send(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        self.stream.write_all(bytes)?;
        self.stream.flush()
    }

    /// The next packet id: from 1 up, and from 1 again when all have been used.
    pub fn packet_id(&mut self) -> u16 {
        self.last_id = self.last_id.checked_add(1).unwrap_or(1);
        self.last_id
    }

    /// The next packet, or the reason that none came within `time`.
    pub fn poll(&mut self, time: Duration) -> Result<Packet, Missing> {
        match self.waiting.pop_front() {
            Some(packet) => Ok(packet),
            None => self.receive(Instant::now() + time),
        }
    }

    fn receive(&mut self, deadline: Instant) -> Result<Packet, Missing> {
        let mut chunk = [0; 16_384];
        loop {
            if let Some((packet, length)) = Packet::parse(&self.buffer, self.version) {
                self.buffer.drain(..length);
                return Ok(packet);
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(Missing::Late);
            }
            self.stream.wait_for(left);
            match self.stream.read(&mut chunk) {
                Ok(0) => return Err(Missing::Closed),
                Ok(count) => self.buffer.extend(&chunk[..count]),
                Err(e) => match e.kind() {
                    ErrorKind::WouldBlock | ErrorKind::TimedOut => return Err(Missing::Late),
                    ErrorKind::Interrupted => {}
                    _ => return Err(Missing::Closed),
                },
            }
        }
    }

    /// The next packet.
    pub fn packet(&mut self) -> Packet {
        match self.poll(PATIENCE) {
            Ok(packet) => packet,
            Err(why) => panic!("no packet: {why:?}"),
        }
    }

    /// Waits for a packet that `wanted` accepts. Packets before it are stored in order.
    fn pick<T>(&mut self, what: &str, wanted: impl Fn(&Packet) -> Option<T>) -> T {
        if let Some((at, found)) = self
            .waiting
            .iter()
            .enumerate()
            .find_map(|(at, packet)| Some((at, wanted(packet)?)))
        {
            self.waiting.remove(at);
            return found;
        }
        let deadline = Instant::now() + PATIENCE;
        loop {
            match self.receive(deadline) {
                Ok(packet) => match wanted(&packet) {
                    Some(found) => return found,
                    None => self.waiting.push_back(packet),
                },
                Err(why) => panic!("no {what}: {why:?}; there came {:?}", self.waiting),
            }
        }
    }

    /// All bytes until the server closes, unparsed.
    pub fn raw_until_closed(&mut self) -> Vec<u8> {
        let mut all = std::mem::take(&mut self.buffer);
        self.stream.wait_for(PATIENCE);
        match self.stream.read_to_end(&mut all) {
            Err(e) if e.kind() != ErrorKind::ConnectionReset => panic!("not closed: {e}"),
            _ => all,
        }
    }

    /// The server must close. Returns the code of its DISCONNECT (5.0), if it sent one. Messages before it are
    /// skipped.
    pub fn closed(&mut self) -> Option<u8> {
        self.closed_within(PATIENCE)
    }

    /// The same within a time.
    pub fn closed_within(&mut self, time: Duration) -> Option<u8> {
        let deadline = Instant::now() + time;
        let mut disconnect = None;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            match self.poll(left) {
                Ok(Packet::Disconnect { code, .. }) => disconnect = Some(code),
                Ok(Packet::Publish(_)) if disconnect.is_none() => {}
                Ok(other) => panic!("instead of a close came {other:?}"),
                Err(Missing::Closed) => return disconnect,
                Err(Missing::Late) => panic!("not closed within {time:?}"),
            }
        }
    }

    /// Subscribes to one filter; the code of the SUBACK.
    pub fn subscribe(&mut self, filter: &str, qos: u8) -> u8 {
        let (codes, _) = self.subscribe_with(&Subscribe::to(filter, qos));
        assert_eq!(codes.len(), 1, "one code for one filter");
        codes[0]
    }

    /// Sends a SUBSCRIBE without waiting. Returns its packet id.
    pub fn start_subscribe(&mut self, filter: &str, qos: u8) -> u16 {
        let id = self.packet_id();
        let bytes = Subscribe::to(filter, qos).bytes(id, self.version);
        self.send(&bytes);
        id
    }

    /// Subscribes. Returns the codes and properties of the SUBACK. Packets before it can still be read.
    pub fn subscribe_with(&mut self, subscribe: &Subscribe) -> (Vec<u8>, Properties) {
        let id = self.packet_id();
        let bytes = subscribe.bytes(id, self.version);
        self.send(&bytes);
        self.pick("SUBACK", |packet| match packet {
            Packet::SubAck {
                id: answered,
                codes,
                properties,
            } if *answered == id => Some((codes.clone(), properties.clone())),
            _ => None,
        })
    }

    /// Unsubscribes from one filter; the codes of the UNSUBACK (5.0).
    pub fn unsubscribe(&mut self, filter: &str) -> Vec<u8> {
        let id = self.packet_id();
        let mut body = id.to_be_bytes().to_vec();
        if self.version == Version::V5 {
            body.push(0);
        }
        put_string(&mut body, filter);
        self.send(&frame(0xA2, &body));
        self.pick("UNSUBACK", |packet| match packet {
            Packet::UnsubAck {
                id: answered,
                codes,
                ..
            } if *answered == id => Some(codes.clone()),
            _ => None,
        })
    }

    /// Publishes. With QoS 1 and 2, returns the code and properties of the PUBACK or PUBREC. With QoS 2, continues
    /// to the PUBCOMP.
    pub fn publish(&mut self, message: &Message) -> (u8, Properties) {
        let id = self.start_publish(message);
        match message.qos {
            0 => (0, Properties::default()),
            1 => self.puback(id),
            _ => {
                let answer = self.pubrec(id);
                if answer.0 < 0x80 {
                    self.send(&frame(0x62, &id.to_be_bytes()));
                    self.pick("PUBCOMP", |packet| match packet {
                        Packet::PubComp {
                            id: done, code: 0, ..
                        } if *done == id => Some(()),
                        _ => None,
                    });
                }
                answer
            }
        }
    }

    /// Sends a PUBLISH without waiting. Returns its packet id.
    pub fn start_publish(&mut self, message: &Message) -> u16 {
        let id = if message.qos == 0 {
            0
        } else {
            self.packet_id()
        };
        let message = Message {
            id,
            ..message.clone()
        };
        let bytes = message.bytes(self.version);
        self.send(&bytes);
        id
    }

    /// Waits for the PUBACK of this packet id.
    pub fn puback(&mut self, id: u16) -> (u8, Properties) {
        self.pick("PUBACK", |packet| match packet {
            Packet::PubAck {
                id: answered,
                code,
                properties,
            } if *answered == id => Some((*code, properties.clone())),
            _ => None,
        })
    }

    /// Waits for the PUBREC of this packet id.
    pub fn pubrec(&mut self, id: u16) -> (u8, Properties) {
        self.pick("PUBREC", |packet| match packet {
            Packet::PubRec {
                id: answered,
                code,
                properties,
            } if *answered == id => Some((*code, properties.clone())),
            _ => None,
        })
    }

    /// Acknowledges a message as its QoS requires.
    pub fn acknowledge(&mut self, message: &Message) {
        let id = message.id.to_be_bytes();
        match message.qos {
            0 => {}
            // A server that shuts down may have closed meanwhile. The message still counts.
            1 => drop(self.try_send(&frame(0x40, &id))),
            _ => {
                self.send(&frame(0x50, &id));
                self.pick("PUBREL", |packet| match packet {
                    Packet::PubRel {
                        id: released,
                        code: 0,
                        ..
                    } if *released == message.id => Some(()),
                    _ => None,
                });
                self.send(&frame(0x70, &id));
            }
        }
    }

    /// The next packet, which must be a message; it is acknowledged.
    pub fn message(&mut self) -> Message {
        match self.packet() {
            Packet::Publish(message) => {
                self.acknowledge(&message);
                message
            }
            other => panic!("instead of a message came {other:?}"),
        }
    }

    /// The next message that `wanted` accepts. Others before it are skipped.
    pub fn message_where(&mut self, wanted: impl Fn(&Message) -> bool) -> Message {
        let mut all = self.messages_where_until(wanted);
        all.pop().expect("the last is the one that was wanted")
    }

    /// All messages up to and including the one that `last` accepts.
    pub fn messages_where_until(&mut self, last: impl Fn(&Message) -> bool) -> Vec<Message> {
        let mut passed = Vec::new();
        let deadline = Instant::now() + PATIENCE;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            match self.poll(left) {
                Ok(Packet::Publish(message)) => {
                    self.acknowledge(&message);
                    let found = last(&message);
                    passed.push(message);
                    if found {
                        return passed;
                    }
                }
                Ok(other) => panic!("instead of a message came {other:?}"),
                Err(why) => panic!("the message did not come: {why:?}; before it {passed:#?}"),
            }
        }
    }

    /// All messages before the one with this payload.
    pub fn messages_until(&mut self, payload: &str) -> Vec<Message> {
        let mut before = Vec::new();
        loop {
            let message = self.message();
            if message.payload == payload.as_bytes() {
                return before;
            }
            before.push(message);
        }
    }

    /// Waits until the server has read all sent bytes.
    pub fn ping(&mut self) {
        self.send(&[0xC0, 0]);
        self.pick("PINGRESP", |packet| {
            matches!(packet, Packet::PingResp).then_some(())
        });
    }

    /// Sends DISCONNECT with this reason code (3.1.1: without one), and waits for the server's close. From then on the
    /// session has ended or is offline, before any later message of others.
    pub fn disconnect(mut self, code: u8) {
        if self.version == Version::V5 {
            self.send(&[0xE0, 1, code]);
        } else {
            self.send(&[0xE0, 0]);
        }
        while self.poll(PATIENCE).is_ok() {}
    }

    /// The TCP socket at the bottom.
    pub fn socket(&self) -> &TcpStream {
        self.stream.tcp().expect("a connection over TCP")
    }

    /// The stream itself.
    pub fn stream(&mut self) -> &mut dyn Stream {
        &mut *self.stream
    }
}
