//! Limits of a listener, its address, and handshakes that hang.

use crate::hostile::Bystanders;
use roommq_tests::broker::Broker;
use roommq_tests::everywhere::{Everywhere, TRANSPORTS};
use roommq_tests::tls;
use roommq_tests::wire::{Client, Connect, Message, Missing, Packet, Version, property};
use std::cell::Cell;
use std::io::Write;
use std::net::TcpListener;
use std::time::{Duration, Instant};

const TWO: &str = "[[listener]]\nbind = '127.0.0.1:0'\n[[listener]]\nbind = '127.0.0.1:0'\n";

#[test]
fn connections_are_counted_for_each_listener() {
    let server = Broker::listening(&format!("{TWO}connections = 2\n"), &[]);
    let (free, small) = (server.place(0), server.place(1));
    let mut two: Vec<Client> = (0..2)
        .map(|n| Connect::v5(&format!("c{n}")).to(small))
        .collect();
    let properties = Connect::v5("c3").refused(small, 0x89);
    assert!(
        properties.reason().contains("2 connections"),
        "{}",
        properties.reason()
    );
    Connect::v311("c4").refused(small, 3);
    let _others: Vec<Client> = (0..5)
        .map(|n| Connect::v5(&format!("f{n}")).to(free))
        .collect();
    two.pop().unwrap().disconnect(0);
    let deadline = Instant::now() + roommq_tests::PATIENCE;
    while !matches!(
        Connect::v5("c5").attempt(small).1,
        Packet::ConnAck { code: 0, .. }
    ) {
        assert!(
            Instant::now() < deadline,
            "the server accepts no other client"
        );
    }
}

#[test]
fn the_largest_packet_is_that_of_the_listener() {
    let server = Broker::listening(&format!("{TWO}packet_bytes = '1KiB'\n"), &[]);
    for (place, most) in [(0, 1 << 20), (1, 1024)] {
        let (mut client, connack) = Connect::v5("c").attempt(server.place(place));
        let Packet::ConnAck { properties, .. } = connack else {
            panic!("{connack:?}");
        };
        assert_eq!(properties.number(property::MAXIMUM_PACKET_SIZE), Some(most));
        client.start_publish(&Message::new("t", vec![0; 5_000]).qos(1));
        if place == 0 {
            assert!(matches!(client.packet(), Packet::PubAck { .. }));
        } else {
            assert_eq!(client.closed(), Some(0x95));
        }
    }
}

#[test]
fn connections_above_the_rate_are_closed_and_counted() {
    let server = Broker::listening(&format!("{TWO}connect_rate = 5\n"), &[]);
    let outcome = |place: usize| {
        let (mut entered, mut closed) = (Vec::new(), 0);
        for n in 0..25 {
            let mut client = Client::open(server.place(place), Version::V5);
            let sent = client.try_send(&Connect::v5(&format!("c{place}-{n}")).bytes());
            match client.poll(roommq_tests::PATIENCE) {
                Ok(Packet::ConnAck { code: 0, .. }) if sent.is_ok() => entered.push(client),
                Ok(Packet::ConnAck { code: 0, .. }) | Err(Missing::Closed) => closed += 1,
                other => panic!("{other:?}"),
            }
        }
        (entered.len(), closed)
    };
    assert_eq!(outcome(0), (25, 0), "the other has no such limit");
    let started = Instant::now();
    let (entered, closed) = outcome(1);
    let seconds = started.elapsed().as_secs() + 1;
    assert!(
        entered >= 5 && entered <= 5 + 5 * usize::try_from(seconds).unwrap(),
        "{entered}"
    );
    assert!(closed > 0);
    // The log counts all of them, although no further client connects.
    let told = Cell::new(0);
    server.log().line(|line| {
        let is_of_rate = line.contains("more new connections than connect_rate");
        let refused = line.split_once("refused=").filter(|_| is_of_rate);
        told.set(told.get() + refused.map_or(0, |(_, n)| n.trim().parse().unwrap()));
        told.get() >= closed
    });
    assert_eq!(told.get(), closed);
    // The token bucket refills.
    let deadline = Instant::now() + roommq_tests::PATIENCE;
    loop {
        let mut client = Client::open(server.place(1), Version::V5);
        let _ = client.try_send(&Connect::v5("later").bytes());
        if client.poll(roommq_tests::PATIENCE).is_ok() {
            break;
        }
        assert!(Instant::now() < deadline);
    }
}

/// Hundreds of peers stop in the middle of each handshake. They delay no other client, and are closed in time.
#[test]
fn hanging_handshakes_delay_no_other_client() {
    let all = Everywhere::start("[limits]\nconnect_time = '2s'\n");
    let bystanders = Bystanders::talking(all.server.place(0));
    let starts: [&[u8]; 3] = [
        b"",
        // The first bytes of a ClientHello, or of any protocol.
        b"\x16\x03\x01\x02\x00\x01",
        b"GET /mqtt HTTP/1.1\r\nHost: a\r\n",
    ];
    let mut stuck = Vec::new();
    for number in 0..4 {
        for _ in 0..50 {
            for start in starts {
                let mut socket = tls::tcp(all.server.place(number));
                socket.write_all(start).unwrap();
                stuck.push(Client::on(Box::new(socket), Version::V5));
            }
        }
    }
    let started = Instant::now();
    for transport in TRANSPORTS {
        let begun = Instant::now();
        Connect::v5(transport).over(all.dial(transport)).ping();
        assert!(
            begun.elapsed() < Duration::from_secs(2),
            "{transport} took {:?}",
            begun.elapsed()
        );
    }
    for client in &mut stuck {
        let left = client.raw_until_closed();
        assert!(left.len() < 1_000, "an alert or an HTTP answer at the most");
    }
    assert!(started.elapsed() < Duration::from_secs(15));
    bystanders.were_undisturbed();
}

#[test]
fn an_ipv6_listener_accepts_and_displays_its_address() {
    if TcpListener::bind("[::1]:0").is_err() {
        eprintln!("this machine has no ::1");
        return;
    }
    let config = "[log]\nlevel = 'info,roommq_broker=debug'\n[auth]\nanonymous = true\n\
                  [[listener]]\nbind = '[::1]:0'\n[[listener]]\nbind = '[::]:0'\n";
    let server = Broker::listening(config, &[]);
    assert!(server.url(0).starts_with("[::1]:"), "{}", server.url(0));
    Connect::v5("six").to(server.place(0)).ping();
    let line = server
        .log()
        .line(|l| l.contains("six") && l.contains("connected"));
    assert!(line.contains("peer=[::1]:"), "{line}");
    let port = server.place(1).port();
    Connect::v5("any")
        .to(([0, 0, 0, 0, 0, 0, 0, 1], port).into())
        .ping();
    let only = std::fs::read_to_string("/proc/sys/net/ipv6/bindv6only").unwrap_or_default();
    if only.trim() == "0" {
        // All interfaces, for IPv4 too. Peers are displayed as IPv4.
        Connect::v5("four").to(([127, 0, 0, 1], port).into()).ping();
        let line = server
            .log()
            .line(|l| l.contains("four") && l.contains("connected"));
        assert!(line.contains("peer=127.0.0.1:"), "{line}");
    }
}

#[test]
fn localhost_is_both_loopback_addresses_on_one_port() {
    if TcpListener::bind("[::1]:0").is_err() {
        return; // a machine without IPv6
    }
    let server = Broker::listening("[[listener]]\nbind = 'localhost:0'\nconnections = 2\n", &[]);
    let (four, six) = (server.place(0), server.place(1));
    assert_eq!(four.ip().to_string(), "127.0.0.1");
    assert_eq!(
        (six.ip().to_string().as_str(), six.port()),
        ("::1", four.port())
    );
    let mut one = Connect::v5("a").to(four);
    let mut other = Connect::v5("b").to(six);
    one.subscribe("t", 0);
    other.publish(&Message::new("t", "both"));
    assert_eq!(one.message().text(), "both");
    // They are one listener: its limit holds for both together.
    let third = Connect::v5("c").attempt(six).1;
    assert!(
        matches!(third, Packet::ConnAck { code: 0x89, .. }),
        "{third:?}"
    );
}
