//! A session that cannot be resumed in time: the client receives 0x89 and may try again, and the session is unchanged. And a
//! session that is evicted meanwhile.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use roommq_broker::packet::{TopicFilter, TopicName};
use roommq_broker::policy::{
    AllowAll, Attempt, BoxFuture, ConnectRequest, Notice, Policy, Principal, PublishPermit,
    Refusal, SubscribeGrant, WallTime,
};
use roommq_broker::{Options, Server};
use roommq_config::{Endpoint, Limits, Settings};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio::sync::Semaphore;

/// Answers for a filter only if it has a permit, and tells of each question.
struct Undecided {
    permits: Semaphore,
    asked: Mutex<SyncSender<()>>,
}

impl Undecided {
    fn new(permits: usize) -> (Arc<Self>, Receiver<()>) {
        let (asked, questions) = sync_channel(10);
        let undecided = Undecided {
            permits: Semaphore::new(permits),
            asked: Mutex::new(asked),
        };
        (Arc::new(undecided), questions)
    }
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
        self.asked.lock().unwrap().send(()).unwrap();
        Box::pin(async {
            self.permits.acquire().await.unwrap().forget();
            AllowAll.subscribe(who, filter).await
        })
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

fn start(policy: &Arc<dyn Policy>, limits: impl FnOnce(&mut Limits)) -> (Server, SocketAddr) {
    let settings = Settings::default();
    let mut listeners = settings.listeners;
    for listener in &mut listeners {
        listener.at = Endpoint::Address(([127, 0, 0, 1], 0).into());
    }
    let mut options = Options {
        listeners,
        limits: settings.limits,
        lanes: settings.lanes,
        sys_interval: Duration::ZERO,
    };
    limits(&mut options.limits);
    let server = Server::start(options, policy, &AllowAll).unwrap();
    let address = server.listening()[0].plain().unwrap();
    (server, address)
}

/// A client that has subscribed to topic `w`, where the wills are sent.
fn watcher(server: SocketAddr) -> TcpStream {
    let connect_packet = b"\x10\x0d\x00\x04MQTT\x04\x02\x00\x00\x00\x01w";
    let (mut watcher, _) = connect(server, connect_packet);
    watcher.write_all(b"\x82\x06\x00\x01\x00\x01w\x00").unwrap();
    read(&mut watcher);
    watcher
}

/// Client `a` subscribes to topic `t` and is gone. Its session expires after an hour, its will is delayed by so many seconds.
fn leave_a_session(server: SocketAddr, delay: u8) {
    let mut persistent = *b"\x10\x21\x00\x04MQTT\x05\x04\x00\x00\x05\x11\x00\x00\x0e\x10\x00\x01a\
        \x05\x18\x00\x00\x00\x00\x00\x01w\x00\x03bye";
    persistent[26] = delay;
    let (mut client, _) = connect(server, &persistent);
    client.write_all(SUBSCRIBE).unwrap();
    read(&mut client);
}

const SUBSCRIBE: &[u8] = b"\x82\x07\x00\x01\x00\x00\x01t\x01";

/// A CONNECT of client `a` without a will, and with a session that ends with its connection.
const RESUMING: &[u8] = b"\x10\x0e\x00\x04MQTT\x05\x00\x00\x00\x00\x00\x01a";

#[test]
fn the_session_stays_offline_and_its_will_is_sent() {
    let (undecided, _questions) = Undecided::new(2);
    let policy: Arc<dyn Policy> = undecided.clone();
    let (server, address) = start(&policy, |limits| {
        limits.connect_time = Duration::from_millis(300);
    });
    let mut watcher = watcher(address);
    leave_a_session(address, 1);
    let disconnected = Instant::now();

    assert_eq!(connect(address, RESUMING).1, [0, 0x89]);
    undecided.permits.add_permits(1);
    assert_eq!(read(&mut watcher), b"\x00\x01wbye");
    assert!(
        disconnected.elapsed() >= Duration::from_millis(900),
        "the will is delayed"
    );
    assert_eq!(connect(address, RESUMING).1, [1, 0]);
    server.shutdown();
}

/// The client returns, and before its session is resumed in the lane, the lane evicts it. The client is told that it has missed
/// something.
#[test]
fn a_session_that_is_evicted_while_it_is_resumed_is_not_there() {
    let (undecided, questions) = Undecided::new(2);
    let policy: Arc<dyn Policy> = undecided.clone();
    let (server, address) = start(&policy, |limits| limits.kept_bytes = 64 << 10);
    let mut watcher = watcher(address);
    leave_a_session(address, 100);
    questions.try_iter().count();
    let (mut client, connack) = std::thread::scope(|scope| {
        let returning = scope.spawn(|| connect(address, RESUMING));
        questions.recv().unwrap();
        // Together more than the share of any lane.
        let (mut sender, _) = connect(address, b"\x10\x0d\x00\x04MQTT\x04\x02\x00\x00\x00\x01s");
        for _ in 0..64 {
            let packet = [b"\x32\x85\x08\x00\x01t\x00\x07", &[0; 1_024][..]].concat();
            sender.write_all(&packet).unwrap();
            read(&mut sender);
        }
        undecided.permits.add_permits(2);
        returning.join().unwrap()
    });
    assert_eq!(connack, [0, 0], "session present 0");
    assert_eq!(
        read(&mut watcher),
        b"\x00\x01wbye",
        "the will of the session that has ended"
    );
    // The messages of before are not there, and the new session is as good as any.
    client.write_all(SUBSCRIBE).unwrap();
    assert_eq!(read(&mut client), b"\x00\x01\x00\x01");
    client.write_all(b"\x32\x07\x00\x01t\x00\x07\x00n").unwrap();
    let first = read(&mut client);
    let second = read(&mut client);
    assert!(
        [&first, &second].into_iter().any(|p| p.ends_with(b"n")),
        "{first:?} {second:?}"
    );
    server.shutdown();
}
