//! A SUBSCRIBE or UNSUBSCRIBE with thousands of filters does not block the other connections of its thread.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use parking_lot::Mutex;
use roommq_broker::packet::{TopicFilter, TopicName};
use roommq_broker::policy::{
    Actor, AllowAll, Attempt, BoxFuture, ConnectRequest, HookContext, LaneHook, LaneHooks, Message,
    Notice, Policy, Principal, PublishPermit, Refusal, Request, RestoreError, SubscribeGrant,
    Verdict, WallTime,
};
use roommq_broker::{Options, Server};
use roommq_config::{Endpoint, Settings};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::Duration;

const FILTERS: usize = 10_000;

/// A stage that the filters of a packet pass. The first filter stops the thread until the test has written a message of
/// another client.
struct Stage {
    /// Filters that have passed the stage.
    filters: AtomicUsize,
    /// Filters that had passed when the message came.
    before_message: AtomicUsize,
    begun: SyncSender<()>,
    written: Mutex<Receiver<()>>,
}

impl Stage {
    fn new() -> (Arc<Stage>, Receiver<()>, SyncSender<()>) {
        let ((begun, has_begun), (has_written, written)) = (sync_channel(1), sync_channel(1));
        let stage = Stage {
            filters: AtomicUsize::new(0),
            before_message: AtomicUsize::new(usize::MAX),
            begun,
            written: Mutex::new(written),
        };
        (Arc::new(stage), has_begun, has_written)
    }

    fn pass(&self, filters: usize) {
        if self.filters.fetch_add(filters, Ordering::SeqCst) == 0 {
            self.begun.send(()).unwrap();
            self.written.lock().recv().unwrap();
        }
    }

    fn message(&self) {
        let so_far = self.filters.load(Ordering::SeqCst);
        self.before_message.store(so_far, Ordering::SeqCst);
    }

    fn before_message(&self) -> usize {
        self.before_message.load(Ordering::SeqCst)
    }
}

struct Judged(Arc<Stage>, Arc<Stage>);

impl Policy for Judged {
    fn connect(&self, request: ConnectRequest) -> BoxFuture<'_, Result<Principal, Refusal>> {
        AllowAll.connect(request)
    }

    fn resolve(&self, who: &Principal, filter: &TopicFilter) -> TopicFilter {
        self.1.pass(1);
        AllowAll.resolve(who, filter)
    }

    fn subscribe<'a>(
        &'a self,
        who: &'a Principal,
        filter: &'a TopicFilter,
    ) -> BoxFuture<'a, Result<SubscribeGrant, Refusal>> {
        self.0.pass(1);
        AllowAll.subscribe(who, filter)
    }

    fn publish(
        &self,
        who: &Principal,
        topic: &TopicName,
        retain: bool,
    ) -> Result<PublishPermit, Refusal> {
        match topic.as_str() {
            "1" => self.0.message(),
            "3" => self.1.message(),
            _ => {}
        }
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

#[derive(Clone)]
struct Applied(Arc<Stage>, Arc<Stage>);

impl LaneHooks for Applied {
    fn open(&self, _: u16) -> Box<dyn LaneHook> {
        Box::new(self.clone())
    }
}

impl LaneHook for Applied {
    fn judge(
        &mut self,
        cx: &mut HookContext<'_>,
        who: Actor<'_>,
        requests: &[Request<'_>],
    ) -> Vec<Result<(), Refusal>> {
        self.0.pass(requests.len());
        AllowAll.judge(cx, who, requests)
    }

    fn publish(
        &mut self,
        cx: &mut HookContext<'_>,
        who: Actor<'_>,
        message: Message<'_>,
    ) -> Result<Verdict, Refusal> {
        match message.topic {
            "2" => self.0.message(),
            "4" => self.1.message(),
            _ => {}
        }
        LaneHook::publish(&mut AllowAll, cx, who, message)
    }

    fn unsubscribed(&mut self, _: &mut HookContext<'_>, _: Actor<'_>, filters: &[&str]) {
        self.1.pass(filters.len());
    }

    fn may_see(&self, who: Actor<'_>, topic: &str) -> bool {
        AllowAll.may_see(who, topic)
    }
    fn snapshot(&self, _: &mut Vec<u8>) -> u16 {
        0
    }
    fn restore(&mut self, _: u16, _: &[u8]) -> Result<(), RestoreError> {
        Ok(())
    }
}

fn connect(server: SocketAddr, id: u8) -> TcpStream {
    let mut client = TcpStream::connect(server).unwrap();
    client
        .set_read_timeout(Some(Duration::from_secs(20)))
        .unwrap();
    let mut packet = b"\x10\x0d\x00\x04MQTT\x04\x02\x00\x00\x00\x01".to_vec();
    packet.push(id);
    client.write_all(&packet).unwrap();
    let mut connack = [0; 4];
    client.read_exact(&mut connack).unwrap();
    assert_eq!(connack, [0x20, 2, 0, 0]);
    client
}

/// A SUBSCRIBE to filters of four digits, all with QoS 0. The topics of the messages have one digit.
fn subscribe() -> Vec<u8> {
    request(0x82, "\0")
}

fn unsubscribe() -> Vec<u8> {
    request(0xA2, "")
}

fn request(first: u8, options: &str) -> Vec<u8> {
    let length = 2 + FILTERS * (6 + options.len());
    let low = |n: usize| u8::try_from(n & 0x7F).unwrap();
    let mut packet = vec![
        first,
        low(length) | 0x80,
        low(length >> 7) | 0x80,
        low(length >> 14),
        0,
        1,
    ];
    for n in 0..FILTERS {
        packet.extend([0, 4]);
        packet.extend(format!("{n:04}{options}").bytes());
    }
    packet
}

#[test]
fn other_clients_are_served_between_the_filters_of_one_packet() {
    let settings = Settings::default();
    let mut listeners = settings.listeners;
    for listener in &mut listeners {
        listener.at = Endpoint::Address(([127, 0, 0, 1], 0).into());
    }
    let (mut lanes, mut limits) = (settings.lanes, settings.limits);
    (lanes.count, lanes.io_threads) = (1, 1);
    limits.subscriptions = FILTERS;
    let options = Options {
        listeners,
        limits,
        lanes,
        sys_interval: Duration::ZERO,
    };
    let (judged, first, go_on) = Stage::new();
    let (applied, second, then) = Stage::new();
    let (resolved, third, after) = Stage::new();
    let (removed, fourth, last) = Stage::new();
    let policy: Arc<dyn Policy> = Arc::new(Judged(judged.clone(), resolved.clone()));
    let hooks = Applied(applied.clone(), removed.clone());
    let server = Server::start(options, &policy, &hooks).unwrap();
    let address = server.listening()[0].plain().unwrap();
    let (mut many, mut other) = (connect(address, b'a'), connect(address, b'b'));
    let mut ask = |mut many: TcpStream, packet: Vec<u8>, stages: [_; 2]| {
        let asking = std::thread::spawn(move || {
            many.write_all(&packet).unwrap();
            many
        });
        let stages: [(Receiver<()>, SyncSender<()>, u8); 2] = stages;
        for (begun, written, topic) in stages {
            begun.recv_timeout(Duration::from_secs(20)).unwrap();
            let publish = [0x30, 4, 0, 1, topic, b'x'];
            other.write_all(&publish).unwrap();
            written.send(()).unwrap();
        }
        asking.join().unwrap()
    };
    many = ask(
        many,
        subscribe(),
        [(first, go_on, b'1'), (second, then, b'2')],
    );
    let mut suback = vec![1; 5 + FILTERS];
    many.read_exact(&mut suback).unwrap();
    assert_eq!(suback[..5], [0x90, 0x92, 0x4E, 0, 1]);
    assert!(
        suback[5..].iter().all(|code| *code == 0),
        "one SUBACK with all codes"
    );
    let stages = [(third, after, b'3'), (fourth, last, b'4')];
    many = ask(many, unsubscribe(), stages);
    let mut unsuback = [0; 4];
    many.read_exact(&mut unsuback).unwrap();
    assert_eq!(unsuback, [0xB0, 2, 0, 1], "one UNSUBACK");
    for (stage, name) in [
        (judged, "the policy"),
        (applied, "the lane"),
        (resolved, "the policy that resolves filters"),
        (removed, "the lane that removes filters"),
    ] {
        // The test expects no certain number, since the system may deliver the message late.
        assert!(
            stage.before_message() < FILTERS,
            "all filters passed {name} first"
        );
    }
    server.shutdown();
}
