//! A session that cannot be resumed in time. The client receives 0x89 and may try again, and the session is unchanged.

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
use std::time::{Duration, Instant};

/// Never answers for a filter while it is stuck.
#[derive(Default)]
struct Undecided {
    stuck: AtomicBool,
}

impl Policy for Undecided {
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
        if self.stuck.load(Ordering::SeqCst) {
            return Box::pin(std::future::pending());
        }
        AllowAll.subscribe(who, filter)
    }

    fn publish(
        &self,
        who: &Principal,
        topic: &TopicName,
        retain: bool,
    ) -> Result<PublishPermit, Refusal> {
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

/// Connects. Returns the first two bytes of CONNACK's variable header: session present, and the code.
fn connect(server: SocketAddr, packet: &[u8]) -> (TcpStream, [u8; 2]) {
    let mut client = TcpStream::connect(server).unwrap();
    client
        .set_read_timeout(Some(Duration::from_secs(20)))
        .unwrap();
    client.write_all(packet).unwrap();
    let connack = read(&mut client);
    (client, [connack[0], connack[1]])
}

/// The next packet without its fixed header. It must be shorter than 128 bytes.
fn read(client: &mut TcpStream) -> Vec<u8> {
    let mut header = [0; 2];
    client.read_exact(&mut header).unwrap();
    assert!(header[1] < 0x80);
    let mut body = vec![0; header[1].into()];
    client.read_exact(&mut body).unwrap();
    body
}

#[test]
fn the_session_stays_offline_and_its_will_is_sent() {
    let settings = Settings::default();
    let mut listeners = settings.listeners;
    for listener in &mut listeners {
        listener.at = Endpoint::Address(([127, 0, 0, 1], 0).into());
    }
    let mut limits = settings.limits;
    limits.connect_time = Duration::from_millis(300);
    let options = Options {
        listeners,
        limits,
        lanes: settings.lanes,
        sys_interval: Duration::ZERO,
    };
    let undecided = Arc::new(Undecided::default());
    let policy: Arc<dyn Policy> = undecided.clone();
    let server = Server::start(options, &policy, &AllowAll).unwrap();
    let address = server.listening()[0].plain().unwrap();

    let watcher = b"\x10\x0d\x00\x04MQTT\x04\x02\x00\x00\x00\x01w";
    let (mut watcher, _) = connect(address, watcher);
    watcher.write_all(b"\x82\x06\x00\x01\x00\x01w\x00").unwrap();
    read(&mut watcher);
    // The session expires after an hour, the will is delayed by a second.
    let persistent = b"\x10\x21\x00\x04MQTT\x05\x04\x00\x00\x05\x11\x00\x00\x0e\x10\x00\x01a\
        \x05\x18\x00\x00\x00\x01\x00\x01w\x00\x03bye";
    let (mut client, _) = connect(address, persistent);
    client
        .write_all(b"\x82\x07\x00\x01\x00\x00\x01t\x01")
        .unwrap();
    read(&mut client);
    drop(client);
    let disconnected = Instant::now();

    // A CONNECT without a will, and with a session that would end at once.
    let resuming = b"\x10\x0e\x00\x04MQTT\x05\x00\x00\x00\x00\x00\x01a";
    undecided.stuck.store(true, Ordering::SeqCst);
    assert_eq!(connect(address, resuming).1, [0, 0x89]);
    undecided.stuck.store(false, Ordering::SeqCst);
    assert_eq!(read(&mut watcher), b"\x00\x01wbye");
    assert!(
        disconnected.elapsed() >= Duration::from_millis(900),
        "the will is delayed"
    );
    assert_eq!(connect(address, resuming).1, [1, 0]);
    server.shutdown();
}
