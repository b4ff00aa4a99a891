//! A device with little memory: rust-mqtt, a client library for microcontrollers (`no_std`, 5.0 only). It accepts one
//! message at a time and packets of half a kilobyte, and it sends pings.

use embedded_io_adapters::tokio_1::FromTokio;
use roommq_tests::PATIENCE;
use roommq_tests::everywhere::Everywhere;
use rust_mqtt::Bytes;
use rust_mqtt::buffer::BufferProvider;
use rust_mqtt::client::Client;
use rust_mqtt::client::event::{Event, Publish};
use rust_mqtt::client::options::{
    ConnectOptions, DisconnectOptions, PublicationOptions, SubscriptionOptions, TopicReference,
    WillOptions,
};
use rust_mqtt::config::{KeepAlive, SessionExpiryInterval};
use rust_mqtt::session::Session;
use rust_mqtt::types::{
    IdentifiedQoS, MqttBinary, MqttString, QoS, ReasonCode, TopicFilter, TopicName,
};
use std::collections::VecDeque;
use std::num::NonZero;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep_until, timeout};
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::ServerName;

/// The device's maximum packet size, which is also its largest allocation. In bytes.
pub(crate) const PACKET: usize = 512;

/// The device's keep-alive. It sends pings twice as often.
const KEEP_ALIVE: u16 = 2;

pub(crate) trait Socket: AsyncRead + AsyncWrite + Unpin {}

impl<T: AsyncRead + AsyncWrite + Unpin> Socket for T {}

pub(crate) type Radio = FromTokio<Box<dyn Socket>>;

/// Memory for one packet; more is an error.
pub(crate) struct Memory;

impl BufferProvider<'_> for Memory {
    type Buffer = Box<[u8]>;
    type ProvisionError = usize;

    fn provide_buffer(&mut self, length: usize) -> Result<Box<[u8]>, usize> {
        if length > PACKET {
            return Err(length);
        }
        Ok(vec![0; length].into())
    }
}

/// One SUBSCRIBE and one PUBLISH of its own at a time; receive maximum 1; one subscription identifier, four user
/// properties, no topic alias of the server's, one of its own.
pub(crate) type Library<'m> = Client<'m, 'm, Radio, Memory, 1, 1, 1, 1, 4, 0, 1>;

/// The state that survives a loss: a few bytes.
pub(crate) type Kept = Session<1, 1, 1, 0, 1>;

pub(crate) struct Device<'m> {
    pub(crate) library: Library<'m>,
    messages: VecDeque<(String, String, u8)>,
    next_ping: Instant,
    pub(crate) pings: u32,
    pub(crate) present: bool,
}

fn topic(name: &str) -> TopicName<'_> {
    TopicName::new(MqttString::try_from(name).unwrap()).unwrap()
}

async fn dial(server: &Everywhere, transport: &str) -> Radio {
    let socket = TcpStream::connect(server.address(transport)).await.unwrap();
    socket.set_nodelay(true).unwrap();
    if transport == "tcp" {
        return FromTokio::new(Box::new(socket));
    }
    let name = ServerName::try_from("localhost").unwrap();
    let connector = TlsConnector::from(server.trust().clone());
    FromTokio::new(Box::new(connector.connect(name, socket).await.unwrap()))
}

impl<'m> Device<'m> {
    /// Connects with a will, and resumes the earlier session.
    pub(crate) async fn connect(
        server: &Everywhere,
        transport: &str,
        id: &str,
        kept: Option<Kept>,
        memory: &'m mut Memory,
    ) -> Device<'m> {
        let expiry = SessionExpiryInterval::Seconds(NonZero::new(3600).unwrap());
        let will = WillOptions::new(
            topic("rooms/lobby/will"),
            MqttBinary::try_from("out of power").unwrap(),
        );
        let mut options = ConnectOptions::new()
            .keep_alive(KeepAlive::Seconds(NonZero::new(KEEP_ALIVE).unwrap()))
            .session_expiry_interval(expiry)
            .maximum_packet_size(NonZero::new(u32::try_from(PACKET).unwrap()).unwrap())
            .will(will.at_least_once());
        let mut library = if let Some(kept) = kept {
            Library::with_session(kept, memory)
        } else {
            options = options.clean_start();
            Library::new(memory)
        };
        let radio = dial(server, transport).await;
        let name = Some(MqttString::try_from(id).unwrap());
        let connected = library.connect(radio, &options, name);
        let connected = timeout(PATIENCE, connected).await.unwrap().unwrap();
        let present = connected.session_present;
        Device {
            library,
            messages: VecDeque::new(),
            next_ping: Instant::now() + Duration::from_secs(u64::from(KEEP_ALIVE)) / 2,
            pings: 0,
            present,
        }
    }

    /// Runs the library until `wanted` accepts an event, and sends pings meanwhile. Messages are stored for later.
    pub(crate) async fn until<T>(&mut self, wanted: impl Fn(&Event<'_, 1, 4>) -> Option<T>) -> T {
        let deadline = Instant::now() + PATIENCE;
        loop {
            assert!(Instant::now() < deadline, "it did not come");
            let header = tokio::select! {
                header = self.library.poll_header() => Some(header.unwrap()),
                () = sleep_until(self.next_ping) => None,
            };
            let Some(header) = header else {
                self.library.ping().await.unwrap();
                self.next_ping += Duration::from_secs(u64::from(KEEP_ALIVE)) / 2;
                continue;
            };
            let event = timeout(PATIENCE, self.library.poll_body(header)).await;
            let event = event.unwrap().unwrap();
            match &event {
                Event::Publish(message) => self.messages.push_back(heard(message)),
                Event::Pingresp => self.pings += 1,
                _ => {}
            }
            if let Some(found) = wanted(&event) {
                return found;
            }
        }
    }

    /// The code of the SUBACK.
    pub(crate) async fn subscribe(&mut self, filter: &str, qos: QoS) -> ReasonCode {
        let filter = TopicFilter::new(MqttString::try_from(filter).unwrap()).unwrap();
        let options = SubscriptionOptions::new().qos(qos);
        self.library.subscribe(filter, &options).await.unwrap();
        self.until(|event| match event {
            Event::Suback(ack) => Some(ack.reason_code),
            _ => None,
        })
        .await
    }

    /// Publishes. With QoS 1 and 2, waits for the acknowledgement.
    pub(crate) async fn publish(&mut self, name: &str, text: &str, qos: QoS, retain: bool) {
        let mut options = PublicationOptions::new(TopicReference::Name(topic(name))).qos(qos);
        if retain {
            options = options.retain();
        }
        let sent = self.library.publish(&options, Bytes::from(text.as_bytes()));
        if sent.await.unwrap().is_some() {
            self.until(|event| {
                matches!(
                    event,
                    Event::PublishAcknowledged(_) | Event::PublishComplete(_)
                )
                .then_some(())
            })
            .await;
        }
    }

    /// Waits for a message that `wanted` accepts, by topic, text and QoS.
    pub(crate) async fn message(
        &mut self,
        wanted: impl Fn(&str, &str) -> bool,
    ) -> (String, String, u8) {
        loop {
            while let Some(message) = self.messages.pop_front() {
                if wanted(&message.0, &message.1) {
                    return message;
                }
            }
            self.until(|event| matches!(event, Event::Publish(_)).then_some(()))
                .await;
        }
    }

    /// The next `count` texts from this topic.
    pub(crate) async fn texts(&mut self, count: usize, from: &str) -> Vec<String> {
        let mut all = Vec::new();
        while all.len() < count {
            all.push(self.message(|topic, _| topic == from).await.1);
        }
        all
    }

    /// Drops the connection without DISCONNECT. Returns the state that the device keeps.
    pub(crate) fn vanish(self) -> Kept {
        self.library.session().clone()
    }

    pub(crate) async fn leave(mut self) -> Kept {
        let options = DisconnectOptions::new();
        self.library.disconnect(&options).await.unwrap();
        self.library.session().clone()
    }
}

fn heard(message: &Publish<'_, 1, 4>) -> (String, String, u8) {
    let name = message.topic.name().expect("no alias was allowed");
    let text = String::from_utf8(message.message.as_bytes().to_vec()).unwrap();
    let qos = match message.identified_qos {
        IdentifiedQoS::AtMostOnce => 0,
        IdentifiedQoS::AtLeastOnce(_) => 1,
        IdentifiedQoS::ExactlyOnce(_) => 2,
    };
    (name.as_ref().as_str().to_owned(), text, qos)
}
