//! rumqttc, an independent client library, in both versions: a client whose events wait in a channel.

use bytes::Bytes;
use roommq_tests::PATIENCE;
use roommq_tests::everywhere::Everywhere;
use roommq_tests::wire::Version;
use rumqttc::{Event, Incoming, Outgoing, QoS, TlsConfiguration, Transport, v5};
use std::collections::VecDeque;
use std::ops::ControlFlow;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};
use tokio::sync::oneshot;
use v5::mqttbytes::v5::Packet;

/// The options of a connection.
pub(crate) struct Options<'a> {
    pub(crate) version: Version,
    pub(crate) id: &'a str,
    pub(crate) keep: bool,
    /// Topic and payload.
    pub(crate) will: Option<(&'a str, &'a str)>,
    pub(crate) tls: bool,
}

impl<'a> Options<'a> {
    pub(crate) fn new(version: Version, id: &'a str) -> Options<'a> {
        Options {
            version,
            id,
            keep: false,
            will: None,
            tls: false,
        }
    }
}

/// A message, the same for both versions.
#[derive(Debug)]
pub(crate) struct Heard {
    pub(crate) topic: String,
    pub(crate) text: String,
    pub(crate) qos: u8,
    pub(crate) retain: bool,
    pub(crate) properties: Vec<(String, String)>,
}

#[derive(Debug)]
enum Came {
    Connected {
        present: bool,
    },
    /// Whether it was granted, and the code as rumqttc says it.
    SubAck(bool, String),
    /// A PUBACK or a PUBCOMP.
    Taken,
    Message(Heard),
}

enum Handle {
    Old(rumqttc::AsyncClient),
    New(v5::AsyncClient),
}

/// A client, and the thread that runs its connection.
pub(crate) struct Member {
    handle: Handle,
    stop: Option<oneshot::Sender<()>>,
    runner: Option<JoinHandle<()>>,
    came: Receiver<Came>,
    messages: VecDeque<Heard>,
    /// Whether there was a session.
    pub(crate) present: bool,
}

impl Member {
    pub(crate) fn connect(server: &Everywhere, options: &Options) -> Member {
        let (tell, came) = sync_channel(1000);
        let (stop, stopped) = oneshot::channel();
        let place = server.address(if options.tls { "tls" } else { "tcp" });
        let host = place.ip().to_string();
        let transport = if options.tls {
            Transport::tls_with_config(TlsConfiguration::Rustls(server.trust().clone()))
        } else {
            Transport::tcp()
        };
        let (handle, runner) = if options.version == Version::V5 {
            let mut wanted = v5::MqttOptions::new(options.id, host, place.port());
            wanted
                .set_transport(transport)
                .set_keep_alive(Duration::from_secs(30))
                .set_clean_start(!options.keep)
                .set_session_expiry_interval(options.keep.then_some(3600));
            if let Some((topic, payload)) = options.will {
                let qos = v5::mqttbytes::QoS::AtLeastOnce;
                let will = v5::mqttbytes::v5::LastWill::new(topic, payload, qos, false, None);
                wanted.set_last_will(will);
            }
            let (client, mut events) = v5::AsyncClient::new(wanted, 100);
            let runner =
                thread::spawn(move || run(stopped, &tell, async || events.poll().await, read_new));
            (Handle::New(client), runner)
        } else {
            let mut wanted = rumqttc::MqttOptions::new(options.id, host, place.port());
            wanted
                .set_transport(transport)
                .set_keep_alive(Duration::from_secs(30))
                .set_clean_session(!options.keep);
            if let Some((topic, payload)) = options.will {
                let will = rumqttc::LastWill::new(topic, payload, QoS::AtLeastOnce, false);
                wanted.set_last_will(will);
            }
            let (client, mut events) = rumqttc::AsyncClient::new(wanted, 100);
            let runner =
                thread::spawn(move || run(stopped, &tell, async || events.poll().await, read_old));
            (Handle::Old(client), runner)
        };
        let mut member = Member {
            handle,
            stop: Some(stop),
            runner: Some(runner),
            came,
            messages: VecDeque::new(),
            present: false,
        };
        member.present = member.wait(|came| match came {
            Came::Connected { present } => Some(*present),
            _ => None,
        });
        member
    }

    /// Waits for an event that is no message. Messages are stored for later.
    fn wait<T>(&mut self, wanted: impl Fn(&Came) -> Option<T>) -> T {
        loop {
            let came = self.came.recv_timeout(PATIENCE).unwrap();
            match (wanted(&came), came) {
                (Some(found), _) => return found,
                (None, Came::Message(heard)) => self.messages.push_back(heard),
                (None, _) => {}
            }
        }
    }

    /// Whether it was granted, and the code as rumqttc says it.
    pub(crate) fn subscribe(&mut self, filter: &str, qos: u8) -> (bool, String) {
        match &self.handle {
            Handle::Old(client) => client
                .try_subscribe(filter, rumqttc::qos(qos).unwrap())
                .unwrap(),
            Handle::New(client) => client
                .try_subscribe(filter, v5::mqttbytes::qos(qos).unwrap())
                .unwrap(),
        }
        self.wait(|came| match came {
            Came::SubAck(granted, code) => Some((*granted, code.clone())),
            _ => None,
        })
    }

    /// Publishes. With QoS 1 and 2, waits for the acknowledgement.
    pub(crate) fn publish(&mut self, topic: &str, text: &str, qos: u8, retain: bool) {
        let payload = Bytes::copy_from_slice(text.as_bytes());
        match &self.handle {
            Handle::Old(client) => client
                .try_publish(topic, rumqttc::qos(qos).unwrap(), retain, payload)
                .unwrap(),
            Handle::New(client) => client
                .try_publish(topic, v5::mqttbytes::qos(qos).unwrap(), retain, payload)
                .unwrap(),
        }
        if qos > 0 {
            self.wait(|came| matches!(came, Came::Taken).then_some(()));
        }
    }

    /// Waits for a message that `wanted` accepts.
    pub(crate) fn message(&mut self, wanted: impl Fn(&Heard) -> bool) -> Heard {
        loop {
            let heard = match self.messages.pop_front() {
                Some(heard) => heard,
                None => match self.came.recv_timeout(PATIENCE).unwrap() {
                    Came::Message(heard) => heard,
                    _ => continue,
                },
            };
            if wanted(&heard) {
                return heard;
            }
        }
    }

    /// Waits for a message with this text.
    pub(crate) fn said(&mut self, text: &str) -> Heard {
        self.message(|heard| heard.text == text)
    }

    /// The texts on application topics before this one.
    pub(crate) fn said_until(&mut self, text: &str) -> Vec<String> {
        let mut all = Vec::new();
        loop {
            let heard = self.message(|heard| !heard.topic.contains("/_"));
            if heard.text == text {
                return all;
            }
            all.push(heard.text);
        }
    }

    /// Waits for the notice of this event of that user.
    pub(crate) fn event(&mut self, what: &str, user: &str) {
        self.message(|heard| {
            heard.topic.ends_with("/_events")
                && heard.text.contains(&format!("\"{what}\""))
                && heard.text.contains(&format!("\"{user}\""))
        });
    }

    /// DISCONNECT.
    pub(crate) fn leave(self) {
        match &self.handle {
            Handle::Old(client) => client.try_disconnect().unwrap(),
            Handle::New(client) => client.try_disconnect().unwrap(),
        }
        self.end();
    }

    /// Drops the connection without DISCONNECT: a loss.
    pub(crate) fn vanish(mut self) {
        self.stop = None;
        self.end();
    }

    fn end(mut self) {
        let deadline = Instant::now() + PATIENCE;
        while let Ok(_unheard) = self.came.recv_timeout(deadline - Instant::now()) {}
        assert!(Instant::now() < deadline, "the connection does not end");
        self.runner.take().unwrap().join().unwrap();
    }
}

/// Runs a connection until the client sends DISCONNECT, or drops it.
fn run<E>(
    mut stopped: oneshot::Receiver<()>,
    tell: &SyncSender<Came>,
    mut next: impl AsyncFnMut() -> E,
    read: impl Fn(E) -> ControlFlow<(), Option<Came>>,
) {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = runtime.enable_all().build().unwrap();
    runtime.block_on(async {
        loop {
            let event = tokio::select! {
                event = next() => event,
                _ = &mut stopped => return,
            };
            let heard = match read(event) {
                ControlFlow::Break(()) => return,
                ControlFlow::Continue(None) => continue,
                ControlFlow::Continue(Some(came)) => tell.send(came),
            };
            if heard.is_err() {
                return;
            }
        }
    });
}

fn read_old(event: Result<Event, rumqttc::ConnectionError>) -> ControlFlow<(), Option<Came>> {
    ControlFlow::Continue(Some(match event.expect("the connection holds") {
        Event::Incoming(Incoming::ConnAck(ack)) => Came::Connected {
            present: ack.session_present,
        },
        Event::Incoming(Incoming::SubAck(ack)) => {
            use rumqttc::SubscribeReasonCode::Success;
            let code = ack.return_codes[0];
            Came::SubAck(matches!(code, Success(_)), format!("{code:?}"))
        }
        Event::Incoming(Incoming::PubAck(_) | Incoming::PubComp(_)) => Came::Taken,
        Event::Incoming(Incoming::Publish(p)) => Came::Message(Heard {
            topic: p.topic,
            text: String::from_utf8(p.payload.to_vec()).unwrap(),
            qos: p.qos as u8,
            retain: p.retain,
            properties: Vec::new(),
        }),
        Event::Outgoing(Outgoing::Disconnect) => return ControlFlow::Break(()),
        _ => return ControlFlow::Continue(None),
    }))
}

/// The same for 5.0.
fn read_new(event: Result<v5::Event, v5::ConnectionError>) -> ControlFlow<(), Option<Came>> {
    ControlFlow::Continue(Some(match event.expect("the connection holds") {
        v5::Event::Incoming(Packet::ConnAck(ack)) => Came::Connected {
            present: ack.session_present,
        },
        v5::Event::Incoming(Packet::SubAck(ack)) => {
            use v5::mqttbytes::v5::SubscribeReasonCode::Success;
            let code = ack.return_codes[0];
            Came::SubAck(matches!(code, Success(_)), format!("{code:?}"))
        }
        v5::Event::Incoming(Packet::PubAck(_) | Packet::PubComp(_)) => Came::Taken,
        v5::Event::Incoming(Packet::Publish(p)) => Came::Message(Heard {
            topic: String::from_utf8(p.topic.to_vec()).unwrap(),
            text: String::from_utf8(p.payload.to_vec()).unwrap(),
            qos: p.qos as u8,
            retain: p.retain,
            properties: p.properties.map(|p| p.user_properties).unwrap_or_default(),
        }),
        v5::Event::Outgoing(Outgoing::Disconnect) => return ControlFlow::Break(()),
        _ => return ControlFlow::Continue(None),
    }))
}
