//! A connection whose task panics: a fault of the server's own, which must cost that client only.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use roommq_broker::packet::{TopicFilter, TopicName};
use roommq_broker::policy::{
    AllowAll, Attempt, BoxFuture, ConnectRequest, Notice, Policy, Principal, PublishPermit,
    Refusal, SubscribeGrant,
};
use roommq_broker::{Options, Server};
use roommq_config::{Endpoint, Settings};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

/// Panics where a client publishes to `panic`.
struct Faulty;

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
        assert!(topic.as_str() != "panic", "a fault, on purpose");
        AllowAll.publish(who, topic, retain)
    }

    fn notice(&self, _: &Principal, _: Attempt<'_>, _: &Refusal, _: u64) -> Option<Notice> {
        None
    }
}

/// A 3.1.1 client that keeps its session.
fn connect(server: SocketAddr) -> TcpStream {
    let mut client = TcpStream::connect(server).unwrap();
    client
        .set_read_timeout(Some(Duration::from_secs(20)))
        .unwrap();
    client
        .write_all(b"\x10\x0d\x00\x04MQTT\x04\x00\x00\x00\x00\x01a")
        .unwrap();
    let mut connack = [0; 4];
    client.read_exact(&mut connack).unwrap();
    assert_eq!(connack, [0x20, 2, 0, 0], "no session is left either");
    client
}

#[test]
fn its_client_id_is_free_again() {
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
    let policy: Arc<dyn Policy> = Arc::new(Faulty);
    let server = Server::start(options, &policy, &AllowAll).unwrap();
    let address = server.listening()[0].plain().unwrap();
    for _ in 0..3 {
        let mut client = connect(address);
        client.write_all(b"\x82\x06\x00\x01\x00\x01t\x01").unwrap();
        let mut suback = [0; 5];
        client.read_exact(&mut suback).unwrap();
        client.write_all(b"\x30\x07\x00\x05panic").unwrap();
        assert_eq!(client.read(&mut [0]).unwrap_or(0), 0, "closed");
    }
    drop(connect(address));
    server.shutdown();
}
