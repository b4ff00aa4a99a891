//! A fault of the server: the task of a connection panics. Only that client may lose its connection.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use roommq_broker::packet::{TopicFilter, TopicName};
use roommq_broker::policy::{
    AllowAll, Attempt, BoxFuture, ConnectRequest, Notice, Policy, Principal, PublishPermit,
    Refusal, SubscribeGrant, WallTime,
};
use roommq_broker::{Options, Server};
use roommq_config::{Endpoint, Settings};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// Panics when a client publishes to `panic`, and when clients publish to `later` for the second time.
#[derive(Default)]
struct Faulty(AtomicBool);

impl Policy for Faulty {
    fn connect(&self, request: ConnectRequest) -> BoxFuture<'_, Result<Principal, Refusal>> {
        AllowAll.connect(request)
    }

    fn resolve(&self, who: &Principal, filter: &TopicFilter) -> TopicFilter {
        AllowAll.resolve(who, filter)
    }

    fn subscribe<'a>(
        &'a self,
        who: &'a Principal,
        filter: &'a TopicFilter,
    ) -> BoxFuture<'a, Result<SubscribeGrant, Refusal>> {
        AllowAll.subscribe(who, filter)
    }

    fn publish(
        &self,
        who: &Principal,
        topic: &TopicName,
        retain: bool,
    ) -> Result<PublishPermit, Refusal> {
        let faulty = match topic.as_str() {
            "panic" => true,
            "later" => self.0.swap(true, Ordering::Relaxed),
            _ => false,
        };
        assert!(!faulty, "an intended fault");
        AllowAll.publish(who, topic, retain)
    }

    fn notice(
        &self,
        _: &Principal,
        _: Attempt<'_>,
        _: &Refusal,
        _: u64,
        _: WallTime,
    ) -> Option<Notice> {
        None
    }
}

/// CONNECT of a 3.1.1 client with clean session 0.
const PERSISTENT: &[u8] = b"\x10\x0d\x00\x04MQTT\x04\x00\x00\x00\x00\x01a";

fn connect(server: SocketAddr, packet: &[u8]) -> TcpStream {
    let mut client = TcpStream::connect(server).unwrap();
    client
        .set_read_timeout(Some(Duration::from_secs(20)))
        .unwrap();
    client.write_all(packet).unwrap();
    let mut connack = [0; 4];
    client.read_exact(&mut connack).unwrap();
    assert_eq!(
        connack,
        [0x20, 2, 0, 0],
        "accepted, and without a session of before"
    );
    client
}

/// SUBSCRIBE to `t` at QoS 1.
fn subscribe(client: &mut TcpStream) {
    client.write_all(b"\x82\x06\x00\x01\x00\x01t\x01").unwrap();
    let mut suback = [0; 5];
    client.read_exact(&mut suback).unwrap();
}

fn fault(client: &mut TcpStream) {
    client.write_all(b"\x30\x07\x00\x05panic").unwrap();
    assert_eq!(client.read(&mut [0]).unwrap_or(0), 0, "closed");
}

fn serve() -> (Server, SocketAddr) {
    let settings = Settings::default();
    let mut listeners = settings.listeners;
    for listener in &mut listeners {
        listener.at = Endpoint::Address(([127, 0, 0, 1], 0).into());
    }
    let options = Options {
        listeners,
        limits: settings.limits,
        lanes: settings.lanes,
        sys_interval: Duration::ZERO,
    };
    let policy: Arc<dyn Policy> = Arc::new(Faulty::default());
    let server = Server::start(options, &policy, &AllowAll).unwrap();
    let address = server.listening()[0].plain().unwrap();
    (server, address)
}

#[test]
fn the_client_id_is_free_after_a_panic() {
    let (server, address) = serve();
    for _ in 0..3 {
        let mut client = connect(address, PERSISTENT);
        subscribe(&mut client);
        fault(&mut client);
    }
    drop(connect(address, PERSISTENT));
    server.shutdown();
}

/// [MQTT-3.1.2-8]
#[test]
fn the_will_is_sent_after_a_panic() {
    let (server, address) = serve();
    let watcher = b"\x10\x0d\x00\x04MQTT\x04\x02\x00\x00\x00\x01w";
    let mut watcher = connect(address, watcher);
    subscribe(&mut watcher);
    let dies = b"\x10\x15\x00\x04MQTT\x04\x06\x00\x00\x00\x01a\x00\x01t\x00\x03bye";
    fault(&mut connect(address, dies));
    let mut will = [0; 8];
    watcher.read_exact(&mut will).unwrap();
    assert_eq!(&will, b"\x30\x06\x00\x01tbye");
    // If the will causes a panic too, the session still ends.
    let later = b"\x10\x17\x00\x04MQTT\x04\x06\x00\x00\x00\x01a\x00\x05later\x00\x01x";
    fault(&mut connect(address, later));
    drop(connect(address, PERSISTENT));
    server.shutdown();
}
