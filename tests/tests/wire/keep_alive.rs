//! Keep-alive (3.1.2.10): only complete packets from the client reset it.

use roommq_tests::broker::Broker;
use roommq_tests::everywhere::{Everywhere, TRANSPORTS};
use roommq_tests::wire::{BOTH, Client, Connect, Missing, Packet, Version};
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
        // `limits.packet_time` is 20 s.
        assert!(started.elapsed() < Duration::from_secs(12), "{open:?}");
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
