//! Memory for messages that wait for many offline sessions.

use roommq_tests::broker::Broker;
use roommq_tests::wire::{Client, Connect, Message, Value, property};
use std::thread;

const SESSIONS: usize = 10_000;
const MESSAGES: usize = 100;
const PAYLOAD: usize = 10 << 10;
const THREADS: usize = 4;

fn resident_bytes(process: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    let line = status.lines().find(|l| l.starts_with("VmRSS")).unwrap();
    let kilobytes: u64 = line.split_whitespace().nth(1).unwrap().parse().unwrap();
    kilobytes * 1024
}

fn session(server: &Broker, n: usize) -> Client {
    let expiry = Value::Four(3600);
    let connect = Connect::v5(&format!("s{n}")).clean(false);
    let connect = connect.property(property::SESSION_EXPIRY, expiry);
    connect.to(server.address())
}

/// Calls `of` for the number of each session, on several threads.
fn for_all_sessions(of: impl Fn(usize) + Sync) {
    let of = &of;
    thread::scope(|scope| {
        for first in 0..THREADS {
            scope.spawn(move || (first..SESSIONS).step_by(THREADS).for_each(of));
        }
    });
}

/// A message that waits for 10,000 sessions is in memory once.
#[test]
fn a_message_that_waits_for_many_sessions_is_stored_once() {
    let server = Broker::start();
    for_all_sessions(|n| {
        let mut client = session(&server, n);
        assert_eq!(client.subscribe("news", 1), 1);
        client.disconnect(0);
    });
    let before = resident_bytes(server.id());
    let mut sender = Connect::v5("sender").to(server.address());
    for n in 0..MESSAGES {
        let payload = format!("{n:0PAYLOAD$}");
        sender.publish(&Message::new("news", payload).qos(1));
    }
    let grown = resident_bytes(server.id()).saturating_sub(before);
    assert!(grown < 60 << 20, "{} MiB more", grown >> 20);
    for_all_sessions(|n| {
        let mut client = session(&server, n);
        for expected in 0..MESSAGES {
            let message = client.message();
            assert_eq!(message.payload.len(), PAYLOAD);
            assert_eq!(message.text().parse(), Ok(expected), "session {n}");
        }
        client.disconnect(0);
    });
}
