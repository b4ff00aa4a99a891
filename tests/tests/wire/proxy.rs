//! The PROXY header, which precedes all other bytes.

use roommq_tests::broker::Broker;
use roommq_tests::tls::{self, Authority};
use roommq_tests::wire::{Client, Connect, Missing, Stream, Version, WebSocket};
use std::io::Write;
use std::net::TcpStream;
use std::time::Duration;

const PROXY: &str = "[log]\nlevel = 'info,roommq_broker=debug'\n\
                     [[listener]]\nbind = '127.0.0.1:0'\nproxy_protocol = true\nhandshake_time = '700ms'\n";

/// Version 2, IPv4, from 203.0.113.9:4660, with a TLV behind the addresses.
const V2: &[u8] =
    b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x11\xCB\0\x71\x09\x7F\0\0\x01\x12\x34\0\x50\x04\0\x02xx";

/// Version 2, LOCAL: a health check of the proxy itself.
const LOCAL: &[u8] = b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0";

fn behind(server: &Broker, header: &[u8]) -> TcpStream {
    let mut socket = tls::tcp(server.address());
    socket.write_all(header).unwrap();
    socket
}

#[test]
fn the_address_in_the_proxy_header_is_the_peer() {
    let server = Broker::listening(PROXY, &[]);
    let table: [(&[u8], &str); 5] = [
        (
            b"PROXY TCP4 203.0.113.7 127.0.0.1 5555 1883\r\n",
            "peer=203.0.113.7:5555",
        ),
        (
            b"PROXY TCP6 2001:db8::1 ::1 5555 1883\r\n",
            "peer=[2001:db8::1]:5555",
        ),
        (V2, "peer=203.0.113.9:4660"),
        (b"PROXY UNKNOWN\r\n", "peer=127.0.0.1:"),
        (LOCAL, "peer=127.0.0.1:"),
    ];
    for (n, (header, peer)) in table.into_iter().enumerate() {
        let id = format!("client-{n}");
        let mut client = Connect::v5(&id).over(Box::new(behind(&server, header)));
        client.ping();
        let line = server
            .log()
            .line(|l| l.contains(&id) && l.contains("connected"));
        assert!(line.contains(peer), "{line}");
    }
    // In one write with the packets after it, and byte by byte.
    let bytes = [V2, &Connect::v311("whole").bytes()].concat();
    for whole in [true, false] {
        let mut socket = behind(&server, b"");
        if whole {
            socket.write_all(&bytes).unwrap();
        } else {
            for byte in &bytes {
                socket.write_all(&[*byte]).unwrap();
            }
        }
        let mut client = Client::on(Box::new(socket), Version::V311);
        client.packet();
        client.ping();
    }
}

#[test]
fn connections_without_a_valid_proxy_header_are_closed() {
    let server = Broker::listening(PROXY, &[]);
    let connect = Connect::v5("c").bytes();
    let table: [&[u8]; 5] = [
        b"",
        b"PROXY TCP4 1.2.3.4.5 127.0.0.1 1 2\r\n",
        b"PROXY TCP4 1.2.3.4 127.0.0.1 1 2 and so on and on and on and on and on and on and on and on and on and on and on and on",
        b"\r\n\r\n\0\r\nQUIT\n\x31\x11\0\x0C\0\0\0\0\0\0\0\0\0\0\0\0",
        b"\r\n\r\n\0\r\nQUIT\n\x21\x11\xFF\xFF",
    ];
    for header in table {
        let mut socket = behind(&server, header);
        let _ = socket.write_all(&connect);
        let mut client = Client::on(Box::new(socket), Version::V5);
        assert_eq!(
            client.poll(roommq_tests::PATIENCE),
            Err(Missing::Closed),
            "{header:?}"
        );
    }
    server.log().line_with("PROXY header: missing");
    server
        .log()
        .line_with("PROXY header: longer than 107 bytes");
    server
        .log()
        .line_with("PROXY header: longer than 4096 bytes");
}

#[test]
fn a_hanging_proxy_header_times_out_and_delays_no_other() {
    let server = Broker::listening(PROXY, &[]);
    let mut stuck = Client::on(Box::new(behind(&server, b"PROXY TCP4 1.2.")), Version::V5);
    let mut good = Connect::v5("good").over(Box::new(behind(&server, V2)));
    good.ping();
    assert_eq!(stuck.poll(roommq_tests::PATIENCE), Err(Missing::Closed));
    server.log().line_with("no handshake within 700ms");
    good.ping();
    assert_eq!(good.poll(Duration::from_millis(1)), Err(Missing::Late));
}

#[test]
fn the_proxy_header_precedes_tls_and_websocket() {
    let authority = Authority::new();
    let identity = authority.server();
    let config = PROXY.replace(
        "proxy_protocol",
        "transport = 'wss'\ncertificate = 's.pem'\nkey = 's.key'\nproxy_protocol",
    );
    let files = [("s.pem", &*identity.certificate), ("s.key", &*identity.key)];
    let server = Broker::listening(&config, &files);
    let trust = authority.trusted_by(None);
    let stream: Box<dyn Stream> = tls::on(behind(&server, V2), &trust);
    Connect::v5("inside")
        .over(Box::new(WebSocket::open(stream)))
        .ping();
    let line = server
        .log()
        .line(|l| l.contains("inside") && l.contains("connected"));
    assert!(line.contains("peer=203.0.113.9:4660"), "{line}");
}

#[test]
fn only_trusted_proxies_are_believed() {
    let trusting =
        |networks: &str| Broker::listening(&format!("{PROXY}trusted_proxies = {networks}\n"), &[]);
    let server = trusting("['192.0.2.0/24', '127.0.0.0/8']");
    Connect::v311("behind")
        .over(Box::new(behind(&server, V2)))
        .ping();
    let server = trusting("'192.0.2.0/24'");
    for version in [Version::V311, Version::V5] {
        let mut client = Client::on(Box::new(behind(&server, V2)), version);
        assert_eq!(client.closed(), None);
        let line = server.log().line_with("trusted_proxies");
        assert!(line.contains("peer=127.0.0.1:"), "{line}");
    }
}
