//! Behaviour that is the same on every transport.

use roommq_tests::broker::Broker;
use roommq_tests::everywhere::{Everywhere, TRANSPORTS};
use roommq_tests::tls::{self, Authority, Identity};
use roommq_tests::wire::{BOTH, Connect, Message, Packet};
use std::io::{Read, Write};
use std::thread;

#[test]
fn the_server_prints_the_address_of_each_transport() {
    let all = Everywhere::start("");
    let urls: Vec<&str> = (0..5).map(|n| all.server.url(n)).collect();
    let starts = [
        "127.0.0.1:",
        "tls://127.0.0.1:",
        "ws://127.0.0.1:",
        "wss://127.0.0.1:",
        "unix:/",
    ];
    for (url, start) in urls.iter().zip(starts) {
        assert!(url.starts_with(start), "{url}");
    }
    assert!(
        urls[2].ends_with("/mqtt") && urls[4].ends_with("/mqtt.sock"),
        "{urls:?}"
    );
}

#[test]
fn all_versions_and_qos_from_any_transport_to_any_other() {
    let all = Everywhere::start("");
    for (n, transport) in TRANSPORTS.iter().enumerate() {
        for version in BOTH {
            let id = format!("{transport}-{version:?}");
            let mut hearer = Connect::new(version, &id).over(all.dial(transport));
            let other = TRANSPORTS[(n + 1) % TRANSPORTS.len()];
            let mut speaker = Connect::new(version, "speaker").over(all.dial(other));
            assert_eq!(hearer.subscribe("rooms/lobby/t", 2), 2, "{id}");
            for qos in 0..3 {
                let message = Message::new("rooms/lobby/t", format!("{id} {qos}")).qos(qos);
                assert_eq!(speaker.publish(&message).0, 0);
                let heard = hearer.message();
                assert_eq!((heard.text(), heard.qos), (&*format!("{id} {qos}"), qos));
            }
            hearer.ping();
            hearer.unsubscribe("rooms/lobby/t");
            hearer.disconnect(0);
            speaker.disconnect(0);
        }
    }
}

#[test]
fn a_megabyte_arrives_as_it_was_sent() {
    let all = Everywhere::start("[limits]\npacket_bytes = '2MiB'\n");
    let payload: Vec<u8> = (0..1 << 20)
        .map(|n: u32| n.to_le_bytes()[1] ^ n.to_le_bytes()[0])
        .collect();
    for transport in TRANSPORTS {
        let mut client = Connect::v5("c").over(all.dial(transport));
        client.subscribe("large/t", 1);
        for qos in [0, 1] {
            client.start_publish(&Message::new("large/t", &payload).qos(qos));
            let heard = client.messages_where_until(|_| true).remove(0);
            assert!(
                heard.payload == payload,
                "{transport}, {} bytes",
                heard.payload.len()
            );
        }
    }
}

#[test]
fn many_messages_at_once_arrive_completely_and_in_order() {
    const MANY: usize = 5_000;
    let all = Everywhere::start("");
    for transport in TRANSPORTS {
        let mut hearer = Connect::v311("h").over(all.dial(transport));
        hearer.subscribe("many/t", 0);
        let mut speaker = Connect::v311("s").over(all.dial(transport));
        let message = |n: usize| Message::new("many/t", format!("{n:090}"));
        let bytes: Vec<u8> = (0..MANY)
            .flat_map(|n| message(n).bytes(roommq_tests::wire::Version::V311))
            .collect();
        let sender = thread::spawn(move || {
            speaker.send(&bytes);
            speaker
        });
        for n in 0..MANY {
            assert_eq!(hearer.message().text(), format!("{n:090}"), "{transport}");
        }
        drop(sender.join().unwrap());
    }
}

#[test]
fn every_transport_delivers_the_servers_disconnect() {
    let all = Everywhere::start("");
    let mut clients = Vec::new();
    for transport in TRANSPORTS {
        for version in BOTH {
            let id = format!("{transport}-{version:?}");
            let client = Connect::new(version, &id).over(all.dial(transport));
            let told = (version == roommq_tests::wire::Version::V5).then_some(0x8B);
            clients.push((id, client, told));
        }
    }
    let path = all.server.url(4).strip_prefix("unix:").unwrap().to_owned();
    assert!(std::path::Path::new(&path).exists());
    all.server.terminate();
    for (id, client, told) in &mut clients {
        assert_eq!(client.closed(), *told, "{id}");
    }
    drop(clients);
    let finished = all.server.finish();
    assert_eq!(finished.code, Some(0), "{}", finished.stderr);
    assert!(
        !std::path::Path::new(&path).exists(),
        "the socket's file is removed"
    );
}

#[test]
fn every_transport_delivers_the_last_packet_before_a_close() {
    let all = Everywhere::start("");
    for transport in TRANSPORTS {
        // Another connection takes over the client id.
        let mut first = Connect::v5("same").over(all.dial(transport));
        let second = Connect::v5("same").over(all.dial(transport));
        assert_eq!(first.closed(), Some(0x8E), "{transport}");
        drop(second);
        // A protocol error, with more bytes behind it.
        let mut client = Connect::v5("wrong").over(all.dial(transport));
        client.send(&[0x10, 0, 0xC0, 0, 0xC0, 0]);
        let told = client.closed();
        assert!(
            told.is_some_and(|code| code >= 0x80),
            "{transport}: {told:?}"
        );
        // A refused CONNECT: 0x8C, since the server does not support the method.
        let connect =
            Connect::v5("x").property(0x15, roommq_tests::wire::Value::Text("none".to_owned()));
        let (mut client, connack) = connect.attempt_over(all.dial(transport));
        assert!(
            matches!(connack, Packet::ConnAck { code: 0x8C, .. }),
            "{transport}: {connack:?}"
        );
        assert_eq!(client.closed(), None);
    }
}

/// The server stops and closes a client that does not read. Other clients do not notice.
#[test]
fn every_transport_stops_a_slow_reader() {
    let all = Everywhere::start(
        "[limits]\nwrite_stall = '1s'\noutbox_bytes = 262144\npacket_bytes = 131072\n",
    );
    let bystanders = crate::hostile::Bystanders::talking(all.server.place(0));
    let mut speaker = Connect::v5("sender").to(all.server.place(0));
    for transport in TRANSPORTS {
        let mut stuck = Connect::v5("stuck").over(all.dial(transport));
        stuck.subscribe("busy/t", 0);
        let mut reads = Connect::v5("reads").over(all.dial(transport));
        reads.subscribe("busy/t", 0);
        let reader = thread::spawn(move || {
            let mut heard = 0;
            loop {
                match reads.packet() {
                    Packet::Publish(message) if message.payload == b"end" => return heard,
                    Packet::Publish(_) => heard += 1,
                    other => panic!("{other:?}"),
                }
            }
        });
        // More than the sockets of both ends hold.
        for n in 0..1_000 {
            speaker.publish(&Message::new("busy/t", vec![7; 16_000]).qos(u8::from(n % 10 == 0)));
        }
        all.server.log().line(|line| {
            line.contains("stuck") && line.contains("reads too slowly: 0 bytes in 1s")
        });
        speaker.publish(&Message::new("busy/t", "end").qos(1));
        assert!(reader.join().unwrap() > 0, "{transport}");
        drop(stuck);
    }
    bystanders.were_undisturbed();
}

/// Each of these is closed at once, long before the time for a handshake, and the log names the right
/// port.
#[test]
fn a_wrong_protocol_on_a_port_is_closed_at_once_and_the_log_names_the_right_port() {
    let authority = Authority::new();
    let Identity { certificate, key } = authority.server();
    let listener = |transport: &str, more: &str| {
        format!(
            "[[listener]]\nbind = '127.0.0.1:0'\ntransport = '{transport}'\nhandshake_time = '1h'\n{more}\n"
        )
    };
    let files = "certificate = 'server.pem'\nkey = 'server.key'\n";
    let config = [
        listener("tcp", ""),
        listener("tls", files),
        listener("ws", ""),
        listener("wss", files),
    ];
    let pair = [("server.pem", &*certificate), ("server.key", &*key)];
    let server = Broker::listening(&config.concat(), &pair);
    let (tcp, encrypted, ws, wss) = (0, 1, 2, 3);
    let mqtt = Connect::v5("c").bytes();
    let hello = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03";
    let http = b"GET /mqtt HTTP/1.1\r\nHost: a\r\n\r\n";
    for (place, bytes, spoken, right) in [
        (tcp, &hello[..], "TLS", vec![encrypted, wss]),
        (tcp, http, "HTTP", vec![ws]),
        (
            tcp,
            b"PROXY TCP4 192.0.2.7 127.0.0.1 1 1883\r\n",
            "PROXY",
            vec![],
        ),
        (encrypted, &mqtt, "MQTT", vec![tcp]),
        (encrypted, http, "HTTP", vec![ws]),
        (ws, &mqtt, "MQTT", vec![tcp]),
        (ws, hello, "TLS", vec![encrypted, wss]),
        (
            ws,
            b"PROXY TCP4 192.0.2.7 127.0.0.1 1 1883\r\n",
            "PROXY",
            vec![],
        ),
        (wss, &mqtt, "MQTT", vec![tcp]),
    ] {
        let mut peer = tls::tcp(server.place(place));
        peer.write_all(bytes).unwrap();
        let _ = peer.read_to_end(&mut Vec::new());
        let url = server.url(place);
        let line = server.log().line(|line| {
            line.contains("wrong protocol")
                && line.contains(url)
                && line.contains(&format!("speaks {spoken}"))
        });
        for place in right {
            assert!(line.contains(server.url(place)), "{line}");
        }
    }
    // The wrong one inside of TLS.
    for (place, bytes, right) in [(encrypted, &http[..], wss), (wss, &mqtt, encrypted)] {
        let mut peer = tls::to(server.place(place), &authority.trusted_by(None));
        peer.write_all(bytes).unwrap();
        let _ = peer.read_to_end(&mut Vec::new());
        let line = server
            .log()
            .line(|line| line.contains("inside of TLS") && line.contains(server.url(place)));
        assert!(line.contains(server.url(right)), "{line}");
    }
}
