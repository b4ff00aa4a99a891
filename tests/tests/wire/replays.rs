//! Replays: the retained messages that a SUBSCRIBE brings, however many and however large.

use crate::ONE_LANE;
use roommq_tests::broker::Broker;
use roommq_tests::everywhere::Everywhere;
use roommq_tests::wire::{
    BOTH, Client, Connect, Message, Missing, Packet, Subscribe, Value, Version, property,
};
use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

/// Retains QoS 1 messages of so many bytes at `<head>/<number>/x`.
fn retain(server: SocketAddr, head: &str, messages: usize, bytes: usize) {
    let mut sender = Connect::v311("retainer").to(server);
    let payload = vec![b'x'; bytes];
    for n in 0..messages {
        let message = Message::new(&format!("{head}/{n:05}/x"), &payload);
        sender.start_publish(&message.qos(1).retained());
    }
    sender.ping();
}

/// Reads and acknowledges so many retained messages of so many bytes. Their topics must be in order, each
/// of them once.
fn read_in_order(client: &mut Client, messages: usize, bytes: usize) {
    let mut last = String::new();
    for n in 0..messages {
        let message = client.message();
        assert!(message.retain && message.payload.len() == bytes, "{n}");
        assert!(message.topic > last, "{} after {last}", message.topic);
        last = message.topic;
    }
}

#[test]
fn a_large_retained_set_arrives_whole() {
    for (messages, bytes) in [(12, 400 << 10), (20_000, 1 << 10)] {
        let server = Broker::start();
        retain(server.address(), "all", messages, bytes);
        for (version, qos) in [(Version::V5, 0), (Version::V311, 1)] {
            let mut client = Connect::new(version, "reader").to(server.address());
            // The answer comes before any message.
            assert_eq!(client.subscribe("#", qos), qos);
            read_in_order(&mut client, messages, bytes);
            client.ping();
        }
    }
}

/// One message is larger than all that may wait.
#[test]
fn more_retained_messages_than_the_queue_takes_arrive() {
    let server = Broker::with(
        "[limits]\npacket_bytes = 110000\noutbox_bytes = \"256KiB\"\noutbox_messages = 3\n",
    );
    retain(server.address(), "all", 20, 100_000);
    for qos in [0, 1] {
        let mut client = Connect::v5("reader").to(server.address());
        client.subscribe("all/#", qos);
        read_in_order(&mut client, 20, 100_000);
        client.ping();
    }
}

#[test]
fn thousands_of_subscribes_in_a_row_bring_all_retained_messages() {
    const FILTERS: usize = 3_000;
    let server = Broker::with("[limits]\nsubscriptions = 3000\n");
    retain(server.address(), "each", FILTERS, 100);
    for (version, qos) in [(Version::V311, 0), (Version::V5, 1)] {
        let mut client = Connect::new(version, "reader").to(server.address());
        for n in 0..FILTERS {
            client.start_subscribe(&format!("each/{n:05}/+"), qos);
        }
        let (mut answers, mut topics) = (0, BTreeSet::new());
        while answers < FILTERS || topics.len() < FILTERS {
            match client.packet() {
                Packet::SubAck { .. } => answers += 1,
                Packet::Publish(message) => {
                    client.acknowledge(&message);
                    assert!(topics.insert(message.topic.clone()), "{}", message.topic);
                }
                other => panic!("{other:?}"),
            }
        }
        client.ping();
    }
}

/// Each transport has its own way to say that a socket is full.
#[test]
fn a_large_retained_set_arrives_over_every_transport() {
    let all = Everywhere::start("[limits]\npacket_bytes = \"16KiB\"\noutbox_bytes = \"64KiB\"\n");
    retain(all.address("tcp"), "all", 1_000, 3_000);
    for transport in roommq_tests::everywhere::TRANSPORTS {
        for qos in [0, 1] {
            let mut client = Connect::v5("reader").over(all.dial(transport));
            client.subscribe("#", qos);
            read_in_order(&mut client, 1_000, 3_000);
        }
    }
}

/// Live and retained at once: each topic comes as retained or live, or first the one and then the other,
/// and what is live comes in order and without a gap.
#[test]
fn a_client_that_joins_a_busy_room_with_many_retained_messages_misses_and_repeats_nothing() {
    const BESIDE: usize = 5_000;
    let server = Broker::with("[limits]\nroom_retained = 6000\n");
    let address = server.address();
    retain(address, "rooms/busy", BESIDE, 50);
    let stop = Arc::new(AtomicBool::new(false));
    let stopped = Arc::clone(&stop);
    let speaker = thread::spawn(move || {
        let mut speaker = Connect::v5("speaker").to(address);
        let mut n = 0_u64;
        while !stopped.load(Ordering::Relaxed) {
            let message = Message::new("rooms/busy/n", n.to_string()).retained();
            speaker.publish(&message.qos(1));
            n += 1;
        }
    });
    for round in 0..6_u8 {
        let (version, qos) = (BOTH[usize::from(round % 2)], round / 2 % 2);
        let mut client = Connect::new(version, &format!("c{round}")).to(address);
        assert_eq!(client.subscribe("rooms/busy/#", qos), qos);
        let (mut beside, mut last) = (BTreeSet::new(), None);
        let mut heard = 0;
        while heard < 20 || beside.len() < BESIDE {
            let message = client.message();
            if message.topic.ends_with("/x") {
                assert!(message.retain && beside.insert(message.topic));
            } else if message.topic == "rooms/busy/n" {
                let n: u64 = message.text().parse().unwrap();
                if let Some(last) = last {
                    assert_eq!(n, last + 1, "round {round}");
                    assert!(!message.retain);
                }
                last = Some(n);
                heard += u8::from(beside.len() == BESIDE);
            }
        }
        client.disconnect(0);
    }
    stop.store(true, Ordering::Relaxed);
    speaker.join().unwrap();
}

/// The reader takes one message each time that the sender has published one.
#[test]
fn a_slow_reader_receives_the_whole_set_and_then_what_came_live() {
    let server = Broker::with(&format!(
        "{ONE_LANE}[limits]\npacket_bytes = \"512KiB\"\noutbox_bytes = \"1MiB\"\ninflight = 5\n"
    ));
    retain(server.address(), "all", 1_000, 10_000);
    for qos in [0, 1] {
        let mut client = Connect::v5("reader").to(server.address());
        client.subscribe("#", qos);
        let mut sender = Connect::v311("sender").to(server.address());
        for n in 0..1_000 {
            sender.publish(&Message::new("live", n.to_string()).qos(1));
            let message = client.message();
            assert_eq!(message.topic, format!("all/{n:05}/x"));
        }
        for n in 0..1_000 {
            assert_eq!(client.message().text(), n.to_string());
        }
    }
}

#[test]
fn a_client_that_does_not_read_its_retained_messages_is_closed() {
    let config =
        "[limits]\nwrite_stall = \"1s\"\npacket_bytes = \"64KiB\"\noutbox_bytes = \"256KiB\"\n";
    let server = Broker::with(config);
    retain(server.address(), "all", 300, 60_000);
    let mut client = Connect::v5("stuck").to(server.address());
    client.start_subscribe("#", 0);
    server
        .log()
        .line_with("the client reads too slowly: 0 bytes in 1s");
    let mut reader = Connect::v5("reader").to(server.address());
    reader.subscribe("#", 0);
    read_in_order(&mut reader, 300, 60_000);
}

/// It reads, and acknowledges nothing.
#[test]
fn a_client_that_asks_for_more_than_it_acknowledges_is_closed() {
    let server = Broker::with(
        "[limits]\npacket_bytes = \"16KiB\"\noutbox_bytes = \"64KiB\"\ninflight = 1\n",
    );
    retain(server.address(), "all", 1_000, 100);
    let mut client = Connect::v5("greedy").to(server.address());
    for _ in 0..1_000 {
        if client
            .try_send(&Subscribe::to("#", 1).bytes(1, Version::V5))
            .is_err()
        {
            break;
        }
    }
    server
        .log()
        .line_with("more retained messages than it reads");
}

#[test]
fn nothing_more_is_sent_of_a_filter_that_was_unsubscribed() {
    let server = Broker::with(&format!(
        "{ONE_LANE}[limits]\noutbox_messages = 10\ninflight = 1\n"
    ));
    retain(server.address(), "all", 100, 100);
    let mut client = Connect::v5("reader").to(server.address());
    client.subscribe("end", 0);
    client.subscribe("all/#", 1);
    client.unsubscribe("all/#");
    client.publish(&Message::new("end", "end"));
    // What had begun is completed [MQTT-3.10.4-3], and half of the queue may wait for the window.
    let begun = client.messages_until("end").len();
    assert!((1..=7).contains(&begun), "{begun}");
}

#[test]
fn a_replay_goes_on_when_the_session_is_resumed() {
    let server = Broker::with(&format!(
        "{ONE_LANE}[limits]\noutbox_messages = 10\ninflight = 2\n"
    ));
    retain(server.address(), "all", 100, 100);
    for version in BOTH {
        let mut connect = Connect::new(version, "reader").clean(false);
        if version == Version::V5 {
            connect = connect.property(property::SESSION_EXPIRY, Value::Four(3_600));
        }
        let mut client = connect.to(server.address());
        client.subscribe("#", 1);
        let mut topics = BTreeSet::new();
        while topics.len() < 100 {
            for _ in 0..30 {
                topics.insert(client.message().topic);
                if topics.len() == 100 {
                    break;
                }
            }
            drop(client);
            client = connect.to(server.address());
        }
        client.ping();
        drop(client);
        Connect::new(version, "reader").to(server.address());
    }
}

/// Its replay looks at a million pairs of topics and filters, and finds nothing. One thread serves all
/// clients, and one lane has all topics.
#[test]
fn a_subscribe_of_many_overlapping_filters_lets_others_go_first() {
    let server = Broker::with("[lanes]\ncount = 1\nio_threads = 1\n");
    let deep = format!("x/y{}", "/a".repeat(8));
    retain(server.address(), &deep, 2_000, 1);
    let mut greedy = Connect::v5("greedy").to(server.address());
    let mut all = Subscribe::to("x/y/end", 0);
    for n in 0..256_u32 {
        let level = |at: u32| if n >> at & 1 == 0 { "/a" } else { "/+" };
        let levels: String = (0..8).map(level).collect();
        all = all.and(&format!("x/y{levels}/+/none"), 0);
    }
    let mut hearer = Connect::v311("hearer").to(server.address());
    hearer.subscribe("t", 0);
    let mut speaker = Connect::v5("speaker").to(server.address());
    greedy.subscribe_with(&all);
    speaker.publish(&Message::new("x/y/end", "end").qos(1));
    for n in 0..5 {
        speaker.publish(&Message::new("t", n.to_string()).qos(1));
        assert_eq!(hearer.message().text(), n.to_string());
    }
    let live = greedy.poll(Duration::from_millis(1));
    assert_eq!(live, Err(Missing::Late), "it waits behind the replay");
    assert_eq!(greedy.message().text(), "end");
}
