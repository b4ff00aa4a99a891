//! Opens many connections: CONNECT, CONNACK, SUBSCRIBE, SUBACK.

use super::figures::{nanos, wide};
use super::histogram::Histogram;
use super::stream::{ClientStream, TlsOptions};
use super::wire::{self, MqttVersion, ServerPacket};
use anyhow::{Context, anyhow, bail};
use std::net::SocketAddr;
use std::time::{Duration, Instant};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

/// The time limit for a connection and its subscriptions.
const PATIENCE: Duration = Duration::from_secs(10);
/// Connections that are opened at once.
const AT_ONCE: usize = 64;
/// Filters in one SUBSCRIBE.
const FILTERS_A_PACKET: usize = 100;
/// The most failed connections before a connect storm ends early.
const FAILURES_TOLERATED: u64 = 100;

/// The server, and how to connect to it.
#[derive(Clone)]
pub struct Dialer {
    /// The server.
    pub server: SocketAddr,
    /// None: no TLS.
    pub secure: Option<TlsOptions>,
    /// Protocol version.
    pub version: MqttVersion,
    /// User name and password. None: anonymous.
    pub login: Option<(String, String)>,
    /// QoS of the subscriptions.
    pub qos: u8,
}

/// A client to connect: its id and its subscriptions.
#[derive(Debug, Clone)]
pub struct ClientSpec {
    /// Client id.
    pub client_id: String,
    /// The filters, perhaps none.
    pub filters: Vec<String>,
}

/// A connection after CONNACK and SUBACK.
pub struct OpenConnection {
    /// The socket, with or without TLS.
    pub stream: ClientStream,
    /// Bytes received after the last answer.
    pub unread: Vec<u8>,
    /// The server's Receive Maximum.
    pub receive_maximum: u16,
}

/// The result of opening many connections.
pub struct OpenResult {
    /// The open connections, in the order of their specs.
    pub connections: Vec<OpenConnection>,
    /// The first failure.
    pub first_failure: Option<anyhow::Error>,
    /// The times from connect to the last SUBACK.
    pub times: Histogram,
    /// The time for all connections.
    pub took: Duration,
}

impl Dialer {
    /// Connects and subscribes one client.
    ///
    /// # Errors
    /// The socket fails, the server refuses, or an answer takes over 10 seconds.
    pub async fn open(&self, spec: &ClientSpec) -> anyhow::Result<OpenConnection> {
        tokio::time::timeout(PATIENCE, self.connect(spec))
            .await
            .with_context(|| format!("{} did not answer in 10 seconds", self.server))?
    }

    async fn connect(&self, spec: &ClientSpec) -> anyhow::Result<OpenConnection> {
        let socket = TcpStream::connect(self.server).await.with_context(|| {
            format!(
                "no broker at {}: start one, or name another with --server",
                self.server
            )
        })?;
        socket.set_nodelay(true)?;
        let mut connection = OpenConnection {
            stream: ClientStream::on(socket, self.secure.as_ref())
                .await
                .map_err(|why| anyhow!("no TLS with {}: {why}", self.server))?,
            unread: Vec::new(),
            receive_maximum: u16::MAX,
        };
        let hello = wire::connect(self.version, &spec.client_id, self.login.as_ref());
        connection.stream.write_all(&hello).await?;
        let (code, receive_maximum) = connection
            .answer(self.version, |packet| match packet {
                ServerPacket::ConnAck {
                    code,
                    receive_maximum,
                } => Some((*code, *receive_maximum)),
                _ => None,
            })
            .await
            .with_context(|| match self.secure {
                None => format!(
                    "no MQTT at {}; for a server with TLS write mqtts://",
                    self.server
                ),
                Some(_) => format!("no MQTT in TLS at {}", self.server),
            })?;
        if code != 0 {
            bail!(
                "the server refused the connection with code 0x{code:02X}; see --user and --password-file"
            );
        }
        connection.receive_maximum = receive_maximum;
        for filters in spec.filters.chunks(FILTERS_A_PACKET) {
            connection
                .subscribe(self.version, filters, self.qos)
                .await?;
        }
        Ok(connection)
    }

    /// Opens all connections, 64 at a time. With `tolerant` it counts failures, else the first one
    /// is an error.
    pub async fn open_all(
        &self,
        specs: Vec<ClientSpec>,
        tolerant: bool,
        tick: impl Fn(u64),
    ) -> anyhow::Result<OpenResult> {
        let (start, all) = (Instant::now(), specs.len());
        let limit = if tolerant { FAILURES_TOLERATED } else { 0 };
        let mut waiting = specs.into_iter().enumerate();
        let mut started = 0;
        let mut opening = JoinSet::new();
        let mut connections: Vec<Option<OpenConnection>> = Vec::new();
        connections.resize_with(all, || None);
        let (mut failed, mut first_failure) = (0, None);
        let mut times = Histogram::default();
        loop {
            while opening.len() < AT_ONCE && failed <= limit {
                let Some((number, spec)) = waiting.next() else {
                    break;
                };
                started = number + 1;
                let dialer = self.clone();
                opening.spawn_local(async move {
                    let start = Instant::now();
                    let result = dialer.open(&spec).await;
                    (number, result, start.elapsed())
                });
            }
            let Some(ended) = opening.join_next().await else {
                break;
            };
            let (number, result, took) = ended.context("a connecting task ended")?;
            match result {
                Ok(connection) => {
                    connections[number] = Some(connection);
                    times.record(nanos(took));
                }
                Err(error) => {
                    failed += 1;
                    first_failure.get_or_insert(error);
                }
            }
            tick(wide(number) + 1);
        }
        if let (false, Some(error)) = (tolerant, &first_failure) {
            bail!("client {started} of {all}: {error:#}");
        }
        Ok(OpenResult {
            connections: connections.into_iter().flatten().collect(),
            first_failure,
            times,
            took: start.elapsed(),
        })
    }
}

impl OpenConnection {
    async fn subscribe(
        &mut self,
        version: MqttVersion,
        filters: &[String],
        qos: u8,
    ) -> anyhow::Result<()> {
        let packet = wire::subscribe(version, 1, filters, qos);
        self.stream.write_all(&packet).await?;
        let refused = self
            .answer(version, |packet| match packet {
                ServerPacket::SubAck { codes } => Some(
                    codes
                        .iter()
                        .zip(filters)
                        .find(|(code, _)| **code >= 0x80)
                        .map(|(code, filter)| {
                            format!("SUBSCRIBE to {filter} was refused with 0x{code:02X}")
                        }),
                ),
                _ => None,
            })
            .await?;
        refused.map_or(Ok(()), |why| bail!(why))
    }

    /// Reads packets until `wanted` returns a value. Further bytes stay in `unread`.
    async fn answer<T>(
        &mut self,
        version: MqttVersion,
        wanted: impl Fn(&ServerPacket<'_>) -> Option<T>,
    ) -> anyhow::Result<T> {
        loop {
            while let Some((packet, used)) = wire::next_packet(version, &self.unread)? {
                let found = wanted(&packet);
                let end = matches!(packet, ServerPacket::Disconnect { .. });
                self.unread.drain(..used);
                if let Some(found) = found {
                    return Ok(found);
                }
                if end {
                    bail!("the server sent DISCONNECT");
                }
            }
            let mut bytes = [0; 1024];
            let count = self
                .stream
                .read(&mut bytes)
                .await
                .map_err(|why| anyhow!(why))?;
            if count == 0 {
                bail!("the server closed the connection");
            }
            self.unread.extend_from_slice(&bytes[..count]);
        }
    }
}
