//! The shutdown of a server.

use roommq_tests::broker::Broker;
use roommq_tests::wire::{Connect, Message, Packet, Version};
use std::thread;

/// Publishes `count` messages to a receiver that reads only after SIGTERM.
fn delivered_after_sigterm(receiver: &Connect, code: Option<u8>, count: usize, bytes: usize) {
    let server = Broker::start();
    let mut receiver = receiver.to(server.address());
    receiver.subscribe("rooms/lobby/t", 1);
    let mut sender = Connect::v5("sender").to(server.address());
    let text = |n: usize| format!("{n:0bytes$}");
    for chunk in (0..count).collect::<Vec<_>>().chunks(100) {
        let ids: Vec<u16> = chunk
            .iter()
            .map(|n| sender.start_publish(&Message::new("rooms/lobby/t", text(*n)).qos(1)))
            .collect();
        for id in ids {
            assert_eq!(sender.puback(id).0 & 0x80, 0);
        }
    }
    server.terminate();
    for n in 0..count {
        assert_eq!(receiver.message().text(), text(n));
    }
    assert_eq!(receiver.closed(), code);
    assert_eq!(sender.closed(), Some(0x8B));
    let finished = server.finish();
    assert_eq!(finished.code, Some(0), "{}", finished.stderr);
}

#[test]
fn acknowledged_messages_are_delivered_before_shutdown() {
    delivered_after_sigterm(&Connect::v311("r"), None, 500, 10);
    delivered_after_sigterm(&Connect::v5("r"), Some(0x8B), 500, 10);
}

#[test]
fn messages_that_fill_the_sockets_are_delivered_before_shutdown() {
    delivered_after_sigterm(&Connect::v311("r"), None, 900, 4_000);
    delivered_after_sigterm(&Connect::v5("r"), Some(0x8B), 900, 4_000);
}

#[test]
fn messages_that_wait_for_the_receive_maximum_are_delivered_before_shutdown() {
    let narrow = Connect::v5("r").receive_maximum(10);
    delivered_after_sigterm(&narrow, Some(0x8B), 500, 10);
}

#[test]
fn a_shutdown_under_load_loses_no_acknowledged_message() {
    let server = Broker::start();
    let address = server.address();
    let mut receiver = Connect::v311("r").to(address);
    receiver.subscribe("rooms/lobby/t", 1);
    let sender = thread::spawn(move || {
        let mut sender = Connect::v5("s").to(address);
        let mut acknowledged = 0;
        for n in 0..60_000 {
            let mut message = Message::new("rooms/lobby/t", n.to_string()).qos(1);
            message.id = sender.packet_id();
            if sender.try_send(&message.bytes(Version::V5)).is_err() {
                break;
            }
            match sender.poll(roommq_tests::PATIENCE) {
                Ok(Packet::PubAck { .. }) => acknowledged = n + 1,
                _ => break,
            }
        }
        acknowledged
    });
    // The load is well under way.
    for _ in 0..200 {
        receiver.message();
    }
    server.terminate();
    let mut heard = 200;
    while let Ok(Packet::Publish(message)) = receiver.poll(roommq_tests::PATIENCE) {
        assert_eq!(message.text(), heard.to_string());
        heard += 1;
    }
    let acknowledged = sender.join().unwrap();
    assert!(heard >= acknowledged, "{heard} of {acknowledged}");
    assert_eq!(server.finish().code, Some(0));
}

#[test]
fn a_peer_that_does_not_read_cannot_delay_the_shutdown() {
    let server = Broker::with("[limits]\nshutdown_time = \"1s\"\n");
    let mut stuck = Connect::v5("stuck").to(server.address());
    stuck.subscribe("rooms/busy/t", 0);
    let mut sender = Connect::v5("s").to(server.address());
    for _ in 0..300 {
        sender.publish(&Message::new("rooms/busy/t", vec![7; 16_000]).qos(1));
    }
    let started = std::time::Instant::now();
    server.terminate();
    assert_eq!(server.finish().code, Some(0));
    assert!(started.elapsed() < std::time::Duration::from_secs(15));
}

#[test]
fn sigint_shuts_down_in_order() {
    let server = Broker::start();
    let mut client = Connect::v5("a").to(server.address());
    server.interrupt();
    assert_eq!(client.closed(), Some(0x8B));
    assert_eq!(server.finish().code, Some(0));
}

/// GNU `timeout` signals its child, and then the group of both.
#[test]
fn a_second_sigterm_within_a_second_does_not_end_the_shutdown() {
    let server = Broker::start();
    let mut slow = Connect::v5("slow").to(server.address());
    slow.subscribe("rooms/lobby/t", 1);
    let mut sender = Connect::v5("s").to(server.address());
    for _ in 0..900 {
        sender.publish(&Message::new("rooms/lobby/t", vec![7; 4_000]).qos(1));
    }
    server.terminate();
    assert_eq!(sender.closed(), Some(0x8B), "the first one is handled");
    server.terminate();
    server.interrupt();
    for _ in 0..900 {
        assert_eq!(slow.message().payload.len(), 4_000);
    }
    assert_eq!(slow.closed(), Some(0x8B));
    let finished = server.finish();
    assert_eq!(finished.code, Some(0), "{}", finished.stderr);
}

#[test]
fn sigusr1_and_sigusr2_do_not_end_the_server() {
    let server = Broker::start();
    for (signal, name) in [
        (rustix::process::Signal::USR1, "SIGUSR1"),
        (rustix::process::Signal::USR2, "SIGUSR2"),
        (rustix::process::Signal::XFSZ, "SIGXFSZ"),
    ] {
        server.signal(signal);
        server.log().line_with(name);
    }
    Connect::v5("a").to(server.address());
}

#[test]
fn a_second_server_on_the_same_port_reports_the_conflict() {
    let server = Broker::start();
    let address = server.address().to_string();
    let mut command = roommq_tests::program::roommq();
    command.args(["serve", "--listen", &address]);
    let second = roommq_tests::program::Program::run(&mut command, "");
    assert_eq!(second.code, Some(1));
    assert!(second.stderr.contains(&address), "{}", second.stderr);
}
