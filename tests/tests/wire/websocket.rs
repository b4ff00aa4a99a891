//! MQTT in WebSocket frames (MQTT 5.0, section 6).

use roommq_tests::broker::Broker;
use roommq_tests::tls;
use roommq_tests::wire::{
    BOTH, Connect, Frame, Message, Packet, Stream, Version, WebSocket, upgrade,
};
use std::io::{Read, Write};

const WS: &str = "[[listener]]\nbind = '127.0.0.1:0'\ntransport = 'ws'\n";

fn server() -> Broker {
    Broker::listening(WS, &[])
}

fn open(server: &Broker) -> WebSocket {
    let socket = WebSocket::open(Box::new(tls::tcp(server.address())));
    socket.wait_for(roommq_tests::PATIENCE);
    socket
}

/// CONNECT, SUBSCRIBE, PUBLISH and PINGREQ, and the bytes that must come back.
fn exchange(version: Version) -> (Vec<u8>, Vec<u8>) {
    let message = Message::new("a/b", "hello");
    let mut subscribe = vec![0x82, 8, 0, 1];
    let mut suback = vec![0x90, 3, 0, 1, 0];
    if version == Version::V5 {
        (subscribe[1], suback[1]) = (9, 4);
        subscribe.push(0);
        suback = vec![0x90, 4, 0, 1, 0, 0];
    }
    subscribe.extend(b"\x00\x03a/b\x00");
    let publish = message.bytes(version);
    let sent = [
        &Connect::new(version, "c").bytes()[..],
        &subscribe,
        &publish,
        &[0xC0, 0],
    ];
    (sent.concat(), [&suback[..], &publish, &[0xD0, 0]].concat())
}

/// Reads the CONNACK and then as many bytes as expected. Packets may come in another order.
fn answered(socket: &mut WebSocket, wanted: &[u8]) {
    let mut head = [0; 2];
    socket.read_exact(&mut head).unwrap();
    assert_eq!(head[0], 0x20);
    let mut connack = vec![0; usize::from(head[1])];
    socket.read_exact(&mut connack).unwrap();
    assert_eq!(connack[1], 0, "refused");
    let mut rest = vec![0; wanted.len()];
    socket.read_exact(&mut rest).unwrap();
    let sorted = |bytes: &[u8]| {
        let mut bytes = bytes.to_vec();
        bytes.sort_unstable();
        bytes
    };
    assert_eq!(sorted(&rest), sorted(wanted), "{rest:?}");
}

#[test]
fn packets_may_be_cut_at_every_byte() {
    let server = server();
    for version in BOTH {
        let (sent, wanted) = exchange(version);
        for cut in 1..sent.len() {
            // [MQTT-6.0.0-2]: two messages, cut at any byte.
            let mut socket = open(&server);
            socket.send_raw(
                &[
                    Frame::whole(2, &sent[..cut]).bytes(),
                    Frame::whole(2, &sent[cut..]).bytes(),
                ]
                .concat(),
            );
            answered(&mut socket, &wanted);
        }
        // A message for each byte, and one message in a fragment for each byte, with pings between.
        let mut socket = open(&server);
        let single: Vec<u8> = sent
            .iter()
            .flat_map(|b| Frame::whole(2, &[*b]).bytes())
            .collect();
        socket.send_raw(&single);
        answered(&mut socket, &wanted);
        let mut socket = open(&server);
        for (n, byte) in sent.iter().enumerate() {
            let frame = Frame {
                last: n + 1 == sent.len(),
                opcode: if n == 0 { 2 } else { 0 },
                payload: vec![*byte],
            };
            socket.send_raw(&[frame.bytes(), Frame::whole(9, b"?").bytes()].concat());
        }
        answered(&mut socket, &wanted);
        assert!(
            socket
                .others
                .iter()
                .all(|f| f.opcode == 10 && f.payload == b"?")
        );
    }
}

#[test]
fn one_message_may_hold_many_packets() {
    let server = server();
    let mut socket = open(&server);
    let mut bytes = Connect::v311("c").bytes();
    bytes.extend([0xC0, 0].repeat(10_000));
    socket.write_all(&bytes).unwrap();
    let mut answers = vec![0; 4 + 20_000];
    socket.read_exact(&mut answers).unwrap();
    assert_eq!(&answers[..6], &[0x20, 2, 0, 0, 0xD0, 0]);
}

#[test]
fn a_message_that_is_not_binary_closes_the_connection() {
    let server = server();
    let connected = |version| {
        let mut socket = open(&server);
        socket
            .write_all(&Connect::new(version, "c").bytes())
            .unwrap();
        socket.read_exact(&mut [0; 4]).unwrap();
        socket
    };
    let mut text = connected(Version::V311);
    text.send_raw(&Frame::whole(1, b"hello").bytes());
    // [MQTT-6.0.0-1]
    assert_eq!(text.close_code(), 1003);
    let mut early = open(&server);
    early.send_raw(&Frame::whole(1, b"hello").bytes());
    assert_eq!(early.close_code(), 1003);
    let mut unmasked = connected(Version::V5);
    unmasked.send_raw(&[0x82, 2, 0xC0, 0]);
    assert_eq!(unmasked.close_code(), 1002);
    let mut reserved = connected(Version::V5);
    reserved.send_raw(
        &Frame {
            last: true,
            opcode: 3,
            payload: vec![],
        }
        .bytes(),
    );
    assert_eq!(reserved.close_code(), 1002);
    // The server still works.
    connected(Version::V311);
}

/// An invalid frame may follow a valid packet. The server still reports it.
#[test]
fn an_invalid_frame_behind_a_packet_is_reported() {
    let server = server();
    let mut socket = open(&server);
    socket.write_all(&Connect::v5("c").bytes()).unwrap();
    let mut connack = [0; 2];
    socket.read_exact(&mut connack).unwrap();
    let mut rest = vec![0; connack[1].into()];
    socket.read_exact(&mut rest).unwrap();
    let ping = Frame::whole(2, &[0xC0, 0]).bytes();
    socket.send_raw(&[ping, Frame::whole(1, b"text").bytes()].concat());
    let mut answers = [0; 5];
    socket.read_exact(&mut answers).unwrap();
    assert_eq!((&answers[..3], answers[4]), (&[0xD0, 0, 0xE0][..], 0x82));
    assert_eq!(socket.close_code(), 1003);
}

#[test]
fn a_message_longer_than_any_packet_closes_the_connection() {
    let server = Broker::listening(&format!("{WS}packet_bytes = 1024\n"), &[]);
    let mut socket = open(&server);
    socket.write_all(&Connect::v5("c").bytes()).unwrap();
    // Only the length is sent. The server does not wait for the payload.
    let mut large = Frame::whole(2, &vec![0; 1 << 20]).bytes();
    large.truncate(100);
    socket.send_raw(&large);
    assert_eq!(socket.close_code(), 1009);
    // In fragments, each of which is small enough.
    let mut socket = open(&server);
    socket.write_all(&Connect::v5("c").bytes()).unwrap();
    for n in 0..17 {
        // One fragment more than the limit allows.
        let frame = Frame {
            last: false,
            opcode: if n == 0 { 2 } else { 0 },
            payload: vec![0; 4096],
        };
        socket.send_raw(&frame.bytes());
    }
    assert_eq!(socket.close_code(), 1009);
    // A connected client receives the DISCONNECT for a packet that is too large.
    let mut client = Connect::v5("c").over(Box::new(open(&server)));
    assert!(client.try_send(&vec![0; 66_561]).is_ok());
    let Packet::Disconnect { code, properties } = client.packet() else {
        panic!("no DISCONNECT");
    };
    let reason = properties.reason();
    assert_eq!(code, 0x95, "{reason}");
    assert!(reason.contains("66560 bytes"), "{reason}");
    assert_eq!(client.closed(), None);
}

#[test]
fn a_ping_is_answered_and_does_not_reset_keep_alive() {
    let server = server();
    let mut socket = open(&server);
    socket
        .write_all(&Connect::v311("c").keep_alive(1).bytes())
        .unwrap();
    socket.read_exact(&mut [0; 4]).unwrap();
    socket.send_raw(&Frame::whole(9, b"abc").bytes());
    assert_eq!(socket.frame().unwrap(), Some(Frame::whole(10, b"abc")));
    // Only MQTT packets reset keep-alive [MQTT-3.1.2-24], so a browser's pings do not keep a hanging client connected.
    let started = std::time::Instant::now();
    assert_eq!(socket.close_code(), 1000);
    assert!(started.elapsed().as_secs() < 10);
}

#[test]
fn the_server_pings_an_idle_websocket() {
    let server = Broker::listening(&format!("{WS}ws_ping = '50ms'\n"), &[]);
    let mut client = Connect::v5("c").over(Box::new(open(&server)));
    client.ping();
    let mut socket = open(&server);
    socket.write_all(&Connect::v311("d").bytes()).unwrap();
    socket.read_exact(&mut [0; 4]).unwrap();
    for _ in 0..5 {
        assert_eq!(socket.frame().unwrap(), Some(Frame::whole(9, b"")));
    }
    // Packets go on between the pings, and a pong is no packet.
    socket.send_raw(&Frame::whole(10, b"").bytes());
    for _ in 0..20 {
        socket.write_all(&[0xC0, 0]).unwrap();
        let mut answer = [0; 2];
        socket.read_exact(&mut answer).unwrap();
        assert_eq!(answer, [0xD0, 0]);
    }
    client.ping();
    let shown = |config: &str| {
        let mut command = roommq_tests::program::roommq();
        command
            .args(["config", "check"])
            .arg(server.file("check.toml", config));
        roommq_tests::program::Program::run(&mut command, "").code
    };
    assert_eq!(shown(&format!("{WS}ws_ping = '0s'\n")), Some(0));
    assert_eq!(
        shown("[[listener]]\nbind = '1'\nws_ping = '1s'\n"),
        Some(1),
        "no WebSocket"
    );
}

#[test]
fn a_close_frame_is_answered_and_then_the_server_closes() {
    let server = server();
    let mut socket = open(&server);
    socket.write_all(&Connect::v5("c").bytes()).unwrap();
    socket.write_all(&[0xE0, 0]).unwrap();
    assert_eq!(socket.close_code(), 1000);
    socket.send_raw(&Frame::whole(8, &1000_u16.to_be_bytes()).bytes());
    assert_eq!(socket.frame().unwrap(), None);
    // The client closes first, while messages flow.
    let mut socket = open(&server);
    socket.write_all(&Connect::v5("c").bytes()).unwrap();
    socket.send_raw(&Frame::whole(8, &1001_u16.to_be_bytes()).bytes());
    assert_eq!(socket.close_code(), 1001);
    assert_eq!(socket.frame().unwrap(), None);
}

#[test]
fn invalid_upgrades_are_refused() {
    let server = Broker::listening(
        &format!("{WS}allowed_origins = ['https://a.example']\n"),
        &[],
    );
    let table = [
        ("/mqtt", "Sec-WebSocket-Protocol: mqtt\r\n", "101"),
        ("/mqtt", "Sec-WebSocket-Protocol: foo, mqttv3.1\r\n", "101"),
        ("/mqtt", "Origin: https://a.example\r\n", "101"),
        ("/mqtt", "Sec-WebSocket-Protocol: chat\r\n", "400"),
        ("/mqtt", "Origin: https://b.example\r\n", "403"),
        ("/", "Sec-WebSocket-Protocol: mqtt\r\n", "404"),
        ("/mqtt/", "Sec-WebSocket-Protocol: mqtt\r\n", "404"),
    ];
    for (path, more, status) in table {
        let mut socket = tls::tcp(server.address());
        let (answer, mut rest) = upgrade(&mut socket, path, more);
        assert!(
            answer.starts_with(&format!("HTTP/1.1 {status} ")),
            "{path} {more}: {answer}"
        );
        if status != "101" {
            socket.read_to_end(&mut rest).unwrap();
            assert!(!rest.is_empty(), "a text with the reason");
        }
    }
    // MQTT without a WebSocket.
    let mut plain = tls::tcp(server.address());
    plain.write_all(&Connect::v311("c").bytes()).unwrap();
    plain.write_all(b"\r\n\r\n").unwrap();
    let mut answer = Vec::new();
    plain.read_to_end(&mut answer).unwrap();
    assert!(answer.starts_with(b"HTTP/1.1 400 "), "{answer:?}");
}

#[test]
fn another_path_can_be_set_and_bytes_behind_the_request_are_read() {
    let server = Broker::listening(&format!("{WS}ws_path = '/'\n"), &[]);
    let mut socket = tls::tcp(server.address());
    let early = Frame::whole(2, &Connect::v311("c").bytes()).bytes();
    // Request and first frame in one write.
    let mut request = b"GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                        Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        .to_vec();
    request.extend(early);
    socket.write_all(&request).unwrap();
    let mut all = Vec::new();
    let mut chunk = [0; 1024];
    while !all.ends_with(&[0x82, 4, 0x20, 2, 0, 0]) {
        let n = socket.read(&mut chunk).unwrap();
        assert!(n > 0, "{all:?}");
        all.extend(&chunk[..n]);
    }
}

#[test]
fn several_paths_or_all_can_be_served() {
    let server = |paths: &str| Broker::listening(&format!("{WS}ws_path = {paths}\n"), &[]);
    let mqtt = "Sec-WebSocket-Protocol: mqtt\r\n";
    let status = |server: &Broker, path: &str| {
        let (answer, _) = upgrade(&mut tls::tcp(server.address()), path, mqtt);
        answer[9..12].to_owned()
    };
    let two = server("['/mqtt', '/ws']");
    assert_eq!(
        ["/mqtt", "/ws", "/"].map(|path| status(&two, path)),
        ["101", "101", "404"]
    );
    let all = server("'*'");
    assert_eq!(
        ["/mqtt", "/", "/a/b?c"].map(|path| status(&all, path)),
        ["101"; 3]
    );
    // Cookies and tokens of a site may make the headers large.
    let large = format!("{mqtt}Cookie: {}\r\n", "x".repeat(15_000));
    let (answer, _) = upgrade(&mut tls::tcp(all.address()), "/", &large);
    assert!(answer.starts_with("HTTP/1.1 101 "), "{answer}");
}

#[test]
fn log_lines_of_refused_upgrades_name_what_was_asked_for() {
    let origins = "allowed_origins = ['https://a.example']\n";
    let server = Broker::listening(&format!("{WS}{origins}"), &[]);
    for (path, more, part) in [
        ("/chat", "", "the path was \"/chat"),
        (
            "/mqtt",
            "Origin: https://b.example\r\n",
            "the origin was \"https://b.example\"",
        ),
        (
            "/mqtt",
            "Sec-WebSocket-Protocol: wamp\r\n",
            "the subprotocol was \"wamp\"",
        ),
    ] {
        upgrade(&mut tls::tcp(server.address()), path, more);
        server
            .log()
            .line(|line| line.contains("handshake failed") && line.contains(part));
    }
}

#[test]
fn a_refusing_connack_is_sent_in_a_frame() {
    let server = Broker::listening(&format!("{WS}connections = 1\n"), &[]);
    let first = Connect::v5("a").over(Box::new(open(&server)));
    let (mut second, connack) = Connect::v5("b").attempt_over(Box::new(open(&server)));
    assert!(
        matches!(connack, Packet::ConnAck { code: 0x89, .. }),
        "{connack:?}"
    );
    assert_eq!(second.closed(), None);
    drop(first);
}

/// A message may have any number of fragments, but must be complete in time.
#[test]
fn a_partial_message_times_out() {
    let config = format!("{WS}[limits]\npacket_time = '500ms'\n");
    let server = Broker::listening(&config, &[]);
    let connected = |id| {
        let mut socket = open(&server);
        socket
            .write_all(&Connect::new(Version::V311, id).bytes())
            .unwrap();
        let mut connack = [0; 4];
        socket.read_exact(&mut connack).unwrap();
        assert_eq!(connack, [0x20, 2, 0, 0]);
        socket
    };
    let fragment = |opcode, last, payload: &[u8]| {
        let payload = payload.to_vec();
        Frame {
            last,
            opcode,
            payload,
        }
        .bytes()
    };
    let ping = [0xC0, 0];
    let begun = [
        fragment(2, false, &ping[..1]),
        fragment(2, false, &[]),
        Frame::whole(2, &ping).bytes()[..7].to_vec(),
        [fragment(2, false, &ping), Frame::whole(9, b"").bytes()].concat(),
    ];
    for bytes in begun {
        let mut socket = connected("c");
        socket.send_raw(&bytes);
        assert_eq!(socket.close_code(), 1000, "{bytes:x?}");
    }
    // Complete messages and control frames cause no timeout. Keep-alive is 0 here.
    let mut socket = connected("c");
    socket.send_raw(&fragment(2, false, &ping[..1]));
    socket.send_raw(&fragment(0, true, &ping[1..]));
    let mut answer = [0; 2];
    socket.read_exact(&mut answer).unwrap();
    let control = Frame::whole(9, b"still there?").bytes();
    socket.send_raw(&control[..5]);
    // A packet of another client, which has begun later, times out too.
    let mut late = connected("late");
    late.send_raw(&fragment(2, false, &ping[..1]));
    assert_eq!(late.close_code(), 1000);
    socket.send_raw(&control[5..]);
    socket.write_all(&ping).unwrap();
    socket.read_exact(&mut answer).unwrap();
    assert_eq!(answer, [0xD0, 0]);
}
