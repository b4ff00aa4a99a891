//! What is a sign of life, and whose silence it is (3.1.2.10).

use roommq_tests::broker::Broker;
use roommq_tests::everywhere::{Everywhere, TRANSPORTS};
use roommq_tests::wire::{BOTH, Client, Connect, Missing, Packet, Version};
use std::time::{Duration, Instant};

/// A PUBLISH of 16,383 bytes, one by one: none of them is a packet.
#[test]
fn bytes_of_a_packet_that_is_not_whole_are_no_sign_of_life() {
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
            // It may have been closed since.
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

/// A server that stands still has not heard its clients, and that is not their silence.
#[test]
fn what_came_while_the_server_did_not_read_counts() {
    let server = Broker::start();
    let client = |n: usize| {
        let connect = Connect::new(BOTH[n % 2], &n.to_string());
        connect.keep_alive(1).to(server.address())
    };
    // Where a read and a passed time are found together either may be first.
    let mut clients: Vec<Client> = (0..40).map(client).collect();
    let mut witness = client(40);
    server.stop();
    for client in &mut clients {
        client.send(&[0xC0, 0]);
    }
    // Nobody is asked who has sent: the signal may have taken its time.
    let nothing = witness.poll(Duration::from_millis(2_500));
    assert!(matches!(nothing, Err(Missing::Late)), "{nothing:?}");
    server.go_on();
    for client in &mut clients {
        let answer = client.packet();
        assert!(matches!(answer, Packet::PingResp), "{answer:?}");
    }
}
