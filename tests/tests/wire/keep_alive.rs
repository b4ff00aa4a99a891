//! Keep-alive (3.1.2.10): only complete packets from the client reset it.

use roommq_tests::broker::Broker;
use roommq_tests::everywhere::{Everywhere, TRANSPORTS};
use roommq_tests::tls;
use roommq_tests::wire::{
    BOTH, Client, Connect, Frame, Message, Missing, Packet, Version, WebSocket,
};
use std::io::{Read, Write};
use std::time::{Duration, Instant};

/// A PUBLISH of 16,383 bytes, sent byte by byte, so that it never becomes complete.
#[test]
fn bytes_of_a_partial_packet_do_not_reset_keep_alive() {
    let all = Everywhere::start("");
    let mut open: Vec<(String, Version, Client)> = Vec::new();
    for transport in TRANSPORTS {
        for version in BOTH {
            let id = format!("{transport}-{version:?}");
            let connect = Connect::new(version, &id).keep_alive(1);
            let mut client = connect.over(all.dial(transport));
            client.send(&[0x30, 0xFF, 0x7F]);
            open.push((id, version, client));
        }
    }
    let started = Instant::now();
    while !open.is_empty() {
        // `limits.packet_time` is 10 s.
        assert!(started.elapsed() < Duration::from_secs(9), "{open:?}");
        open.retain_mut(|(id, version, client)| {
            // The server may have closed the connection.
            let _ = client.try_send(&[0]);
            match client.poll(Duration::from_millis(20)) {
                Err(Missing::Late) => return true,
                Err(Missing::Closed) => assert_eq!(*version, Version::V311, "{id}"),
                Ok(Packet::Disconnect { code, .. }) => assert_eq!(code, 0x8D, "{id}"),
                Ok(other) => panic!("{id}: {other:?}"),
            }
            assert!(started.elapsed() > Duration::from_secs(1), "{id}");
            false
        });
    }
    all.server.log().line_with("keep-alive passed");
}

/// A stopped server reads nothing, so its clients are not silent.
#[test]
fn packets_that_waited_in_the_socket_reset_keep_alive() {
    let server = Broker::start();
    let client = |n: usize| {
        let connect = Connect::new(BOTH[n % 2], &n.to_string());
        connect.keep_alive(1).to(server.address())
    };
    // The server may handle a read or a passed deadline first if both are ready.
    let mut clients: Vec<Client> = (0..40).map(client).collect();
    let mut witness = client(40);
    server.stop();
    for client in &mut clients {
        client.send(&[0xC0, 0]);
    }
    // The test asks no client whether it was closed: the signal may arrive late.
    let nothing = witness.poll(Duration::from_millis(2_500));
    assert!(matches!(nothing, Err(Missing::Late)), "{nothing:?}");
    server.go_on();
    for client in &mut clients {
        let answer = client.packet();
        assert!(matches!(answer, Packet::PingResp), "{answer:?}");
    }
}

/// Sends a PUBLISH of 20,000 bytes in pieces, one each 50 ms. Returns whether it arrived.
fn sends_slowly(mut client: Client, piece: usize, hearer: &mut Client) -> Result<(), Option<u8>> {
    let message = Message::new("slow", vec![b'x'; 20_000]);
    let bytes = message.bytes(Version::V5);
    for piece in bytes.chunks(piece) {
        if client.try_send(piece).is_err() {
            break;
        }
        match client.poll(Duration::from_millis(50)) {
            Err(Missing::Late) => {}
            Err(Missing::Closed) => return Err(None),
            Ok(Packet::Disconnect { code, .. }) => return Err(Some(code)),
            Ok(other) => panic!("{other:?}"),
        }
    }
    assert_eq!(hearer.message().payload.len(), 20_000);
    Ok(())
}

/// As on a slow link: 200 KiB at 8 KB/s take longer than a keep-alive of 16 s. Here all is faster.
#[test]
fn a_slow_packet_that_keeps_the_pace_suspends_the_keep_alive() {
    let limits = "packet_time = '500ms'\npacket_pace = 2048\n";
    let all = Everywhere::start(&format!("[limits]\n{limits}"));
    let mut hearer = Connect::v5("hearer").to(all.server.address());
    hearer.subscribe("slow", 0);
    for transport in TRANSPORTS {
        let connect = Connect::v5(transport).keep_alive(1);
        let client = connect.over(all.dial(transport));
        // 5 KB/s for 2.5 s at least. The keep-alive would end after 1.5 s.
        assert_eq!(
            sends_slowly(client, 400, &mut hearer),
            Ok(()),
            "{transport}"
        );
        let client = connect.over(all.dial(transport));
        let slow = sends_slowly(client, 10, &mut hearer);
        assert_eq!(slow, Err(Some(0x82)), "{transport}: 200 bytes a second");
    }
    all.server
        .log()
        .line_with("a packet was not whole after 500ms");
}

#[test]
fn a_packet_suspends_the_keep_alive_for_a_bounded_time() {
    let server = Broker::with("[limits]\npacket_longest = '1s'\n");
    let mut hearer = Connect::v5("hearer").to(server.address());
    let client = Connect::v5("c").keep_alive(1).to(server.address());
    assert_eq!(sends_slowly(client, 400, &mut hearer), Err(Some(0x8D)));
}

/// One frame that can be read only when it is complete.
#[test]
fn a_slow_websocket_frame_keeps_the_pace_too() {
    let limits = "[limits]\npacket_time = '500ms'\npacket_pace = 2048\n";
    let all = Everywhere::start(limits);
    let mut hearer = Connect::v5("hearer").to(all.server.address());
    hearer.subscribe("slow", 0);
    let mut witness = Connect::v5("witness").to(all.server.address());
    let mut socket = WebSocket::open(Box::new(tls::tcp(all.address("ws"))));
    socket
        .write_all(&Connect::v311("c").keep_alive(1).bytes())
        .unwrap();
    socket.read_exact(&mut [0; 4]).unwrap();
    let message = Message::new("slow", vec![b'x'; 20_000]).bytes(Version::V311);
    for piece in Frame::whole(2, &message).bytes().chunks(400) {
        socket.send_raw(piece);
        let nothing = witness.poll(Duration::from_millis(50));
        assert!(matches!(nothing, Err(Missing::Late)), "{nothing:?}");
    }
    assert_eq!(hearer.message().payload.len(), 20_000);
}
