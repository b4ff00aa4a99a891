//! Hostile peers. Other clients must not notice them.

use roommq_tests::broker::Broker;
use roommq_tests::wire::{
    BOTH, Client, Connect, Message, Missing, Packet, Value, Version, property,
};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// Short times, so that tests need not wait. The defaults are 10 and 20 seconds.
const IMPATIENT: &str = "
[limits]
connect_time = \"500ms\"
packet_time = \"500ms\"
write_stall = \"1s\"
outbox_bytes = 262144
packet_bytes = 131072
";

/// Two clients that talk in a room during an attack, and the time of their slowest message.
pub(crate) struct Bystanders {
    talk: JoinHandle<Duration>,
    stop: std::sync::Arc<AtomicBool>,
}

impl Bystanders {
    pub(crate) fn talking(server: SocketAddr) -> Bystanders {
        let stop = std::sync::Arc::new(AtomicBool::new(false));
        let stopped = std::sync::Arc::clone(&stop);
        let mut hearer = Connect::v311("hearer").to(server);
        hearer.subscribe("rooms/calm/t", 1);
        let mut speaker = Connect::v5("speaker").to(server);
        let talk = thread::spawn(move || {
            let mut said = 0;
            let mut slowest = Duration::ZERO;
            // At least 20 messages, even if the attack is short.
            while said < 20 || !stopped.load(Ordering::Relaxed) {
                let start = Instant::now();
                speaker.publish(&Message::new("rooms/calm/t", said.to_string()).qos(1));
                assert_eq!(hearer.message().text(), said.to_string());
                slowest = slowest.max(start.elapsed());
                said += 1;
            }
            slowest
        });
        Bystanders { talk, stop }
    }

    /// Asserts that every message arrived in time.
    pub(crate) fn were_undisturbed(self) {
        self.stop.store(true, Ordering::Relaxed);
        let slowest = self.talk.join().expect("they were served");
        assert!(slowest < Duration::from_secs(2), "one took {slowest:?}");
    }
}

#[test]
fn a_peer_that_stops_reading_is_closed_and_delays_no_other() {
    let server = Broker::with(IMPATIENT);
    let bystanders = Bystanders::talking(server.address());
    for (version, qos) in [(Version::V311, 0), (Version::V5, 1)] {
        let mut stuck = Connect::new(version, "stuck").to(server.address());
        stuck.subscribe("rooms/busy/#", qos);
        let mut reader = Connect::v5("reader").to(server.address());
        reader.subscribe("rooms/busy/t", 0);
        let mut watcher = Connect::v5("watcher").to(server.address());
        watcher.subscribe("rooms/busy/_presence/+", 0);
        let mut sender = Connect::v5("sender").to(server.address());
        let load = vec![7; 16_000];
        // More than socket buffers hold, until the server closes the connection.
        let started = Instant::now();
        let mut lost = false;
        while !lost {
            assert!(
                started.elapsed() < Duration::from_secs(30),
                "it is not closed"
            );
            sender.publish(&Message::new("rooms/busy/t", &load).qos(1));
            assert_eq!(reader.message().payload.len(), load.len());
            while let Ok(packet) = watcher.poll(Duration::from_millis(1)) {
                let Packet::Publish(entry) = packet else {
                    panic!("{packet:?}");
                };
                lost |= entry.topic.ends_with("/~stuck")
                    && !entry.payload.is_empty()
                    && entry.field("state") == "lost";
            }
        }
        server.log().line_with("reads too slowly");
        drop(stuck);
    }
    bystanders.were_undisturbed();
}

#[test]
fn a_partial_packet_times_out() {
    let server = Broker::with(IMPATIENT);
    let bystanders = Bystanders::talking(server.address());
    for version in BOTH {
        let mut client = Connect::new(version, "half").to(server.address());
        // Five bytes of a PUBLISH of 100.
        client.send(&[0x30, 100, 0, 50, b'a']);
        let code = client.closed_within(Duration::from_secs(30));
        assert_eq!(code.is_some(), version == Version::V5);
    }
    server.log().line_with("not whole");
    bystanders.were_undisturbed();
}

#[test]
fn a_packet_sent_byte_by_byte_times_out() {
    let server = Broker::with(IMPATIENT);
    let mut client = Connect::v311("slow").to(server.address());
    client.send(&[0x30, 0x80, 0x80, 0x04]);
    // One byte in 50 ms. The limit holds although the packet makes progress.
    let started = Instant::now();
    loop {
        assert!(
            started.elapsed() < Duration::from_secs(30),
            "it is not closed"
        );
        match client.poll(Duration::from_millis(50)) {
            Err(Missing::Late) => {}
            Err(Missing::Closed) => break,
            Ok(packet) => panic!("{packet:?}"),
        }
        if client.try_send(b"a").is_err() {
            break;
        }
    }
}

#[test]
fn a_connection_without_a_connect_is_closed() {
    let server = Broker::with(IMPATIENT);
    let bystanders = Bystanders::talking(server.address());
    let mut silent = Client::open(server.address(), Version::V311);
    let mut half = Client::open(server.address(), Version::V311);
    half.send(&[0x10, 20, 0, 4, b'M']);
    assert_eq!(silent.raw_until_closed(), b"");
    assert_eq!(half.raw_until_closed(), b"");
    server.log().line_with("no CONNECT");
    bystanders.were_undisturbed();
}

#[test]
fn a_packet_of_256_megabytes_is_refused_by_its_length() {
    let server = Broker::start();
    let bystanders = Bystanders::talking(server.address());
    let before = resident_bytes(server.id());
    for (version, code) in [(Version::V311, None), (Version::V5, Some(0x95))] {
        let mut client = Connect::new(version, "huge").to(server.address());
        client.send(&[0x30, 0xFF, 0xFF, 0xFF, 0x7F]);
        assert_eq!(client.closed(), code);
    }
    let mut first = Client::open(server.address(), Version::V311);
    first.send(&[0x10, 0xFF, 0xFF, 0xFF, 0x7F]);
    first.raw_until_closed();
    let grown = resident_bytes(server.id()).saturating_sub(before);
    assert!(grown < 50 << 20, "{grown} bytes more");
    server.log().line_with("connection ended");
    bystanders.were_undisturbed();
}

/// Bytes of memory that a process uses, from /proc.
pub(crate) fn resident_bytes(process: u32) -> u64 {
    status_bytes(process, "VmRSS:")
}

/// The most memory that a process has used at any time, in bytes.
fn peak_resident_bytes(process: u32) -> u64 {
    status_bytes(process, "VmHWM:")
}

fn status_bytes(process: u32, field: &str) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with(field)).unwrap();
    let kilobytes: u64 = line.split_whitespace().nth(1).unwrap().parse().unwrap();
    kilobytes * 1024
}

#[test]
fn garbage_after_connect_harms_no_other_client() {
    let server = Broker::start();
    let bystanders = Bystanders::talking(server.address());
    // A fixed sequence of random bytes.
    let mut state = 0x2545_F491_4F6C_DD1D_u64;
    for round in 0..200 {
        let version = BOTH[round % 2];
        let mut client = Connect::new(version, "garbage").to(server.address());
        let garbage: Vec<u8> = (0..64)
            .map(|_| {
                state ^= state << 13;
                state ^= state >> 7;
                state ^= state << 17;
                state.to_le_bytes()[0]
            })
            .collect();
        let _ = client.try_send(&garbage);
    }
    bystanders.were_undisturbed();
}

#[test]
fn many_half_open_connections_delay_no_other_client() {
    let server = Broker::start();
    let half_open: Vec<Client> = (0..200)
        .map(|_| Client::open(server.address(), Version::V311))
        .collect();
    let bystanders = Bystanders::talking(server.address());
    Connect::v5("late").to(server.address()).ping();
    bystanders.were_undisturbed();
    drop(half_open);
}

#[test]
fn filters_of_thousands_of_levels_cost_memory_by_their_length() {
    let server = Broker::with("[limits]\ntopic_levels = 65536\n");
    let before = resident_bytes(server.id());
    let deep = "/".repeat(60_000);
    for version in BOTH {
        let mut client = Connect::new(version, "deep").to(server.address());
        let topic = format!("a/b/{deep}x");
        client.publish(&Message::new(&topic, "kept").qos(1).retained());
        for filter in [
            format!("a/b/{deep}+"),
            topic.clone(),
            format!("a/b/{}#", "+/".repeat(30_000)),
            format!("+/{deep}+"),
        ] {
            assert_eq!(client.subscribe(&filter, 1), 1);
            let matches = filter != format!("+/{deep}+");
            if matches {
                assert_eq!(client.message().text(), "kept");
            }
            client.publish(&Message::new(&topic, "live").qos(1));
            if matches {
                assert_eq!(client.message().text(), "live");
            }
            client.unsubscribe(&filter);
        }
        client.publish(&Message::new(&topic, "").retained());
        client.ping();
    }
    let grown = resident_bytes(server.id()).saturating_sub(before);
    assert!(grown < 50 << 20, "{grown} bytes more");
}

#[test]
fn all_wildcard_forms_of_a_topic_cost_memory_by_their_number() {
    let limits = "[limits]\nsubscriptions = 2000\nspanning_subscriptions = 2000\n";
    let server = Broker::with(limits);
    let mut client = Connect::v5("ways").to(server.address());
    let ways = (0..1_u32 << 10).map(|bits| {
        let levels = (0..10).map(|at| if bits >> at & 1 == 0 { "a" } else { "+" });
        levels.collect::<Vec<_>>().join("/")
    });
    for filter in ways {
        assert_eq!(client.subscribe(&filter, 0), 0);
    }
    let bystanders = Bystanders::talking(server.address());
    let topic = ["a"; 10].join("/");
    for n in 0..20 {
        client.publish(&Message::new(&topic, n.to_string()));
        // Exactly one copy.
        assert_eq!(client.message().text(), n.to_string());
    }
    bystanders.were_undisturbed();
}

#[test]
fn more_than_65535_filters_in_a_packet_are_all_answered() {
    let server = Broker::start();
    let mut client = Connect::v311("many").to(server.address());
    let filters = 70_000;
    let packet = |first: u8, filter: &[u8]| {
        let length = 2 + filters * filter.len();
        let mut bytes = vec![first];
        // The remaining length in three bytes of seven bits each.
        bytes.extend(
            (0..3).map(|n| (length >> (7 * n)).to_le_bytes()[0] & 0x7F | u8::from(n < 2) << 7),
        );
        bytes.extend([0, 9]);
        (0..filters).for_each(|_| bytes.extend(filter));
        bytes
    };
    client.send(&packet(0x82, &[0, 1, b'a', 0]));
    let Packet::SubAck { codes, .. } = client.packet() else {
        panic!("no SUBACK");
    };
    assert_eq!(codes.len(), filters);
    assert_eq!((codes[0], codes[65_535], codes[65_536]), (0, 0, 0x80));
    client.send(&packet(0xA2, &[0, 1, b'a']));
    assert!(matches!(client.packet(), Packet::UnsubAck { .. }));
    client.ping();
}

#[test]
fn reads_that_end_within_a_packet_are_no_timeout() {
    let server = Broker::with(IMPATIENT);
    let mut client = Connect::v311("streaming").to(server.address());
    let mut watcher = Connect::v311("watcher").to(server.address());
    watcher.subscribe("t", 0);
    let publish = [
        0x30, 13, 0, 1, b't', b'0', b'1', b'2', b'3', b'4', b'5', b'6', b'7', b'8', b'9',
    ];
    let (front, back) = publish.split_at(7);
    client.send(front);
    let started = Instant::now();
    // Three times `limits.packet_time`.
    while started.elapsed() < Duration::from_millis(1_500) {
        client.send(&[back, front].concat());
        assert_eq!(watcher.message().text(), "0123456789");
        let nothing = client.poll(Duration::from_millis(50));
        assert!(matches!(nothing, Err(Missing::Late)), "{nothing:?}");
    }
}

#[test]
fn the_server_stops_reading_from_a_client_that_reads_no_answers() {
    let server = Broker::with("[limits]\noutbox_bytes = 65536\npacket_bytes = 16384\n");
    let bystanders = Bystanders::talking(server.address());
    let before = resident_bytes(server.id());
    let mut client = Connect::v311("asker").to(server.address());
    client
        .socket()
        .set_write_timeout(Some(Duration::from_secs(1)))
        .unwrap();
    let pings = [0xC0, 0].repeat(1 << 20);
    let mut sent = 0;
    while client.try_send(&pings).is_ok() {
        sent += pings.len();
        assert!(sent < 200 << 20, "the server still reads from it");
    }
    let grown = resident_bytes(server.id()).saturating_sub(before);
    assert!(grown < 50 << 20, "{grown} bytes more");
    bystanders.were_undisturbed();
}

#[test]
fn repeated_subscribes_do_not_block_a_room() {
    let server = Broker::start();
    let mut keeper = Connect::v311("keeper").to(server.address());
    for n in 0..500 {
        let kept = Message::new(&format!("rooms/calm/kept/{n}"), vec![7; 20_000]);
        keeper.publish(&kept.retained().qos(1));
    }
    let bystanders = Bystanders::talking(server.address());
    let mut client = Connect::v311("greedy").to(server.address());
    // The answers would be 10,000 times the 10 MB that the room retains.
    let subscribe = b"\x82\x11\x00\x01\x00\x0Crooms/calm/#\x00";
    let _ = client.try_send(&subscribe.repeat(10_000));
    let mut late = Connect::v5("late").to(server.address());
    late.subscribe("rooms/calm/t", 0);
    bystanders.were_undisturbed();
}

#[test]
fn a_session_does_not_hold_its_connect_in_memory() {
    let server = Broker::start();
    let connect = |n: u32| {
        Connect::v311(&format!("kept{n}"))
            .clean(false)
            .will(Message::new("w", vec![7; 60_000]))
    };
    let come = |numbers: std::ops::Range<u32>| {
        for n in numbers {
            connect(n).to(server.address()).disconnect(0);
        }
    };
    come(0..50);
    let before = resident_bytes(server.id());
    come(50..1_050);
    let grown = resident_bytes(server.id()).saturating_sub(before);
    assert!(grown < 20 << 20, "{grown} bytes for 1,000 sessions");
}

#[test]
fn refused_filters_use_no_memory() {
    let server = Broker::start();
    let mut client = Connect::v5("asks").to(server.address());
    let filter = format!("inbox/another/{}", "x".repeat(60_000));
    let mut ask = |times| {
        for _ in 0..times {
            assert_eq!(client.subscribe(&filter, 0), 0x87);
        }
    };
    ask(50);
    let before = resident_bytes(server.id());
    ask(1_000);
    let grown = resident_bytes(server.id()).saturating_sub(before);
    assert!(grown < 20 << 20, "{grown} bytes for 1,000 refusals");
}

#[test]
fn reason_strings_are_short_even_for_long_topics() {
    let server = Broker::start();
    let mut client = Connect::v5("c").to(server.address());
    let level = "a".repeat(60_000);
    for topic in [format!("rooms/r/_{level}"), format!("rooms/{level}/x")] {
        let (code, told) = client.publish(&Message::new(&topic, "x").qos(1));
        assert!(code >= 0x80 && (1..=256).contains(&told.reason().len()));
    }
}

/// Each short packet has an answer. The server must free the memory for the answers of one read.
#[test]
fn a_connection_frees_its_memory_after_a_burst() {
    const CLIENTS: usize = 50;
    const PINGS: usize = 32 << 10;
    let server = Broker::start();
    let clients = 0..CLIENTS;
    let mut clients: Vec<Client> = clients
        .map(|n| Connect::v5(&format!("c{n}")).to(server.address()))
        .collect();
    let before = resident_bytes(server.id());
    for client in &mut clients {
        client.send(&b"\xc0\x00".repeat(PINGS));
        for _ in 0..PINGS {
            assert!(matches!(client.packet(), Packet::PingResp));
        }
    }
    let after = resident_bytes(server.id());
    let each = after.saturating_sub(before) / CLIENTS as u64;
    assert!(each < 1 << 20, "{each} bytes a connection");
}

/// Six clients each set an alias for a long topic, and publish to it by packets of eight bytes. The
/// server must not hold the entries of a whole read: they are 8,000 times as long.
#[test]
fn topic_aliases_do_not_multiply_memory() {
    const CLIENTS: usize = 6;
    const BYTES: usize = 32 << 10;
    let server = Broker::start();
    let bystanders = Bystanders::talking(server.address());
    let before = resident_bytes(server.id());
    thread::scope(|scope| {
        for n in 0..CLIENTS {
            let address = server.address();
            scope.spawn(move || {
                let mut client = Connect::v5(&format!("c{n}")).to(address);
                let topic = format!("alias/{n}/{}", "x".repeat(65_000));
                let alias = |topic: &str| {
                    let message = Message::new(topic, "");
                    let message = message.property(property::TOPIC_ALIAS, Value::Two(1));
                    message.bytes(Version::V5)
                };
                client.send(&alias(&topic));
                let short = alias("");
                assert_eq!(short.len(), 8);
                client.send(&short.repeat(BYTES / short.len()));
                client.ping();
            });
        }
    });
    // A connection holds entries of 256 KiB and one more. The log of a lane may hold seven such
    // batches: 2.3 MiB for each client.
    let grown = peak_resident_bytes(server.id()).saturating_sub(before);
    assert!(grown < 64 << 20, "{} MiB more", grown >> 20);
    bystanders.were_undisturbed();
}
