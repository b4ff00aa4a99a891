//! One connection to a server. It uses MQTT 5.0, whose refusals have reason strings.
//!
//! Architecture invariant: only this file, `codes` and `failure` name the client library, and they
//! know nothing about rooms.
//!
//! Each request has a [`RequestId`]. [`MqttClient::next`] returns messages and answers to requests
//! in the order of their arrival, so that no message has to be queued.

mod codes;
mod failure;

pub(crate) use failure::{ANSWER_TIME, ClientError};

use crate::address::{ServerAddress, bracketed};
use crate::refusal::ServerRefusal;
use bytes::Bytes;
use rumqttc::v5::mqttbytes::QoS;
use rumqttc::v5::mqttbytes::v5::{ConnAck, ConnectProperties, Filter, Packet, Publish};
use rumqttc::v5::{AsyncClient, ConnectionError, Event, EventLoop, MqttOptions};
use rumqttc::{Outgoing, TlsConfiguration, Transport};
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_rustls::rustls::ClientConfig;

/// The time limit for a connection with TLS and CONNACK. Password checks are slow by design.
const CONNECT_TIME: Duration = Duration::from_secs(10);
/// The time limit from DISCONNECT until the server closes the socket.
const CLOSE_TIME: Duration = Duration::from_secs(2);
/// The largest packet accepted, in bytes. It is larger than the default of any server, so that no
/// retained message ends the connection.
const PACKET_BYTES: u32 = 16 << 20;
/// The largest packet id before the library starts again at 1. The library stops if that id is in
/// use.
const PACKET_IDS: u16 = 1_000;
/// The most requests that may be unanswered. The caller must check [`MqttClient::outstanding`].
pub(crate) const WINDOW: usize = 16;

/// The server, and the user to log in as. Not `Debug`, because it contains the password.
#[derive(Clone)]
pub(crate) struct ConnectOptions {
    pub server: ServerAddress,
    /// None: no TLS.
    pub tls: Option<Arc<ClientConfig>>,
    pub client_id: String,
    /// The user name and the password.
    pub credentials: Option<(String, String)>,
}

/// Identifies a request until its answer has arrived.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct RequestId(u64);

/// An application message.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct ReceivedMessage {
    pub topic: String,
    pub payload: Bytes,
    pub retain: bool,
    pub user_properties: Vec<(String, String)>,
}

/// An event of the connection.
#[derive(Debug)]
pub(crate) enum ClientEvent {
    Message(ReceivedMessage),
    /// A request was answered. For a subscription: its refusal, if there is one.
    Answered(RequestId, Result<(), ServerRefusal>),
}

/// A SUBSCRIBE to one filter.
#[derive(Debug, Clone)]
pub(crate) struct SubscribeRequest {
    pub filter: String,
    pub qos: u8,
    /// The No Local option: the server does not send back the client's own messages.
    pub no_local: bool,
}

/// The kind of a request. Each kind is answered by other packets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum RequestKind {
    Publish,
    Subscribe,
    Unsubscribe,
}

/// A connection.
pub(crate) struct MqttClient {
    server: ServerAddress,
    requests: AsyncClient,
    events: mpsc::Receiver<Result<Event, ConnectionError>>,
    /// Passed to the library in sending order, without a packet id yet.
    unnumbered: VecDeque<RequestId>,
    waiting: HashMap<(RequestKind, u16), RequestId>,
    next_request: u64,
    packet_limit: u32,
    qos_limit: u8,
    unmatched: usize,
}

impl MqttClient {
    /// Connects with Clean Start.
    pub(crate) async fn connect(options: &ConnectOptions) -> Result<MqttClient, ClientError> {
        let server = options.server.clone();
        let (requests, event_loop) = AsyncClient::new(mqtt_options(options), 4 * WINDOW);
        let (sender, mut events) = mpsc::channel(64);
        tokio::spawn(pump(event_loop, sender));
        let connack = match timeout(CONNECT_TIME, events.recv()).await {
            Ok(Some(Ok(Event::Incoming(Packet::ConnAck(connack))))) => connack,
            Ok(Some(Ok(_)) | None) | Err(_) => return Err(ClientError::NoAnswer(server)),
            Ok(Some(Err(error))) => return Err(failure::before_connack(error, server)),
        };
        let (packet_limit, qos_limit) = limits(&connack);
        Ok(MqttClient {
            server,
            requests,
            events,
            unnumbered: VecDeque::new(),
            waiting: HashMap::new(),
            next_request: 0,
            packet_limit,
            qos_limit,
            unmatched: 0,
        })
    }

    /// How many messages the server has acknowledged with 0x10: they reached nobody.
    pub(crate) fn unmatched(&self) -> usize {
        self.unmatched
    }

    /// The number of unanswered requests. With [`WINDOW`] or more the caller must not make another.
    pub(crate) fn outstanding(&self) -> usize {
        self.unnumbered.len() + self.waiting.len()
    }

    /// Sends a SUBSCRIBE.
    pub(crate) fn subscribe(
        &mut self,
        wanted: &SubscribeRequest,
    ) -> Result<RequestId, ClientError> {
        let mut filter = Filter::new(wanted.filter.clone(), level(wanted.qos));
        filter.nolocal = wanted.no_local;
        let sent = self.requests.try_subscribe_many([filter]);
        self.request(sent.is_ok())
    }

    /// Sends an UNSUBSCRIBE.
    pub(crate) fn unsubscribe(&mut self, filter: &str) -> Result<RequestId, ClientError> {
        let sent = self.requests.try_unsubscribe(filter);
        self.request(sent.is_ok())
    }

    /// Sends a PUBLISH. With QoS 0 it counts as answered when it is sent.
    pub(crate) fn publish(
        &mut self,
        topic: &str,
        payload: Vec<u8>,
        qos: u8,
        retain: bool,
    ) -> Result<RequestId, ClientError> {
        if qos > self.qos_limit {
            return Err(ClientError::QosTooHigh {
                limit: self.qos_limit,
            });
        }
        // Bytes: fixed header 5, topic length 2, packet id 2, property length 1.
        let bytes = payload.len() + topic.len() + 10;
        if u32::try_from(bytes).map_or(true, |bytes| bytes > self.packet_limit) {
            return Err(ClientError::TooLarge {
                bytes: payload.len(),
                limit: self.packet_limit,
            });
        }
        let sent = self
            .requests
            .try_publish(topic, level(qos), retain, payload);
        self.request(sent.is_ok())
    }

    fn request(&mut self, sent: bool) -> Result<RequestId, ClientError> {
        if !sent {
            return Err(ClientError::Lost("it is closed".to_owned()));
        }
        let request = RequestId(self.next_request);
        self.next_request += 1;
        self.unnumbered.push_back(request);
        Ok(request)
    }

    /// Waits for the next event. The future may be dropped without loss of an event.
    pub(crate) async fn next(&mut self) -> Result<ClientEvent, ClientError> {
        loop {
            match self.events.recv().await {
                Some(Ok(event)) => {
                    if let Some(event) = self.read(event) {
                        return Ok(event);
                    }
                }
                Some(Err(error)) => return Err(failure::after_connack(error, &self.server)),
                None => return Err(ClientError::Lost("it is closed".to_owned())),
            }
        }
    }

    /// Waits for the answer to one request. Messages that arrive before it go to `on_message`.
    pub(crate) async fn answer<E: From<ClientError>>(
        &mut self,
        request: RequestId,
        mut on_message: impl FnMut(ReceivedMessage) -> Result<(), E>,
    ) -> Result<Result<(), ServerRefusal>, E> {
        loop {
            match timeout(ANSWER_TIME, self.next()).await {
                Err(_) => return Err(ClientError::NoAnswer(self.server.clone()).into()),
                Ok(Err(error)) => return Err(error.into()),
                Ok(Ok(ClientEvent::Message(message))) => on_message(message)?,
                Ok(Ok(ClientEvent::Answered(t, outcome))) if t == request => return Ok(outcome),
                Ok(Ok(ClientEvent::Answered(..))) => {}
            }
        }
    }

    /// Sends DISCONNECT and waits until the server closes the socket. If the client closed the
    /// socket with unread bytes, the system would reset it. The server could miss the DISCONNECT
    /// and report a loss.
    pub(crate) async fn disconnect(mut self) {
        if self.requests.try_disconnect().is_ok() {
            let closed = async { while let Some(Ok(_)) = self.events.recv().await {} };
            let _ = timeout(CLOSE_TIME, closed).await;
        }
    }

    fn read(&mut self, event: Event) -> Option<ClientEvent> {
        let (kind, id, outcome) = match event {
            Event::Incoming(Packet::Publish(publish)) => {
                return Some(ClientEvent::Message(message(publish)));
            }
            Event::Incoming(Packet::PubAck(ack)) => {
                let reason = ack.properties.and_then(|p| p.reason_string);
                let code = codes::puback(ack.reason);
                self.unmatched += usize::from(code == codes::UNMATCHED);
                (RequestKind::Publish, ack.pkid, refused(code, reason))
            }
            Event::Incoming(Packet::PubRec(ack)) => {
                let reason = ack.properties.and_then(|p| p.reason_string);
                let code = codes::pubrec(ack.reason);
                self.unmatched += usize::from(code == codes::UNMATCHED);
                // After a PUBREC without an error, the PUBCOMP is the answer.
                let refusal = refused(code, reason).err()?;
                (RequestKind::Publish, ack.pkid, Err(refusal))
            }
            Event::Incoming(Packet::PubComp(ack)) => (RequestKind::Publish, ack.pkid, Ok(())),
            Event::Incoming(Packet::SubAck(ack)) => {
                let reason = ack.properties.and_then(|p| p.reason_string);
                let code = ack.return_codes.into_iter().map(codes::suback).max();
                (
                    RequestKind::Subscribe,
                    ack.pkid,
                    refused(code.unwrap_or(0x80), reason),
                )
            }
            Event::Incoming(Packet::UnsubAck(ack)) => (RequestKind::Unsubscribe, ack.pkid, Ok(())),
            Event::Outgoing(Outgoing::Publish(id)) => return self.number(RequestKind::Publish, id),
            Event::Outgoing(Outgoing::Subscribe(id)) => {
                return self.number(RequestKind::Subscribe, id);
            }
            Event::Outgoing(Outgoing::Unsubscribe(id)) => {
                return self.number(RequestKind::Unsubscribe, id);
            }
            _ => return None,
        };
        let request = self.waiting.remove(&(kind, id))?;
        Some(ClientEvent::Answered(request, outcome))
    }

    fn number(&mut self, kind: RequestKind, id: u16) -> Option<ClientEvent> {
        let request = self.unnumbered.pop_front()?;
        if id == 0 {
            return Some(ClientEvent::Answered(request, Ok(())));
        }
        self.waiting.insert((kind, id), request);
        None
    }
}

fn mqtt_options(options: &ConnectOptions) -> MqttOptions {
    let (place, port, transport) = match (&options.server, &options.tls) {
        (ServerAddress::Socket(path), _) => {
            let path = path.to_string_lossy().into_owned();
            (path, 0, Transport::unix())
        }
        // Without brackets: the certificate is compared with it.
        (ServerAddress::Host { host, port, .. }, Some(tls)) => {
            let tls = TlsConfiguration::Rustls(Arc::clone(tls));
            (host.clone(), *port, Transport::tls_with_config(tls))
        }
        (ServerAddress::Host { host, port, .. }, None) => {
            (bracketed(host), *port, Transport::tcp())
        }
    };
    let mut mqtt = MqttOptions::new(&options.client_id, place, port);
    mqtt.set_transport(transport);
    mqtt.set_keep_alive(Duration::from_secs(30));
    mqtt.set_connection_timeout(CONNECT_TIME.as_secs());
    mqtt.set_outgoing_inflight_upper_limit(PACKET_IDS);
    let mut properties = ConnectProperties::new();
    properties.max_packet_size = Some(PACKET_BYTES);
    mqtt.set_connect_properties(properties);
    if let Some((user, password)) = &options.credentials {
        mqtt.set_credentials(user, password);
    }
    let mut network = rumqttc::NetworkOptions::new();
    network.set_tcp_nodelay(true);
    mqtt.set_network_options(network);
    mqtt
}

/// Polls the library in a task of its own, because a poll must not be dropped before it ends. Ends
/// at the first error: the next poll would connect again.
async fn pump(mut event_loop: EventLoop, events: mpsc::Sender<Result<Event, ConnectionError>>) {
    loop {
        let event = event_loop.poll().await;
        let over = event.is_err();
        if events.send(event).await.is_err() || over {
            return;
        }
    }
}

fn limits(connack: &ConnAck) -> (u32, u8) {
    let properties = connack.properties.as_ref();
    (
        properties
            .and_then(|p| p.max_packet_size)
            .unwrap_or(u32::MAX),
        properties.and_then(|p| p.max_qos).unwrap_or(2),
    )
}

fn message(publish: Publish) -> ReceivedMessage {
    ReceivedMessage {
        topic: String::from_utf8_lossy(&publish.topic).into_owned(),
        payload: publish.payload,
        retain: publish.retain,
        user_properties: publish
            .properties
            .map(|p| p.user_properties)
            .unwrap_or_default(),
    }
}

fn level(qos: u8) -> QoS {
    match qos {
        0 => QoS::AtMostOnce,
        1 => QoS::AtLeastOnce,
        _ => QoS::ExactlyOnce,
    }
}

fn refused(code: u8, reason: Option<String>) -> Result<(), ServerRefusal> {
    if code < 0x80 {
        return Ok(());
    }
    Err(ServerRefusal { code, reason })
}
