//! One client of a row, over a socket.

use crate::clause::Version;
use crate::encode::Ids;
use crate::packet::{Packet, first, hex};
use crate::step::Level;
use std::collections::VecDeque;
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

/// The reason that no packet came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Missing {
    Closed,
    Late,
    /// The bytes are no packet.
    Bad(String),
}

/// A client. Its packet ids outlive its connections.
#[derive(Debug)]
pub struct Peer {
    pub level: Level,
    pub ids: Ids,
    /// Whether CONNACK 0 has come.
    pub connected: bool,
    socket: Option<TcpStream>,
    buffer: Vec<u8>,
    waiting: VecDeque<Packet>,
}

impl Peer {
    pub fn new(level: Level) -> Peer {
        Peer {
            level,
            ids: Ids::default(),
            connected: false,
            socket: None,
            buffer: Vec::new(),
            waiting: VecDeque::new(),
        }
    }

    pub fn is_open(&self) -> bool {
        self.socket.is_some()
    }

    /// Closes the socket without DISCONNECT.
    pub fn drop_connection(&mut self) {
        *self = Peer {
            ids: std::mem::take(&mut self.ids),
            ..Peer::new(self.level)
        };
    }

    /// Sends bytes, and connects first if there is no connection. If the server has closed, the next expected packet fails.
    pub fn send(&mut self, server: SocketAddr, bytes: &[u8]) -> Result<(), String> {
        if self.socket.is_none() {
            let socket = TcpStream::connect(server).map_err(|e| format!("connecting: {e}"))?;
            socket.set_nodelay(true).map_err(|e| e.to_string())?;
            let patience = Some(crate::run::PATIENCE);
            socket
                .set_write_timeout(patience)
                .map_err(|e| e.to_string())?;
            self.socket = Some(socket);
        }
        if let Some(socket) = &mut self.socket {
            let _ = socket.write_all(bytes);
        }
        Ok(())
    }

    /// The next packet within `time`.
    pub fn next(&mut self, time: Duration) -> Result<Packet, Missing> {
        let packet = match self.waiting.pop_front() {
            Some(packet) => packet,
            None => self.receive(Instant::now() + time)?,
        };
        if let Some(id) = packet.number("id") {
            self.ids.came.insert(packet.kind.to_owned(), id);
            if packet.kind == "publish"
                && !self.ids.in_flight.insert(id)
                && packet.number("dup") == Some(0)
            {
                let shown = packet.shown();
                return Err(Missing::Bad(format!("a packet id that is in use: {shown}")));
            }
        }
        Ok(packet)
    }

    fn receive(&mut self, deadline: Instant) -> Result<Packet, Missing> {
        let version = match self.level {
            Level::V5 => Version::V5,
            _ => Version::V311,
        };
        let mut chunk = [0; 16_384];
        loop {
            match first(&self.buffer, version) {
                Ok(Some(packet)) => {
                    self.buffer.drain(..packet.bytes.len());
                    return Ok(packet);
                }
                Ok(None) => {}
                Err(e) => return Err(Missing::Bad(format!("{e}   | {}", hex(&self.buffer)))),
            }
            let Some(socket) = &mut self.socket else {
                return Err(Missing::Closed);
            };
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(Missing::Late);
            }
            if socket.set_read_timeout(Some(left)).is_err() {
                return Err(Missing::Closed);
            }
            match socket.read(&mut chunk) {
                Ok(0) if self.buffer.is_empty() => return Err(Missing::Closed),
                Ok(0) => {
                    return Err(Missing::Bad(format!(
                        "half a packet: {}",
                        hex(&self.buffer)
                    )));
                }
                Ok(count) => self.buffer.extend(&chunk[..count]),
                Err(e) => match e.kind() {
                    ErrorKind::WouldBlock | ErrorKind::TimedOut => return Err(Missing::Late),
                    ErrorKind::Interrupted => {}
                    _ => return Err(Missing::Closed),
                },
            }
        }
    }

    /// Waits until the server has answered a PINGREQ. Packets before the answer are stored.
    pub fn settle(&mut self, server: SocketAddr, time: Duration) -> Result<(), Missing> {
        let _ = self.send(server, &[0xC0, 0]);
        let deadline = Instant::now() + time;
        loop {
            let packet = self.receive(deadline)?;
            if packet.kind == "pingresp" {
                return Ok(());
            }
            self.waiting.push_back(packet);
        }
    }

    /// The packets that no step has expected.
    pub fn waiting(&self) -> impl Iterator<Item = &Packet> {
        self.waiting.iter()
    }
}
